"""Transforms from an image to the input of a network: resize, crop, augmentation, normalisation. By torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from fgbench.datasets.dataset import DataSet
from fgbench.results.recipe import AugReg, resized_side

Transform = Callable[[Image.Image], Tensor]


def train_transform(dataset: DataSet, image_size: int, level: AugReg) -> Transform:
    """Transform for training: resize, random crop, flip, and the augmentations of a level. GLSim, section 4, Table 11.

    Args:
        dataset: The data set, for mean and standard deviation.
        image_size: Side S of the network's input, pixels.
        level: Level of augmentation and regularisation.

    Returns:
        A function from an image in RGB to (3, S, S).
    """
    augment: list[Any] = [v2.RandomCrop(image_size), v2.RandomHorizontalFlip()]
    if level.trivial_augment:
        augment.append(v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR))
    erase = [v2.RandomErasing(level.random_erasing)] if level.random_erasing else []
    resize, normalise = _resize(resized_side(image_size)), _normalise(dataset.mean, dataset.std)
    transform: Transform = v2.Compose([resize, *augment, *normalise, *erase])
    return transform


def eval_transform(dataset: DataSet, image_size: int) -> Transform:
    """Transform for testing: resize and centre crop. GLSim, section 4.

    Args:
        dataset: The data set, for mean and standard deviation.
        image_size: Side S of the network's input, pixels.

    Returns:
        A function from an image in RGB to (3, S, S).
    """
    return centre_transform(resized_side(image_size), image_size, dataset.mean, dataset.std)


def centre_transform(resized: int, size: int, mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Transform that resizes an image to a square, cuts out its centre and normalises it.

    Args:
        resized: Side of the square, pixels.
        size: Side S of the centre, pixels.
        mean: Mean of red, green and blue, which is subtracted.
        std: Standard deviation of red, green and blue, which is divided by.

    Returns:
        A function from an image in RGB to (3, S, S).
    """
    transform: Transform = v2.Compose([_resize(resized), v2.CenterCrop(size), *_normalise(mean, std)])
    return transform


def _resize(side: int) -> Any:
    return v2.Resize((side, side), interpolation=v2.InterpolationMode.BICUBIC)


def _normalise(mean: Sequence[float], std: Sequence[float]) -> list[Any]:
    # The paper normalises before it resizes. Here it comes last, since augmentations need an image.
    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
