"""Insertion and deletion: how fast the prediction comes and goes with the pixels that a selector ranks highest.

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
    """Probability (B, steps + 1) of ``classes`` (B,) while the hottest pixels are replaced by the mean, first to last.

    The mean is 0, which is the data set's mean colour in normalised images, as in RISE's released code. The lower the
    curve, the more the prediction rests on what was found.
    """
    return replacement_curve(classify, images, torch.zeros_like(images), heat, classes, steps)


def insertion_curve(classify: Classify, images: Tensor, heat: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Probability (B, steps + 1) of ``classes`` (B,) while the hottest pixels come back into the blurred image.

    The higher the curve, the more of the prediction is in what was found.
    """
    return replacement_curve(classify, blurred(images), images, heat, classes, steps)


def replacement_curve(
    classify: Classify, before: Tensor, after: Tensor, heat: Tensor, classes: Tensor, steps: int
) -> Tensor:
    """Probability (B, steps + 1) of ``classes`` (B,) while ``before`` becomes ``after``, both (B, 3, S, S).

    Pixels change in ``steps`` equal shares by their heat (B, S, S), the hottest first; among equals the one that comes
    first in the image, on every device. Entry 0 is ``before``, the last one is ``after``.
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
    """Heat (B, S, S) → every pixel's place in its image's order, 0 for the hottest: (B, S, S) whole numbers."""
    order = heat.flatten(1).sort(dim=-1, descending=True, stable=True).indices
    places = torch.arange(order.shape[-1], device=heat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(heat.shape)


def area_under(curve: Tensor) -> Tensor:
    """The area (B,) under curves (B, steps + 1) over 0 … 1, by the trapezoid rule."""
    return torch.trapezoid(curve.double(), dx=1 / (curve.shape[-1] - 1), dim=-1)


def blurred(images: Tensor, share: float = BLUR) -> Tensor:
    """Images (B, C, S, S) under a Gaussian whose standard deviation is a share of the side; edges are mirrored.

    It reaches three standard deviations. RISE's own kernel ends at 11 × 11 pixels whatever the image size, and blurs
    large images hardly at all.
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
