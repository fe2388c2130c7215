"""The pointing game: whether what scores highest lies on a part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fgbench.datasets.dataset import Box
from fgbench.explain.quality.boxes import contains
from fgbench.models.token_ops import best


def peak_centres(scores: Tensor, grid: tuple[int, int], patch_size: int, stride: int) -> list[tuple[float, float]]:
    """Patch scores (B, G²) → the centre (y, x) in pixels of each image's best patch, the first among equals."""
    index = best(scores, 1).squeeze(-1).tolist()
    half = patch_size / 2
    return [(place // grid[1] * stride + half, place % grid[1] * stride + half) for place in index]


def pointing_hits(
    centres: Sequence[tuple[float, float]], parts: Sequence[Sequence[Box]], tolerance: float = 0.0
) -> list[bool | None]:
    """Per image whether the peak falls into a part's box; None where no part is visible.

    ``tolerance`` is a distance in pixels that still counts: 0 asks for the box itself; the original game grants 15.
    Source: Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016, the pointing game.
    """
    return [
        any(contains(box, y, x, tolerance) for box in boxes) if boxes else None
        for (y, x), boxes in zip(centres, parts, strict=True)
    ]


def heat_inside(heat: Tensor, inside: Tensor) -> Tensor:
    """Heat maps and pixels that are part, both (B, S, S) → per image the share of the heat on parts, 0 to 1: (B,).

    Heat is counted from the image's coldest pixel. An even map says nothing: of it parts have their share of the
    pixels. Unlike the peak it depends on how steep a selector's scores are, not on their order alone.
    Source: the energy-based pointing game of Score-CAM, Wang et al., CVPR workshops 2020.
    """
    flat, on_parts = heat.double().flatten(1), inside.flatten(1).double()
    energy = flat - flat.amin(dim=1, keepdim=True)
    whole = energy.sum(dim=1)
    shares = (energy * on_parts).sum(dim=1) / whole.masked_fill(whole == 0, 1)
    return torch.where(whole > 0, shares, on_parts.mean(dim=1))
