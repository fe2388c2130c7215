"""From scores to parts: the best windows of a map that hardly overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.errors import FgbenchError

OVERLAPS = ("pixels", "cells")


def window_boxes(
    scores: Tensor,
    grid: tuple[int, int],
    image_size: int,
    window: int,
    count: int = 2,
    max_iou: float = 0.1,
    *,
    overlap: str = "pixels",
) -> Tensor:
    """(B, G²) scores → (B, count, 4) pixel boxes y0, x0, y1, x1 of ``window`` × ``window`` pixels.

    A window is worth the mean of the scores under it. The best one is taken, then the best of those whose
    intersection over union with all taken before is at most ``max_iou``; where there is none, the one that overlaps
    least. ``overlap`` is measured in ``pixels`` of the boxes, or in ``cells`` of the grid with both ends counted, by
    which a window of k cells is k + 1 wide. Source: EV (Conde & Turgutlu, 2021), section 3; the latter is how the
    public experiments of one of its authors count.
    """
    if overlap not in OVERLAPS:
        raise FgbenchError("unknown way to measure an overlap", overlap, f"known: {', '.join(OVERLAPS)}")
    rows, columns = grid
    if not 1 <= window <= image_size:
        raise FgbenchError(f"a window must fit the image of {image_size} pixels, got", window)
    high, wide = (max(1, window * side // image_size) for side in grid)
    worth = functional.avg_pool2d(scores.view(-1, 1, rows, columns), (high, wide), stride=1).flatten(1)
    across = columns - wide + 1
    places = torch.arange(worth.shape[1], device=scores.device)
    corner = torch.stack((places // across * image_size // rows, places % across * image_size // columns), dim=1)
    corner = corner.clamp_max(image_size - window)  # (windows, 2): y0, x0
    if overlap == "cells":
        where, extent = torch.stack((places // across, places % across), dim=1), (high + 1, wide + 1)
    else:
        where, extent = corner, (window, window)

    taken = torch.zeros_like(worth)  # the largest overlap with a window taken before
    span = worth.amax(dim=1, keepdim=True) - worth.amin(dim=1, keepdim=True)
    boxes = []
    for _ in range(count):
        rank = torch.where(taken <= max_iou, worth, worth - (1 + taken) * (span + 1))
        best = rank.argmax(dim=1)
        start = corner[best]
        boxes.append(torch.cat((start, start + window), dim=1))
        there = start if where is corner else where[best]
        apart = (where - there[:, None]).abs()
        if extent[0] == extent[1]:
            common = (extent[0] - apart).clamp_min(0).prod(dim=-1).to(worth.dtype)
        else:
            common = (apart.new_tensor(extent) - apart).clamp_min(0).prod(dim=-1).to(worth.dtype)
        taken = torch.maximum(taken, common / (2 * extent[0] * extent[1] - common))
    return torch.stack(boxes, dim=1)
