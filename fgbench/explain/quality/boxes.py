"""Rectangles: from the upright image to the network's input, and what they cover. Pixels y0, x0, y1, x1."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.errors import FgbenchError


def to_network_input(boxes: Iterable[Box], stored: tuple[int, int], resized: int, size: int) -> list[Box]:
    """Boxes of an upright image → boxes of the network's input; those that lie outside of it are gone.

    The image of ``stored`` (height, width) pixels is resized to a square of ``resized`` and its centre of ``size``
    pixels is cut out, by the offset of torchvision's ``CenterCrop``. A pixel's edges are what is mapped, as Pillow
    resizes. Raises :class:`FgbenchError` where the crop is larger than the resized image.
    """
    if not 1 <= size <= resized or min(stored) < 1:
        raise FgbenchError(f"cannot cut {size} pixels out of {resized}, resized from", stored)
    offset = round((resized - size) / 2)  # a half is rounded to the even neighbour, there as here
    down, across = resized / stored[0], resized / stored[1]
    moved = (
        (y0 * down - offset, x0 * across - offset, y1 * down - offset, x1 * across - offset) for y0, x0, y1, x1 in boxes
    )
    return visible(moved, size)


def visible(boxes: Iterable[Box], size: int) -> list[Box]:
    """What of the boxes lies inside a square image of ``size`` pixels; boxes of which nothing does are left out."""
    clipped = (intersection(box, (0.0, 0.0, float(size), float(size))) for box in boxes)
    return [box for box in clipped if area(box) > 0]


def area(box: Box) -> float:
    """Height times width; 0 for a box that is empty or inverted."""
    y0, x0, y1, x1 = box
    return max(y1 - y0, 0.0) * max(x1 - x0, 0.0)


def intersection(first: Box, second: Box) -> Box:
    """The rectangle that both cover; one of no area where there is none."""
    y0, x0 = max(first[0], second[0]), max(first[1], second[1])
    return y0, x0, max(min(first[2], second[2]), y0), max(min(first[3], second[3]), x0)


def enclosing(boxes: Sequence[Box]) -> Box:
    """The smallest rectangle that holds one box or more."""
    y0, x0, y1, x1 = zip(*boxes, strict=True)
    return min(y0), min(x0), max(y1), max(x1)


def union_area(boxes: Sequence[Box]) -> float:
    """What several boxes cover together, in pixels²; where they overlap it counts once."""
    covered = 0.0
    for top, bottom in itertools.pairwise(sorted({y for box in boxes for y in (box[0], box[2])})):
        reach, width = float("-inf"), 0.0
        for x0, x1 in sorted((x0, x1) for y0, x0, y1, x1 in boxes if y0 <= top and bottom <= y1):
            width += max(x1 - max(x0, reach), 0.0)
            reach = max(reach, x1)
        covered += (bottom - top) * width
    return covered


def contains(box: Box, y: float, x: float, tolerance: float = 0.0) -> bool:
    """Whether a point lies in a box or at most ``tolerance`` pixels from it, along either axis; ends exclusive."""
    y0, x0, y1, x1 = box
    return y0 - tolerance <= y < y1 + tolerance and x0 - tolerance <= x < x1 + tolerance


def mask_of(boxes: Sequence[Box], size: int) -> Tensor:
    """(S, S) booleans: the pixels whose centre lies in a box."""
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    mask = torch.zeros(size, size, dtype=torch.bool)
    for y0, x0, y1, x1 in boxes:
        mask |= ((centres >= y0) & (centres < y1)).unsqueeze(1) & ((centres >= x0) & (centres < x1))
    return mask
