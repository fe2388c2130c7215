"""A crop against the parts: how much of it they are, how much of them it has, how well it fits around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fgbench.datasets.dataset import Box
from fgbench.explain.quality.boxes import area, enclosing, intersection, union_area


class CropQuality(NamedTuple):
    """One crop of one image; shares from 0 to 1."""

    part_share: float  # of the crop's area that is part
    iou: float  # with the smallest box that encloses the parts
    part_recall: float  # of the parts' area that is inside the crop


def crop_quality(crop: Box, parts: Sequence[Box]) -> CropQuality | None:
    """A crop and the visible parts, in pixels of the same image; None where there is nothing to find.

    Parts that overlap count once. A crop of no area finds nothing.
    """
    covered = union_area(parts)
    if covered <= 0:
        return None
    whole, found = area(crop), union_area([intersection(crop, part) for part in parts])
    target = enclosing(parts)
    shared = area(intersection(crop, target))
    return CropQuality(
        part_share=found / whole if whole > 0 else 0.0,
        iou=shared / (whole + area(target) - shared),
        part_recall=found / covered,
    )
