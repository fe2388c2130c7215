"""Figures of selections on single images: peak, heat and crop compared with the parts, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.explain.boxes import Patches, area, contains, enclosing, intersection, mask_of, union_area, visible
from fgbench.explain.quality.perturbation import area_under
from fgbench.models.token_ops import best


@dataclass(frozen=True, slots=True)
class Parts:
    """The visible parts of B images."""

    boxes: Sequence[Sequence[Box]]  # in pixels of the network's input; empty where no part is visible
    masks: Tensor  # (B, S, S) booleans: pixels on a part

    @classmethod
    def of(cls, boxes: Sequence[Sequence[Box]], size: int, device: torch.device) -> Parts:
        """Clip boxes to images of ``size`` pixels and draw them."""
        clipped = [visible(parts, size) for parts in boxes]
        return cls(clipped, torch.stack([mask_of(parts, size) for parts in clipped]).to(device))


@dataclass(slots=True)
class ImageFigures:
    """Figures of one selector, an entry per image that has them. Their means do not depend on the images' order."""

    hits: list[bool] = field(default_factory=list)  # whether the peak lies on a part
    heat: list[float] = field(default_factory=list)  # shares from 0 to 1, as the next three
    part_share: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    part_recall: list[float] = field(default_factory=list)
    insertion: list[Tensor] = field(default_factory=list)  # curves (steps + 1,) of probabilities
    deletion: list[Tensor] = field(default_factory=list)

    def add_parts(
        self, scores: Tensor, crops: Sequence[Sequence[int]], patches: Patches, parts: Parts, tolerance: float
    ) -> None:
        """Compare scores and crops with the parts of B images.

        Args:
            scores: Patch scores (B, G²).
            crops: A crop per image, y0, x0, y1, x1 in pixels of the network's input.
            patches: Where the patches lie.
            parts: The visible parts.
            tolerance: Distance in pixels from a part at which the peak still counts as on it.
        """
        hits = pointing_hits(peak_centres(scores, patches), parts.boxes, tolerance)
        self.hits += [hit for hit in hits if hit is not None]
        shares = heat_inside(patches.heat(scores, smooth=False), parts.masks).tolist()
        self.heat += [share for share, boxes in zip(shares, parts.boxes, strict=True) if boxes]
        for (y0, x0, y1, x1), boxes in zip(crops, parts.boxes, strict=True):
            if quality := crop_quality((y0, x0, y1, x1), boxes):
                self.part_share.append(quality.part_share)
                self.iou.append(quality.iou)
                self.part_recall.append(quality.part_recall)

    def means(self) -> dict[str, Any]:
        """Means by field of a row; None for a figure that no image has."""
        return {
            "pointing_percent": _percent(self.hits),
            "heat_in_parts_percent": _percent(self.heat),
            "crop_part_percent": _percent(self.part_share),
            "crop_iou_percent": _percent(self.iou),
            "part_recall_percent": _percent(self.part_recall),
            **_curve("insertion", self.insertion),
            **_curve("deletion", self.deletion),
        }


def peak_centres(scores: Tensor, patches: Patches) -> list[tuple[float, float]]:
    """Patch scores (B, G²) → the centre (y, x) in pixels of each image's best patch, the first among equals."""
    indices = best(scores, 1).squeeze(-1).tolist()
    columns, half = patches.grid[1], patches.patch_size / 2
    return [(index // columns * patches.stride + half, index % columns * patches.stride + half) for index in indices]


def pointing_hits(
    centres: Sequence[tuple[float, float]], parts: Sequence[Sequence[Box]], tolerance: float = 0.0
) -> list[bool | None]:
    """The pointing game: whether the peak of each image lies on a part.

    Source: Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016.

    Args:
        centres: Peak (y, x) of each image, pixels.
        parts: Boxes of the visible parts of each image.
        tolerance: Distance in pixels from a box that still counts: 0 asks for the box itself; the original game
            grants 15.

    Returns:
        A value per image; None where no part is visible.
    """
    return [
        any(contains(box, y, x, tolerance) for box in boxes) if boxes else None
        for (y, x), boxes in zip(centres, parts, strict=True)
    ]


def heat_inside(heat: Tensor, inside: Tensor) -> Tensor:
    """The energy-based pointing game: the share of an image's heat that lies on parts.

    Heat is counted from the image's coldest pixel. Of an even map, parts have their share of the pixels. Unlike the
    peak, the share depends on how steep a selector's scores are, not on their order alone.
    Source: Score-CAM, Wang et al., CVPR workshops 2020.

    Args:
        heat: Heat maps (B, S, S).
        inside: Booleans (B, S, S): pixels on a part.

    Returns:
        Shares (B,) from 0 to 1.
    """
    flat, on_parts = heat.double().flatten(1), inside.flatten(1).double()
    energy = flat - flat.amin(dim=1, keepdim=True)
    whole = energy.sum(dim=1)
    shares = (energy * on_parts).sum(dim=1) / whole.masked_fill(whole == 0, 1)
    return torch.where(whole > 0, shares, on_parts.mean(dim=1))


class CropQuality(NamedTuple):
    """One crop of one image compared with the parts; shares from 0 to 1."""

    part_share: float  # of the crop's area that is part
    iou: float  # intersection over union with the smallest box around the parts
    part_recall: float  # of the parts' area that is inside the crop


def crop_quality(crop: Box, parts: Sequence[Box]) -> CropQuality | None:
    """Compare a crop with the visible parts.

    Args:
        crop: Box of the crop; one without an area has no part.
        parts: Boxes in pixels of the same image; where they overlap, they count once.

    Returns:
        The three shares; None where no part is visible.
    """
    covered = union_area(parts)
    if covered <= 0:
        return None
    whole, inside = area(crop), union_area([intersection(crop, part) for part in parts])
    target = enclosing(parts)
    shared = area(intersection(crop, target))
    return CropQuality(
        part_share=inside / whole if whole > 0 else 0.0,
        iou=shared / (whole + area(target) - shared),
        part_recall=inside / covered,
    )


def _curve(name: str, curves: Sequence[Tensor]) -> dict[str, Any]:
    if not curves:
        return {f"{name}_auc": None, f"{name}_curve": None}
    stacked = torch.stack(list(curves)).double()
    return {f"{name}_auc": fmean(area_under(stacked).tolist()), f"{name}_curve": stacked.mean(dim=0).tolist()}


def _percent(shares: Sequence[float]) -> float | None:
    return 100 * fmean(shares) if shares else None
