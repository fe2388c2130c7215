"""Pretraining of the shipped backbone: what the image shows, and what every patch of it shows.

Supervised on the class token (the family of the main object), and on every patch token by the same head with one more
class for the ground, as in token labelling (Jiang et al., arXiv 2104.10858): so patches of an object become like the
class token of its images. A run that is killed goes on after its last whole epoch, to the same weights.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fgbench.models.shipped import vit_fgbench_patch12_96
from fgbench.pretraining.families import FAMILIES
from fgbench.pretraining.world import NONE, picture
from fgbench.results.shipped import IMAGE_SIZE, MEAN, PATCH, STD

STATE = "state.safetensors"
HELD_OUT = 2_000  # images that nothing is trained on
GROUND_WEIGHT = 0.3  # of a patch of the ground in the loss: most patches are


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """The recipe. Images are drawn once and are seen again mirrored, with other colours and light."""

    images: int = 50_000
    epochs: int = 8
    batch_size: int = 128
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 400
    label_smoothing: float = 0.1
    drop_path: float = 0.05
    patch_weight: float = 1.0  # of the loss of patches beside that of the class token
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images (n, side, side, 3) of uint8, the families of their main objects (n,) and of their patches (n, G, G)."""

    pixels: np.ndarray
    families: np.ndarray
    patches: np.ndarray


class Network(nn.Module):
    """The backbone with a head for families, which patches share, and one more output of theirs for the ground."""

    def __init__(self, drop_path: float = 0.0) -> None:
        super().__init__()
        self.backbone: Any = vit_fgbench_patch12_96(num_classes=FAMILIES, drop_path_rate=drop_path)
        self.ground = nn.Linear(self.backbone.embed_dim, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images → logits of the class token (B, families), and of patches (B, G², families + 1)."""
        tokens = self.backbone.forward_features(images)
        logits = self.backbone.head(tokens)
        return logits[:, 0], torch.cat([logits, self.ground(tokens)], dim=-1)[:, 1:]


def draw(count: int, first: int, seed: int, processes: int | None = None) -> Pictures:
    """Draw images, by several processes.

    Args:
        count: Number of images.
        first: Index of the first one.
        seed: Of the world's images.
        processes: Number of processes; one per core by default.

    """
    grid = IMAGE_SIZE // PATCH
    found = Pictures(
        np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8),
        np.empty(count, np.int64),
        np.empty((count, grid, grid), np.int64),
    )
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        drawn = pool.map(partial(picture, seed), range(first, first + count), chunksize=256)
        for place, one in enumerate(drawn):
            found.pixels[place], found.families[place], found.patches[place] = one.pixels, one.family, one.patches
    return found


def pretrain(recipe: Pretraining, folder: Path, say: Callable[[str], None] = lambda _: None) -> Network:
    """Train the backbone, or go on with it.

    Args:
        recipe: The recipe.
        folder: Where the state is kept.
        say: Receives a line per epoch and per hundred steps.

    Returns:
        The trained network.

    """
    say(f"drawing {recipe.images} images")
    shown, held_out = draw(recipe.images, 0, recipe.seed), draw(min(HELD_OUT, recipe.images), 10**9, recipe.seed)
    torch.manual_seed(recipe.seed)
    network = Network(recipe.drop_path)
    optimizer = _optimizer(network, recipe)
    done = _load(folder, recipe, network, optimizer)
    steps = len(shown.families) // recipe.batch_size
    for epoch in range(done, recipe.epochs):
        rng = np.random.default_rng([recipe.seed, epoch])
        torch.manual_seed(1000 * recipe.seed + epoch)
        network.train()
        began, total = time.monotonic(), 0.0
        for step, batch in enumerate(_batches(shown, recipe.batch_size, rng)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * _schedule(epoch * steps + step, recipe.epochs * steps, recipe.warmup_steps)
            loss = _loss(network, *batch, recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += float(loss.detach())
            if step % 100 == 99:
                say(f"epoch {epoch + 1}: step {step + 1} of {steps}, loss {total / (step + 1):.3f}")
        top1, patches = accuracy(network, held_out)
        _save(folder, recipe, network, optimizer, epoch + 1)
        say(
            f"epoch {epoch + 1} of {recipe.epochs}: loss {total / max(1, steps):.3f}; of held-out images {top1:.1f} %, "
            f"of their patches of objects {patches:.1f} %; {time.monotonic() - began:.0f} s"
        )
    return network


def _optimizer(network: nn.Module, recipe: Pretraining) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98))


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of matrices decay; biases, norms, the class token and positions do not."""
    matrices = [
        p for name, p in network.named_parameters() if p.ndim > 1 and "embed" not in name and "token" not in name
    ]
    kept = {id(p) for p in matrices}
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": [p for p in network.parameters() if id(p) not in kept], "weight_decay": 0.0},
    ]


def _schedule(step: int, steps: int, warmup: int) -> float:
    """A rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / max(1, min(warmup, steps // 5)))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))


def _batches(shown: Pictures, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches in a new order; half of the images mirrored, all with channels in another order and another gain."""
    order = rng.permutation(len(shown.families))
    for start in range(0, len(order) - size + 1, size):
        places = np.sort(order[start : start + size])
        pixels, patches = shown.pixels[places], shown.patches[places]
        mirrored = rng.random(size) < 0.5
        pixels[mirrored], patches[mirrored] = pixels[mirrored, :, ::-1], patches[mirrored, :, ::-1]
        channels = np.stack([rng.permutation(3) for _ in range(size)])
        pixels = np.take_along_axis(pixels, channels[:, None, None, :], axis=3)
        gain = torch.from_numpy(rng.uniform(0.75, 1.25, (size, 3, 1, 1)).astype(np.float32))
        images = (normalized(pixels) + 1) * gain - 1
        yield images, torch.from_numpy(shown.families[places]), torch.from_numpy(patches)


def normalized(pixels: np.ndarray) -> Tensor:
    """Images (n, side, side, 3) of uint8 → (n, 3, side, side), as the network takes them."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images - mean) / std).contiguous()


def _loss(network: Network, images: Tensor, families: Tensor, patches: Tensor, recipe: Pretraining) -> Tensor:
    logits, of_patches = network(images)
    whole = functional.cross_entropy(logits, families, label_smoothing=recipe.label_smoothing)
    weights = torch.ones(FAMILIES + 1)
    weights[NONE] = GROUND_WEIGHT
    local = functional.cross_entropy(
        of_patches.flatten(0, 1), patches.flatten(), weight=weights, label_smoothing=recipe.label_smoothing
    )
    return whole + recipe.patch_weight * local


@torch.no_grad()
def accuracy(network: Network, shown: Pictures, size: int = 250) -> tuple[float, float]:
    """Top-1 of images, and of their patches that show an object, in percent."""
    network.eval()
    right, seen, right_patches, seen_patches = 0, 0, 0, 0
    for start in range(0, len(shown.families), size):
        logits, of_patches = network(normalized(shown.pixels[start : start + size]))
        right += int((logits.argmax(1) == torch.from_numpy(shown.families[start : start + size])).sum())
        seen += len(logits)
        wanted = torch.from_numpy(shown.patches[start : start + size]).flatten(1)
        objects = wanted != NONE
        right_patches += int((of_patches.argmax(-1) == wanted)[objects].sum())
        seen_patches += int(objects.sum())
    return 100 * right / max(1, seen), 100 * right_patches / max(1, seen_patches)


def _save(folder: Path, recipe: Pretraining, network: Network, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    """Write the state after an epoch, whole or not at all."""
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{STATE}.unfinished"
    save_file(tensors, unfinished, {"epochs": str(epochs), "recipe": json.dumps(asdict(recipe))})
    unfinished.replace(folder / STATE)


def _load(folder: Path, recipe: Pretraining, network: Network, optimizer: torch.optim.Optimizer) -> int:
    """Load the state of an earlier session of this recipe; the number of its epochs."""
    path = folder / STATE
    if not path.is_file():
        return 0
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    if json.loads(metadata["recipe"]) != asdict(recipe):
        return 0
    tensors = load_file(path)
    network.load_state_dict({name[8:]: value for name, value in tensors.items() if name.startswith("network.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, what = rest.partition(".")
            state.setdefault(int(index), {})[what] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(metadata["epochs"])


def read_state(folder: Path) -> tuple[Network, Pretraining, int]:
    """The network after the last whole epoch in a folder, its recipe, and the number of its epochs.

    Raises:
        FileNotFoundError: No epoch is finished.

    """
    path = folder / STATE
    if not path.is_file():
        raise FileNotFoundError(2, "no state", str(path))
    with safe_open(path, framework="pt") as file:
        recipe = Pretraining(**json.loads(file.metadata()["recipe"]))
    network = Network(recipe.drop_path)
    return network, recipe, _load(folder, recipe, network, _optimizer(network, recipe))


def export(network: Network, path: Path, facts: dict[str, str]) -> None:
    """Write the weights of the backbone and of its head, in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().contiguous() for name, tensor in network.backbone.state_dict().items()}
    save_file(tensors, path, {"format": "pt", **facts})
