"""The figures of every image, kept until their mean is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.explain.quality.boxes import mask_of, visible
from fgbench.explain.quality.crops import crop_quality
from fgbench.explain.quality.panel import Patches
from fgbench.explain.quality.perturbation import area_under
from fgbench.explain.quality.pointing import heat_inside, peak_centres, pointing_hits
from fgbench_selectors.heat import heat_map


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of B images, as they are compared with everyone's scores."""

    boxes: Sequence[Sequence[Box]]  # visible ones, in pixels of the network's input
    masks: Tensor  # (B, S, S) booleans: pixels on a part

    @classmethod
    def of(cls, boxes: Sequence[Sequence[Box]], size: int, device: torch.device) -> Parts:
        """Clip boxes to images of ``size`` pixels and draw them."""
        seen = [visible(each, size) for each in boxes]
        return cls(seen, torch.stack([mask_of(each, size) for each in seen]).to(device))


@dataclass(slots=True)
class ImageFigures:
    """One selector's figures, an entry per image that has them. Their means do not depend on the images' order."""

    hits: list[bool] = field(default_factory=list)
    heat: list[float] = field(default_factory=list)  # shares from 0 to 1, as the next three
    part_share: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    part_recall: list[float] = field(default_factory=list)
    insertion: list[Tensor] = field(default_factory=list)  # curves (steps + 1,) of probabilities
    deletion: list[Tensor] = field(default_factory=list)

    def add_parts(
        self,
        scores: Tensor,
        crops: Sequence[Sequence[int]],
        patches: Patches,
        parts: Parts,
        tolerance: float,
    ) -> None:
        """Compare scores (B, G²) and the crops around the best of them with the visible parts of B images."""
        centres = peak_centres(scores, patches.grid, patches.patch_size, patches.stride)
        self.hits += [hit for hit in pointing_hits(centres, parts.boxes, tolerance) if hit is not None]
        heat = heat_map(scores, patches.grid, patches.image_size, patches.patch_size, patches.stride, smooth=False)
        shares = heat_inside(heat, parts.masks).tolist()
        self.heat += [share for share, boxes in zip(shares, parts.boxes, strict=True) if boxes]
        for (y0, x0, y1, x1), boxes in zip(crops, parts.boxes, strict=True):
            if quality := crop_quality((y0, x0, y1, x1), boxes):
                self.part_share.append(quality.part_share)
                self.iou.append(quality.iou)
                self.part_recall.append(quality.part_recall)

    def means(self) -> dict[str, Any]:
        """The fields of a row; None for what no image had."""
        return {
            "pointing_percent": _percent(self.hits),
            "heat_in_parts_percent": _percent(self.heat),
            "crop_part_percent": _percent(self.part_share),
            "crop_iou_percent": _percent(self.iou),
            "part_recall_percent": _percent(self.part_recall),
            **_curve("insertion", self.insertion),
            **_curve("deletion", self.deletion),
        }


def _curve(name: str, curves: Sequence[Tensor]) -> dict[str, Any]:
    if not curves:
        return {f"{name}_auc": None, f"{name}_curve": None}
    together = torch.stack(list(curves)).double()
    return {f"{name}_auc": fmean(area_under(together).tolist()), f"{name}_curve": together.mean(dim=0).tolist()}


def _percent(shares: Sequence[float]) -> float | None:
    return 100 * fmean(shares) if shares else None
