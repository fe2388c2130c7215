"""Small things to train on: pictures of one colour per class, a session around them, plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from fgbench.datasets.dataset import HALF, DataSet, FileSplit, Split
from fgbench.datasets.transforms import eval_transform, train_transform
from fgbench.models.build import create_model
from fgbench.results.recipe import Recipe
from fgbench.training.loading import Images
from fgbench.training.training import Plan

SIDE = 32


class Colours(Split):
    """One colour per class, a little noise by image."""

    def __init__(self, classes: int, images: int, seed: int) -> None:
        self.targets = [index % classes for index in range(images)]
        self.seed = seed

    def name(self, index: int) -> str:
        return f"{self.seed}/{index}"

    def open(self, index: int) -> Image.Image:
        draw = np.random.default_rng([self.seed, index])
        colour = np.random.default_rng(self.targets[index]).integers(40, 216, 3)
        noise = draw.integers(-30, 30, (SIDE, SIDE, 3))
        return Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8))


class Broken(Colours):
    """Some images cannot be read."""

    def __init__(self, *args: Any, broken: set[int]) -> None:
        super().__init__(*args)
        self.broken = broken

    def open(self, index: int) -> Image.Image:
        if index in self.broken:
            raise OSError("image file is truncated")
        return super().open(index)


def colours(classes: int = 4, train: int = 32, test: int = 20) -> DataSet:
    names = [f"colour {index}" for index in range(classes)]
    splits = Colours(classes, train, 1), Colours(classes, test, 2)
    return DataSet(name="colours", class_names=names, train=splits[0], test=splits[1], mean=HALF, std=HALF)


def on_disk(root: Path, count: int, *, cut: set[int] = frozenset()) -> FileSplit:
    """PNG files; those in ``cut`` end in the middle."""
    source, paths = Colours(2, count, 3), []
    for index in range(count):
        path = root / f"{index}.png"
        source.open(index).save(path)
        if index in cut:
            path.write_bytes(path.read_bytes()[:200])
        paths.append(path.name)
    return FileSplit(root=root, paths=paths, targets=source.targets)


RECIPE = Recipe(epochs=3, batch_size=8, optimizer="adamw", augreg="strong", warmup_steps=2)


def plan(folder: Path, model: str = "vit", *, dataset: DataSet | None = None, recipe: Recipe = RECIPE, **changes: Any):
    """A run of a small model; its weights are drawn from seed 1."""
    dataset = dataset or colours()
    torch.manual_seed(1)
    backbone = changes.pop("backbone", "test_vit")
    size = changes.pop("image_size", SIDE)
    made = create_model(model, backbone, img_size=size, num_classes=dataset.num_classes)
    fields: dict[str, Any] = {
        "run": "a run",
        "model": made,
        "train": Images(dataset.train, train_transform(dataset, size, recipe.level), seed=1),
        "test": Images(dataset.test, eval_transform(dataset, size)),
        "recipe": recipe,
        "lr": 1e-3,
        "seed": 1,
        "folder": folder,
    }
    return Plan(**(fields | changes))


def accelerator(recipe: Recipe = RECIPE) -> Accelerator:
    return Accelerator(cpu=True, mixed_precision=recipe.mixed_precision, gradient_accumulation_steps=recipe.accumulate)


def quiet(_: object) -> None: ...
