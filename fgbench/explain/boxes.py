"""Boxes around patches, and boxes between the upright picture and the network's input.

A box is (y0, x0, y1, x1) in pixels; y1 and x1 are exclusive, and fractions of pixels are allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.errors import FgbenchError
from fgbench.results.recipe import resized_side
from fgbench_selectors.heat import heat_map
from fgbench_selectors.regions import top_k_boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGeometry:
    """How a network sees a picture: resized to a square of ``resized`` pixels, of which the centre is cut out.

    The picture is squeezed: a pixel of the network's input is ``height / resized`` pixels of the picture high and
    ``width / resized`` wide. The edges of pixels are mapped, as Pillow resizes, and the centre has the offset of
    torchvision's ``CenterCrop``.

    Raises:
        FgbenchError: The centre is larger than the resized picture, or the picture has no pixels.
    """

    picture: tuple[int, int]  # height and width of the upright picture, pixels
    resized: int  # side of the square, pixels
    size: int  # side of the network's input, pixels

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit."""
        if not 1 <= self.size <= self.resized or min(self.picture) < 1:
            raise FgbenchError(f"cannot cut {self.size} pixels out of {self.resized}, resized from", self.picture)

    @property
    def seen_box(self) -> Box:
        """The part of the picture that the network sees, in pixels of the picture."""
        return self.to_picture([(0, 0, self.size, self.size)])[0]

    @property
    def _offset(self) -> int:
        return round((self.resized - self.size) / 2)  # torchvision rounds a half to the even neighbour, as Python does

    def to_picture(self, boxes: Iterable[Sequence[float]]) -> list[Box]:
        """Map boxes from the network's input to the picture.

        Args:
            boxes: Boxes in pixels of the network's input.

        Returns:
            The same boxes in pixels of the upright picture.
        """
        height, width = self.picture
        offset, down, across = self._offset, height / self.resized, width / self.resized
        return [
            ((y0 + offset) * down, (x0 + offset) * across, (y1 + offset) * down, (x1 + offset) * across)
            for y0, x0, y1, x1 in boxes
        ]

    def to_input(self, boxes: Iterable[Box]) -> list[Box]:
        """Map boxes from the picture to the network's input.

        Args:
            boxes: Boxes in pixels of the upright picture.

        Returns:
            What of them the network sees, in pixels of its input; a box outside of it is left out.
        """
        height, width = self.picture
        offset, down, across = self._offset, self.resized / height, self.resized / width
        moved = (
            (y0 * down - offset, x0 * across - offset, y1 * down - offset, x1 * across - offset)
            for y0, x0, y1, x1 in boxes
        )
        return visible(moved, self.size)


def input_geometry(picture: tuple[int, int], size: int, view: str = "centre") -> InputGeometry:
    """Geometry of one picture.

    Args:
        picture: Height and width of the upright picture, pixels.
        size: Side of the network's input, pixels.
        view: ``centre``, as models are trained and tested (GLSim, section 4), or ``whole``.
    """
    return InputGeometry(picture=picture, resized=resized_side(size) if view == "centre" else size, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Where the patches of a square image lie; lengths in pixels."""

    grid: tuple[int, int]  # rows and columns
    patch_size: int
    stride: int  # between neighbours: less than patch_size where they overlap
    image_size: int

    @property
    def count(self) -> int:
        """Number of patches."""
        return self.grid[0] * self.grid[1]

    def box(self, row: int, column: int) -> Box:
        """Box of one patch."""
        top, left = float(row * self.stride), float(column * self.stride)
        return top, left, top + self.patch_size, left + self.patch_size

    def crop_boxes(self, scores: Tensor, top_k: int, rule: str) -> Tensor:
        """Box around the best patches of every image.

        Args:
            scores: Patch scores (B, G²).
            top_k: Number of patches.
            rule: ``released`` or ``enclosing``, see :func:`fgbench_selectors.regions.top_k_boxes`.

        Returns:
            Boxes (B, 4), whole pixels.
        """
        return top_k_boxes(scores, self.grid, top_k, self.patch_size, rule, stride=self.stride)

    def heat(self, scores: Tensor, *, smooth: bool = True) -> Tensor:
        """Patch scores (B, G²) as pixels (B, S, S), see :func:`fgbench_selectors.heat.heat_map`."""
        return heat_map(scores, self.grid, self.image_size, self.patch_size, self.stride, smooth=smooth)


def patches_to_crop(top_k: int | None, patches: Patches, option: str = "top_k") -> int:
    """Number of patches that a crop is made around.

    Args:
        top_k: The number that was asked for; None for 8 at 224 pixels and in proportion, as GLSim crops.
        patches: The patches of the model.
        option: Name of the option in the error.

    Raises:
        FgbenchError: ``top_k`` is larger than the number of patches.
    """
    if top_k is None:
        return max(1, min(round(8 * patches.image_size / 224), patches.count))
    if top_k > patches.count:
        raise FgbenchError(f"{option} must be at most {patches.count}, the number of patches; got", top_k)
    return top_k


def visible(boxes: Iterable[Box], size: int) -> list[Box]:
    """Boxes clipped to a square image of ``size`` pixels; a box that lies outside is left out."""
    clipped = (intersection(box, (0.0, 0.0, float(size), float(size))) for box in boxes)
    return [box for box in clipped if area(box) > 0]


def area(box: Box) -> float:
    """Height times width in square pixels; 0 for a box that is empty or inverted."""
    y0, x0, y1, x1 = box
    return max(y1 - y0, 0.0) * max(x1 - x0, 0.0)


def intersection(first: Box, second: Box) -> Box:
    """The rectangle that both boxes cover; its area is 0 where there is none."""
    y0, x0 = max(first[0], second[0]), max(first[1], second[1])
    return y0, x0, max(min(first[2], second[2]), y0), max(min(first[3], second[3]), x0)


def enclosing(boxes: Sequence[Box]) -> Box:
    """The smallest rectangle around one box or more."""
    y0, x0, y1, x1 = zip(*boxes, strict=True)
    return min(y0), min(x0), max(y1), max(x1)


def union_area(boxes: Sequence[Box]) -> float:
    """Area that several boxes cover together, in square pixels; an overlap counts once."""
    covered = 0.0
    for top, bottom in itertools.pairwise(sorted({y for box in boxes for y in (box[0], box[2])})):
        reach, width = float("-inf"), 0.0
        for x0, x1 in sorted((x0, x1) for y0, x0, y1, x1 in boxes if y0 <= top and bottom <= y1):
            width += max(x1 - max(x0, reach), 0.0)
            reach = max(reach, x1)
        covered += (bottom - top) * width
    return covered


def contains(box: Box, y: float, x: float, tolerance: float = 0.0) -> bool:
    """Whether a point lies in a box, or at most ``tolerance`` pixels from it along either axis."""
    y0, x0, y1, x1 = box
    return y0 - tolerance <= y < y1 + tolerance and x0 - tolerance <= x < x1 + tolerance


def mask_of(boxes: Sequence[Box], size: int) -> Tensor:
    """Booleans (S, S), S = ``size``: the pixels whose centre lies in a box."""
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    mask = torch.zeros(size, size, dtype=torch.bool)
    for y0, x0, y1, x1 in boxes:
        mask |= ((centres >= y0) & (centres < y1)).unsqueeze(1) & ((centres >= x0) & (centres < x1))
    return mask
