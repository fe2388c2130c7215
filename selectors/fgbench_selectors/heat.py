"""Conversion of scores of any declared shape to one score per patch, and of patch scores to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fgbench_selectors.backends.precision import accurate
from fgbench_selectors.errors import FeaturesError


def patch_scores(scores: Tensor, axes: Sequence[str], num_prefix_tokens: int) -> Tensor:
    """Convert scores to one score per patch.

    The axis ``patches`` is the position in the image; where there is none, the axis ``tokens`` is, without its first
    ``num_prefix_tokens``. Every other axis (``heads``, ``blocks``; ``tokens`` beside ``patches``) is a set of
    selections, as PSM selects by every head and MAWS by every block. Each of them is scaled to 0 … 1 over the patches
    of the image, so that all count the same; then they are averaged. A selection that scores all patches alike becomes
    zero. A selector that has no such axis keeps its values.

    Args:
        scores: Scores of any floating dtype. float64 stays float64 (SACM's scores leave float32's range), half
            precision becomes float32.
        axes: Names of their axes, of :data:`fgbench_selectors.selector.AXES`.
        num_prefix_tokens: Tokens before the patches.

    Returns:
        (B, G²).

    Raises:
        FeaturesError: If no axis is a position in the image, or scores and axes do not fit.

    """
    names = list(axes)
    if names[:1] != ["batch"] or scores.ndim != len(names):
        raise FeaturesError(f"scores of axes ({', '.join(names)}) cannot have shape", tuple(scores.shape))
    position = next((axis for axis in ("patches", "tokens") if axis in names), None)
    if position is None:
        raise FeaturesError("no axis of the scores has a place in the image:", tuple(names), "patches and tokens have")
    dim = len(names) - 1 - names[::-1].index(position)
    prefix = num_prefix_tokens if position == "tokens" else 0
    if scores.shape[dim] <= prefix:
        raise FeaturesError(f"no patches are left behind {prefix} prefix tokens; the tokens are", scores.shape[dim])
    by_patch = accurate(scores).movedim(dim, -1)[..., prefix:]
    if by_patch.ndim == 2:
        return by_patch
    low, high = by_patch.aminmax(dim=-1, keepdim=True)
    spread = high - low
    scaled = (by_patch - low) / spread.masked_fill(spread == 0, 1)
    return scaled.flatten(1, -2).mean(dim=1)


def heat_map(
    scores: Tensor,
    grid: tuple[int, int],
    size: int,
    patch_size: int,
    stride: int | None = None,
    *,
    smooth: bool = True,
) -> Tensor:
    """Spread patch scores over the pixels of the square image that the patches were cut from.

    Values are linear between the centres of patches and constant beyond the outermost centres. Pixels that no patch
    covers, because the patch does not divide the side, have the score of the nearest patch.

    Args:
        scores: Patch scores (B, G_h·G_w).
        grid: Patches per column and row (G_h, G_w).
        size: Side S of the image in pixels.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels; the patch size by default.
        smooth: False gives every pixel the score of the patch whose centre is nearest.

    Returns:
        (B, S, S).

    Raises:
        FeaturesError: If scores and grid do not fit.

    """
    rows, columns = grid
    if scores.ndim != 2 or scores.shape[1] != rows * columns:
        shape = tuple(scores.shape)
        raise FeaturesError(f"scores must be (B, {rows * columns}) for a {rows}×{columns} grid, got shape", shape)
    heat = accurate(scores).view(-1, rows, columns)
    step = patch_size if stride is None else stride
    for dim, places in ((1, rows), (2, columns)):
        pixels = torch.arange(size, device=heat.device, dtype=heat.dtype) + 0.5
        position = ((pixels - patch_size / 2) / step).clamp(0, places - 1)
        position = position if smooth else (position + 0.5).floor()
        low = position.floor().long()
        weight = (position - low).view(-1, *[1] * (2 - dim))
        before = heat.index_select(dim, low)
        heat = before.lerp(heat.index_select(dim, (low + 1).clamp_max(places - 1)), weight)
    return heat
