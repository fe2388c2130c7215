"""Regions of images from scores: boxes around the best patches, the best windows, and crops of a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.entries import RULES
from fgbench_selectors.errors import FeaturesError, FgbenchError

OVERLAPS = ("pixels", "cells")


def top_k_boxes(
    scores: Tensor,
    grid: tuple[int, int],
    k: int,
    patch_size: int,
    rule: str = "released",
    *,
    stride: int | None = None,
) -> Tensor:
    """Boxes around the k best patches. Among equal scores the first patch in reading order is the best.

    Args:
        scores: Patch scores (B, G_h·G_w).
        grid: Patches per column and row (G_h, G_w).
        k: Number of patches.
        patch_size: Side of a patch in pixels.
        rule: ``enclosing``, the rectangle that holds the k patches (GLSim, section 3.2); or ``released``, the rule of
            GLSim's released code, with which the published accuracy was measured: the last selected row and column are
            left out unless they are the only ones.
        stride: Step between patches in pixels; the patch size by default.

    Returns:
        Pixel boxes (B, 4): y0, x0, y1, x1, ends exclusive.

    Raises:
        FeaturesError: If scores and grid do not fit.
        FgbenchError: If ``k`` or ``rule`` is wrong.

    """
    rows, columns = grid
    if scores.ndim != 2 or scores.shape[1] != rows * columns:
        raise FeaturesError(
            f"scores must be (B, {rows * columns}) for a {rows}×{columns} grid, got shape",
            tuple(scores.shape),
        )
    if not 1 <= k <= rows * columns:
        raise FgbenchError("k must lie between 1 and the number of patches, got", k)
    if rule not in RULES:
        raise FgbenchError("unknown box rule", rule, f"known: {', '.join(RULES)}")
    step = patch_size if stride is None else stride
    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    sides = []
    for position in (best.div(columns, rounding_mode="floor"), best % columns):
        first, last = position.amin(dim=1), position.amax(dim=1)
        start = first * step
        enclosing = last * step + patch_size
        sides.append((start, enclosing if rule == "enclosing" else torch.maximum(last * step, start + patch_size)))
    (y0, y1), (x0, x1) = sides
    return torch.stack((y0, x0, y1, x1), dim=1)


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
    """The best windows of a map of scores that hardly overlap.

    The value of a window is the mean of the scores in it. The best window is selected first, then the best of those
    whose intersection over union with every selected one is at most ``max_iou``; where there is none, the window that
    overlaps least.
    Source: EV (Conde & Turgutlu, 2021), section 3; ``cells`` is how the public experiments of one of its authors count.

    Args:
        scores: Patch scores (B, G_h·G_w).
        grid: Patches per column and row (G_h, G_w).
        image_size: Side of the image in pixels.
        window: Side of a window in pixels.
        count: Number of windows.
        max_iou: Largest intersection over union of two windows.
        overlap: Unit of the intersection: ``pixels`` of the boxes, or ``cells`` of the grid with both ends counted, so
            that a window of k cells is k + 1 wide.

    Returns:
        Pixel boxes (B, count, 4): y0, x0, y1, x1, ends exclusive.

    Raises:
        FgbenchError: If ``overlap`` is unknown or the window is larger than the image.

    """
    if overlap not in OVERLAPS:
        raise FgbenchError("unknown way to measure an overlap", overlap, f"known: {', '.join(OVERLAPS)}")
    rows, columns = grid
    if not 1 <= window <= image_size:
        raise FgbenchError(f"a window must fit the image of {image_size} pixels, got", window)
    high, wide = (max(1, window * side // image_size) for side in grid)
    means = functional.avg_pool2d(scores.view(-1, 1, rows, columns), (high, wide), stride=1).flatten(1)
    per_row = columns - wide + 1
    index = torch.arange(means.shape[1], device=scores.device)
    corners = torch.stack((index // per_row * image_size // rows, index % per_row * image_size // columns), dim=1)
    corners = corners.clamp_max(image_size - window)  # (windows, 2): y0, x0
    if overlap == "cells":
        starts, extent = torch.stack((index // per_row, index % per_row), dim=1), (high + 1, wide + 1)
    else:
        starts, extent = corners, (window, window)

    iou = torch.zeros_like(means)  # the largest one with a selected window
    span = means.amax(dim=1, keepdim=True) - means.amin(dim=1, keepdim=True)
    boxes = []
    for _ in range(count):
        rank = torch.where(iou <= max_iou, means, means - (1 + iou) * (span + 1))
        best = rank.argmax(dim=1)
        corner = corners[best]
        boxes.append(torch.cat((corner, corner + window), dim=1))
        start = corner if starts is corners else starts[best]
        distance = (starts - start[:, None]).abs()
        if extent[0] == extent[1]:
            common = (extent[0] - distance).clamp_min(0).prod(dim=-1).to(means.dtype)
        else:
            common = (distance.new_tensor(extent) - distance).clamp_min(0).prod(dim=-1).to(means.dtype)
        iou = torch.maximum(iou, common / (2 * extent[0] * extent[1] - common))
    return torch.stack(boxes, dim=1)


def crop_resize(images: Tensor, boxes: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut a box out of every image and resize it.

    The result equals ``interpolate(image[:, y0:y1, x0:x1], size, mode="bilinear", align_corners=True)`` of every
    image, but the whole batch is resized at once and the host does not read the boxes. Gradient flows to the images.

    Args:
        images: (B, C, S_h, S_w) floating point.
        boxes: Pixel boxes (B, 4) in whole numbers: y0, x0, y1, x1, ends exclusive. A box is cut off at the edges of the
            image; an empty, inverted or outside box is read as the one pixel nearest to its y0, x0.
        size: Height and width of the crops in pixels, or one number for both.

    Returns:
        Crops (B, C, height, width).

    Raises:
        FeaturesError: If shapes or dtypes do not fit.
        FgbenchError: If the size is smaller than one pixel.

    """
    if images.ndim != 4:
        raise FeaturesError("images must be (B, C, height, width), got shape", tuple(images.shape))
    if not images.is_floating_point():
        raise FeaturesError(
            "images must be floating point, got", str(images.dtype), "convert them: images.float() / 255"
        )
    if boxes.shape != (images.shape[0], 4) or boxes.is_floating_point():
        raise FeaturesError(
            f"boxes must be whole numbers of shape ({images.shape[0]}, 4), got",
            (str(boxes.dtype), tuple(boxes.shape)),
        )
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise FgbenchError("a crop needs at least one pixel, got size", size)
    y0, x0, y1, x1 = boxes.unbind(dim=1)
    return _resample(_resample(images, y0, y1, height, dim=2), x0, x1, width, dim=3)


def _resample(images: Tensor, start: Tensor, end: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one axis: positions start … end − 1, ``size`` of them, ends included."""
    dtype = images.dtype if images.dtype in (torch.float32, torch.float64) else torch.float32
    steps = torch.arange(size, device=images.device, dtype=dtype)
    start = start.clamp(0, images.shape[dim] - 1)
    last = (end.clamp_max(images.shape[dim]) - start - 1).clamp_min(0).unsqueeze(1)  # last pixel of the slice
    position = steps * (last.to(dtype) / max(size - 1, 1))
    low = position.floor().long().clamp_max(last)
    high = (low + 1).clamp_max(last)
    weight = position - low.to(dtype)

    shape = [1, 1, 1, 1]
    shape[0], shape[dim] = images.shape[0], size

    def take(index: Tensor) -> Tensor:
        full = list(images.shape)
        full[dim] = size
        return images.gather(dim, (index + start.unsqueeze(1)).view(shape).expand(full))

    return take(low).to(dtype).lerp(take(high).to(dtype), weight.view(shape)).to(images.dtype)
