"""Reader of ``--dataset synthetic``: images are drawn when they are opened, and kept in memory."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fgbench.datasets.dataset import HALF, Box, DataSet, DatasetError, Split
from fgbench.datasets.synthetic.classes import MOST_CLASSES, kinds
from fgbench.datasets.synthetic.drawing import draw, part_boxes
from fgbench.datasets.synthetic.scene import Scene, draw_scene
from fgbench.results.shipped import SHIPPED

KEPT_BYTES = 512 * 2**20  # limit of the drawn images that a split keeps for the next epoch; others are drawn again
SMALLEST_SIDE, LARGEST_SIDE = 32, 1024
MOST_IMAGES = 1_000_000  # images of a split, at most; an epoch of so many takes days without a GPU
LARGEST_SEED = 2**64


class SyntheticSplit(Split):
    """Images that depend on seed, split and index alone, in every process and order.

    The pixels depend on NumPy's PCG64 streams and on Pillow's polygon filling, bicubic enlargement and box reduction
    (as of NumPy 2.4 and Pillow 13): a release that changes one of them may change pixels, usually at edges only.
    """

    def __init__(self, stream: str, *, classes: int, images: int, side: int, seed: int) -> None:
        self.targets = [index % classes for index in range(images)]
        self._stream, self._side, self._seed = stream, side, seed
        self._kinds = kinds(classes, seed)
        self._kept = _kept(stream, classes, side, seed)
        self._most_kept = KEPT_BYTES // (3 * side * side)

    def name(self, index: int) -> str:
        """Split and index."""
        return f"synthetic/{self._stream}/{index}"

    def scene(self, index: int) -> Scene:
        """Pose, colours, clutter and light of an image."""
        entropy = [self._seed, ("train", "test").index(self._stream) + 1, index]
        return draw_scene(np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy))))

    def open(self, index: int) -> Image.Image:
        """The image in RGB, ``side`` pixels high and wide."""
        pixels = self._kept.get(index)
        if pixels is None:
            pixels = draw(self.scene(index), self._kinds[self.targets[index]], self._side)
            if len(self._kept) < self._most_kept:
                self._kept[index] = pixels
        return Image.fromarray(pixels)

    def parts(self, index: int) -> list[Box]:
        """The boxes of the wing's and of the head's marking."""
        return part_boxes(self.scene(index), self._kinds[self.targets[index]], self._side)


def synthetic(
    data_dir: Path | None = None,
    *,
    classes: int = 20,
    train_images: int = 2000,
    test_images: int = 400,
    side: int = 128,
    seed: int = 0,
) -> DataSet:
    """Birds that differ in a marking on the wing and one on the head, drawn by ``seed``; nothing is read from disk.

    Args:
        data_dir: Not used.
        classes: Number of classes.
        train_images: Number of training images.
        test_images: Number of test images.
        side: Side of an image, pixels; the recipe crops 3/4 of it.
        seed: Seed of classes and images.

    Raises:
        DatasetError: A number is out of its range.
    """
    _whole("classes", classes, 2, MOST_CLASSES)
    _whole("train_images", train_images, classes, MOST_IMAGES)
    _whole("test_images", test_images, classes, MOST_IMAGES)
    _whole("side", side, SMALLEST_SIDE, LARGEST_SIDE)
    _whole("seed", seed, 0, LARGEST_SEED)
    return DataSet(
        name="synthetic",
        class_names=[str(kind) for kind in kinds(classes, seed)],
        train=SyntheticSplit("train", classes=classes, images=train_images, side=side, seed=seed),
        test=SyntheticSplit("test", classes=classes, images=test_images, side=side, seed=seed),
        mean=HALF,
        std=HALF,
        recipe={
            "backbone": SHIPPED,
            "image_size": 96,
            "epochs": 24,
            "batch_size": 32,
            "lr": 1e-3,
            "optimizer": "adamw",
            "augreg": "weak",
            "weight_decay": 0.05,
            "warmup_steps": 100,
            "seeds": [0],
            "from shipped": {"epochs": 10, "batch_size": 16},
        },
    )


@lru_cache(maxsize=4)
def _kept(stream: str, classes: int, side: int, seed: int) -> dict[int, np.ndarray]:
    """The drawn images of a set by their index: runs of one process, such as those of a study, share them."""
    return {}


def _whole(option: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise DatasetError(f"synthetic: {option} must be a whole number from {low} to {high}, got", value)
