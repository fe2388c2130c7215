"""Collages of two images (ACC-ViT): the cells with little attention are replaced by a partner's with much."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def make_collages(
    images: Tensor, scores: Tensor, partner: Tensor, *, grid: tuple[int, int], cells: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """Replace the half of every image's cells that has the lowest scores by the best half of a partner's cells.

    Images are cut into cells of equal sides, and the scores of patches are averaged over each cell. The best cell of
    the partner comes to the place of the best one that is replaced, and so on. The weight of a class is the share of
    the scores of its image that the collage shows; the two need not add up to one. Pixels beyond the last whole cell
    stay. Scores of which some are negative are raised so that the lowest cell is at 0.
    Source: ACC-ViT, released code.

    Args:
        images: (B, 3, S, S).
        scores: (B, G²).
        partner: Index of each image's partner (B,).
        grid: Patches per column and row.
        cells: Cells per column and row, of images and of the grid.

    Returns:
        Collages (B, 3, S, S); weights (B,) of the classes of the images, and of those of their partners.

    """
    pooled = functional.adaptive_avg_pool2d(scores.unflatten(1, grid).unsqueeze(1), cells).flatten(1)
    raised = pooled - pooled.amin(dim=1, keepdim=True).clamp_max(0)
    total = raised.sum(dim=1, keepdim=True).clamp_min(torch.finfo(raised.dtype).tiny)
    shares, order = (raised / total).sort(dim=1, descending=True, stable=True)
    first = cells**2 // 2  # of the cells that are replaced, in this order
    replaced, taken = order[:, first:], order[partner, : cells**2 - first]
    own = 1 - shares[:, first:].sum(dim=1)
    other = shares[partner, : cells**2 - first].sum(dim=1)

    side = images.shape[-1] // cells
    whole = images[..., : cells * side, : cells * side].unflatten(3, (cells, side)).unflatten(2, (cells, side))
    pieces = whole.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, cells², 3 · side²)
    width = pieces.shape[-1]
    given = pieces[partner].gather(1, taken.unsqueeze(-1).expand(-1, -1, width))
    pieces = pieces.scatter(1, replaced.unsqueeze(-1).expand(-1, -1, width), given)
    whole = pieces.unflatten(1, (cells, cells)).unflatten(3, (-1, side, side)).permute(0, 3, 1, 4, 2, 5)
    collages = images.clone()
    collages[..., : cells * side, : cells * side] = whole.flatten(4).flatten(2, 3)
    return collages, own, other
