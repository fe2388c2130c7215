"""Insertion and deletion: the probability of a class while a selector's hottest pixels are added or removed.

Source: RISE, Petsiuk, Das & Saenko, BMVC 2018, the causal metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError

Classify = Callable[[Tensor], Tensor]  # images (B, 3, S, S) → logits (B, classes)

BLUR = 5 / 224  # standard deviation as a share of the side: RISE blurs 224 pixels by 5


def deletion_curve(classify: Classify, images: Tensor, heat: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Probability of a class while the hottest pixels are replaced by the mean; low where heat is on what matters.

    The mean is 0: the data set's mean colour in normalised images, as in RISE's released code.

    Args:
        classify: The model.
        images: Normalised images (B, 3, S, S).
        heat: Heat maps (B, S, S).
        classes: A class per image (B,).
        steps: Number of equal shares of the pixels.

    Returns:
        Probabilities (B, steps + 1), of the whole image first.
    """
    return replacement_curve(classify, images, torch.zeros_like(images), heat, classes, steps)


def insertion_curve(classify: Classify, images: Tensor, heat: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Probability of a class while the hottest pixels return to the blurred image; high where heat is on what matters.

    Args and returns are those of :func:`deletion_curve`; the blurred image is the first entry.
    """
    return replacement_curve(classify, blurred(images), images, heat, classes, steps)


def replacement_curve(
    classify: Classify, before: Tensor, after: Tensor, heat: Tensor, classes: Tensor, steps: int
) -> Tensor:
    """Probability of a class while the pixels of one image are replaced by those of another.

    Pixels change in equal shares by their heat, the hottest first; among equals the one that comes first in the image,
    on every device.

    Args:
        classify: The model.
        before: Images (B, 3, S, S) at the first entry.
        after: Images (B, 3, S, S) at the last entry.
        heat: Heat maps (B, S, S).
        classes: A class per image (B,).
        steps: Number of equal shares of the pixels.

    Returns:
        Probabilities (B, steps + 1).

    Raises:
        FgbenchError: There are more steps than pixels, or none.
    """
    pixels = heat[0].numel()
    if not 1 <= steps <= pixels:
        raise FgbenchError(f"steps must number between 1 and the {pixels} pixels, got", steps)
    rank = rank_pixels(heat).unsqueeze(1)
    curve = []
    for step in range(steps + 1):
        images = torch.where(rank < step * pixels // steps, after, before)
        probabilities = classify(images).float().softmax(dim=-1)
        curve.append(probabilities.gather(-1, classes.unsqueeze(-1)))
    return torch.cat(curve, dim=-1)


def rank_pixels(heat: Tensor) -> Tensor:
    """Heat (B, S, S) → the rank of every pixel in its image (B, S, S), whole numbers, 0 for the hottest."""
    order = heat.flatten(1).sort(dim=-1, descending=True, stable=True).indices
    places = torch.arange(order.shape[-1], device=heat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(heat.shape)


def area_under(curve: Tensor) -> Tensor:
    """Area (B,) under curves (B, steps + 1) over 0 … 1, by the trapezoid rule."""
    return torch.trapezoid(curve.double(), dx=1 / (curve.shape[-1] - 1), dim=-1)


def blurred(images: Tensor, share: float = BLUR) -> Tensor:
    """Blur images (B, C, S, S) with a Gaussian; edges are mirrored.

    The kernel reaches three standard deviations. RISE's own kernel has 11 × 11 pixels at every image size, and blurs
    large images hardly at all.

    Args:
        images: Images (B, C, S, S).
        share: Standard deviation as a share of the side.
    """
    side = images.shape[-1]
    deviation = share * side
    reach = min(math.ceil(3 * deviation), side - 1)
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float64)
    bell = torch.exp(-offsets.square() / (2 * deviation**2))
    kernel = (bell / bell.sum()).to(images.dtype)
    channels = images.shape[1]
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        padded = functional.conv2d(padded, kernel.view(shape).repeat(channels, 1, 1, 1), groups=channels)
    return padded
