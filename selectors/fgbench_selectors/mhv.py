"""Multi-head voting (MHV) of IELT (Xu et al., TMM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.backends.precision import accurate_dtype, without_autocast
from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

KERNEL = ((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0))  # not divided by its sum


class MHV(Selector):
    """Votes of the heads for the patches that the class token attends to, smoothed over the grid → (B, L−1, G²).

    In each block 1…L−1 every head votes for the patches with the highest attention of the class token. The number of
    heads that vote for a patch is smoothed with its eight neighbours: weights 4 for itself, 2 beside, 1 diagonal, and 0
    outside of the grid. Scores are whole numbers from 0 to 16·H, so that many patches have equal ones. Among equal
    attention a head votes for the patch that comes first in reading order, in both implementations and on every device.
    Source: IELT, released code.

    Args:
        impl: ``published`` or ``fast``.
        votes: Patches that a head votes for in a block; all patches where there are fewer.

    Raises:
        FgbenchError: If ``votes`` is no whole number from 1.

    """

    needs = Needs(blocks=slice(None, -1), class_token=True)
    score_shape = ("batch", "blocks", "patches")

    def __init__(self, impl: str = "fast", votes: int = 24) -> None:
        super().__init__(impl)
        if isinstance(votes, bool) or not isinstance(votes, int) or votes < 1:
            raise FgbenchError("votes must be a whole number from 1, got", votes)
        self.votes = votes

    def published(self, features: Features) -> Tensor:
        """Read row 0 of ready maps; smooth by a convolution of 3×3: O(L·H·N²)."""
        scores = []
        for block in features.read_blocks(slice(None, -1)):
            counts = count_votes(block.probs_map()[:, :, 0, features.num_prefix_tokens :], self.votes)
            image = counts.unflatten(1, features.grid).unsqueeze(1)
            with without_autocast(image.device):
                smooth = functional.conv2d(image, image.new_tensor(KERNEL).expand(1, 1, 3, 3), padding=1)
            scores.append(smooth.flatten(1))
        return torch.stack(scores, dim=1)

    def fast(self, features: Features) -> Tensor:
        """Compute row 0 only; smooth columns, then rows, by additions: O(L·N·D) from queries and keys."""
        scores = []
        for block in features.read_blocks(slice(None, -1)):
            counts = count_votes(block.row(0)[..., features.num_prefix_tokens :], self.votes)
            image = counts.unflatten(1, features.grid)
            scores.append(_smoothed(_smoothed(image, 1), 2).flatten(1))
        return torch.stack(scores, dim=1)


def count_votes(attention: Tensor, votes: int) -> Tensor:
    """The number of heads that have a token among those that they attend to most; among equal ones the first counts.

    Args:
        attention: (B, H, M).
        votes: Tokens that a head votes for; all where there are fewer.

    Returns:
        Whole numbers (B, M) in floating point.

    """
    if votes >= attention.shape[-1]:
        ballots = attention.new_ones(attention.shape, dtype=accurate_dtype(attention.dtype))
        return ballots.sum(dim=1)
    first = attention.sort(dim=-1, descending=True, stable=True).indices[..., :votes]
    ballots = attention.new_zeros(attention.shape, dtype=accurate_dtype(attention.dtype))
    return ballots.scatter(-1, first, 1.0).sum(dim=1)


def _smoothed(image: Tensor, dim: int) -> Tensor:
    """Twice each count plus both neighbours along one axis of (B, G_h, G_w)."""
    length = image.shape[dim]
    padded = functional.pad(image, (1, 1) if dim == 2 else (0, 0, 1, 1))
    return padded.narrow(dim, 0, length) + 2 * image + padded.narrow(dim, 2, length)
