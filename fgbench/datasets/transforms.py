"""From a picture to what a network reads: square resize, crop, augmentation, normalisation. torchvision's parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from fgbench.datasets.dataset import DataSet
from fgbench.results.recipe import AugReg, resized_side

Transform = Callable[[Image.Image], Tensor]


def train_transform(dataset: DataSet, image_size: int, level: AugReg) -> Transform:
    """Resize, random crop, flip, and what the level adds → (3, S, S). GLSim, section 4 and Table 11."""
    augment: list[Any] = [v2.RandomCrop(image_size), v2.RandomHorizontalFlip()]
    if level.trivial_augment:
        augment.append(v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR))
    erase = [v2.RandomErasing(level.random_erasing)] if level.random_erasing else []
    made: Transform = v2.Compose([*_resize(image_size), *augment, *_normalise(dataset), *erase])
    return made


def eval_transform(dataset: DataSet, image_size: int) -> Transform:
    """Resize and centre crop → (3, S, S). GLSim, section 4."""
    made: Transform = v2.Compose([*_resize(image_size), v2.CenterCrop(image_size), *_normalise(dataset)])
    return made


def _resize(image_size: int) -> list[Any]:
    side = resized_side(image_size)
    return [v2.Resize((side, side), interpolation=v2.InterpolationMode.BICUBIC)]


def _normalise(dataset: DataSet) -> list[Any]:
    # The paper normalises before it resizes; after it, a picture stays a picture for the augmentations.
    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(dataset.mean, dataset.std)]
