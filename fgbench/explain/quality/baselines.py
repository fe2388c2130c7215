"""What a selection must beat: scores that need no model."""

from __future__ import annotations

import torch
from torch import Tensor

BASELINES = ("random", "centre")


def baseline_scores(
    batch: int, first: int, grid: tuple[int, int], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Scores (B, G²) of a batch whose first image is the ``first``-th of all, by name.

    ``random``: uniform between 0 and 1, drawn for each image by its number, however the images are batched.
    ``centre``: minus the squared distance of a patch to the middle of the grid.
    """
    rows, columns = grid
    drawn = [torch.rand(rows * columns, generator=torch.Generator().manual_seed(first + i)) for i in range(batch)]
    down, across = (torch.arange(side) - (side - 1) / 2 for side in grid)
    near = -(down.square().unsqueeze(1) + across.square()).flatten()
    return {"random": torch.stack(drawn).to(device), "centre": near.expand(batch, -1).to(device)}
