"""From scores of any declared shape to one score per patch, and from those to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError


def patch_scores(scores: Tensor, axes: Sequence[str], num_prefix_tokens: int) -> Tensor:
    """Scores of shape ``axes`` (:data:`fgbench_selectors.selector.AXES`) → one score per patch (B, G²).

    ``patches``: the place in the image, as it is. A selector that scores patches alone keeps its values.
    ``tokens``: where no axis is ``patches``, the place, without the first ``num_prefix_tokens``, which lie nowhere in
    the image; beside ``patches`` an opinion as heads and blocks are.
    ``heads``, ``blocks``: opinions, from each of which PSM and MAWS select on its own. Each is scaled to 0 … 1 over
    the image's patches, so that the pick of each counts one whatever its scale; then they are averaged. One that
    scores all patches alike counts zero everywhere.

    float64 stays float64 (SACM's scores leave float32's range), half precision becomes float32.
    Raises :class:`FeaturesError` where no axis has a place in the image, or scores and axes do not fit.
    """
    names = list(axes)
    if names[:1] != ["batch"] or scores.ndim != len(names):
        raise FeaturesError(f"scores of axes ({', '.join(names)}) cannot have shape", tuple(scores.shape))
    place = next((axis for axis in ("patches", "tokens") if axis in names), None)
    if place is None:
        raise FeaturesError("no axis of the scores has a place in the image:", tuple(names), "patches and tokens have")
    where = len(names) - 1 - names[::-1].index(place)
    prefix = num_prefix_tokens if place == "tokens" else 0
    if scores.shape[where] <= prefix:
        raise FeaturesError(f"no patches are left behind {prefix} prefix tokens; the tokens are", scores.shape[where])
    placed = _accurate(scores).movedim(where, -1)[..., prefix:]
    if placed.ndim == 2:
        return placed
    low, high = placed.aminmax(dim=-1, keepdim=True)
    spread = high - low
    share = (placed - low) / spread.masked_fill(spread == 0, 1)
    return share.flatten(1, -2).mean(dim=1)


def heat_map(
    scores: Tensor,
    grid: tuple[int, int],
    size: int,
    patch_size: int,
    stride: int | None = None,
    *,
    smooth: bool = True,
) -> Tensor:
    """Patch scores (B, G_h·G_w) → pixels (B, S, S) of the square image that the patches were cut from, S = ``size``.

    Linear between the centres of patches, constant beyond the outermost ones; with ``smooth=False`` a pixel has the
    score of the patch whose centre is nearest. ``stride`` is the step between patches where they overlap. Pixels that
    no patch covers, because the patch does not divide the side, have the score of the nearest.
    """
    rows, columns = grid
    if scores.ndim != 2 or scores.shape[1] != rows * columns:
        shape = tuple(scores.shape)
        raise FeaturesError(f"scores must be (B, {rows * columns}) for a {rows}×{columns} grid, got shape", shape)
    heat = _accurate(scores).view(-1, rows, columns)
    step = patch_size if stride is None else stride
    for dim, places in ((1, rows), (2, columns)):
        pixels = torch.arange(size, device=heat.device, dtype=heat.dtype) + 0.5
        position = ((pixels - patch_size / 2) / step).clamp(0, places - 1)
        position = position if smooth else (position + 0.5).floor()
        low = position.floor().long()
        weight = (position - low).view(-1, *[1] * (2 - dim))
        near = heat.index_select(dim, low)
        heat = near.lerp(heat.index_select(dim, (low + 1).clamp_max(places - 1)), weight)
    return heat


def _accurate(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
