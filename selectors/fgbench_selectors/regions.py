"""From scores to regions of an image: boxes around the best patches, and crops of a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError, FgbenchError

RULES = ("released", "enclosing")


def top_k_boxes(
    scores: Tensor,
    grid: tuple[int, int],
    k: int,
    patch_size: int,
    rule: str = "released",
    *,
    stride: int | None = None,
) -> Tensor:
    """(B, G²) scores → (B, 4) pixel boxes y0, x0, y1, x1 (ends exclusive) around the k best patches.

    Among equal scores the patch that comes first in the image wins, on every device. ``stride`` is the step
    between patches where they overlap; the patch side by default.

    rule="enclosing": the rectangle that holds the k patches (GLSim, section 3.2).
    rule="released": what GLSim's released code cuts, and the default because the published accuracy comes
    from it: the last selected row and column are left out unless they are the only ones.
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
    for place in (best.div(columns, rounding_mode="floor"), best % columns):
        first, last = place.amin(dim=1), place.amax(dim=1)
        start = first * step
        enclosing = last * step + patch_size
        sides.append((start, enclosing if rule == "enclosing" else torch.maximum(last * step, start + patch_size)))
    (y0, y1), (x0, x1) = sides
    return torch.stack((y0, x0, y1, x1), dim=1)


def crop_resize(images: Tensor, boxes: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut a box out of every image and resize it: (B, C, S_h, S_w), (B, 4) → (B, C, *size).

    Equal to ``interpolate(image[:, y0:y1, x0:x1], size, mode="bilinear", align_corners=True)`` image by
    image, but for the whole batch at once and without reading the boxes on the host. Boxes are whole pixels
    y0, x0, y1, x1. What reaches beyond the image is cut off, and a box that is empty, inverted or outside is
    read as the one pixel nearest to its y0, x0. Gradient flows to the images.
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
