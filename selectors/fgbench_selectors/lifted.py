"""Attention among the tokens that a block has left, as attention among all tokens of the image.

A backbone that drops or merges tokens has fewer of them from block to block. Selectors score all G² patches: they read
each block through ``Lifted``, which knows where every patch is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fgbench_selectors.backends.precision import accurate
from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.qk import QK, BlockAttention, Maps

BASE = 128  # whole numbers up to it are exact in every precision


@dataclass(frozen=True, eq=False)
class Lifted(BlockAttention):
    """Attention of one block among M tokens that stand for the N tokens of an image, M ≤ N.

    Token i of the image is in token t(i) of the block, with a share w(i) of it: 1 by itself, 0 where it was dropped,
    between where tokens were merged; the shares of one token have the sum 1. The attention from i to j is
    A[t(i), t(j)] · w(j); a token that was dropped attends to itself alone. A product of such maps over blocks is the
    flow of attention through the blocks, and through what was dropped or merged between them.

    Args:
        block: Attention among the M tokens.
        owner: t (B, 1, N) or (B, H, N), whole numbers; where a token was dropped, any of the M.
        share: w of the same shape, float32 or better.

    Raises:
        FeaturesError: If the shapes do not fit.

    """

    block: QK | Maps
    owner: Tensor
    share: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.owner.ndim != 3 or self.owner.shape != self.share.shape:
            shapes = tuple(self.owner.shape), tuple(self.share.shape)
            raise FeaturesError("owners and shares must both be (B, 1, N) or (B, H, N), got shapes", shapes)

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """B, H, N."""
        batch, heads, _ = self.block.shape
        return batch, heads, self.owner.shape[2]

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.block.device

    def map(self, change: Callable[[Tensor], Tensor]) -> Lifted:
        """A copy with ``change`` applied to every tensor (B, H, …); owners stay whole numbers."""
        owner, share = (x.expand(-1, self.block.shape[1], -1) for x in (self.owner, self.share))
        high, low = (
            change(part.to(share.dtype)) for part in (owner.div(BASE, rounding_mode="floor"), owner.remainder(BASE))
        )
        return Lifted(self.block.map(change), high.long() * BASE + low.long(), change(share))

    def logits_map(self) -> Tensor:
        """The logits M (B, H, N, N), with log w of rows and columns: the lowest number for a dropped token."""
        logits = self._spread(self.block.logits_map())
        lowest = torch.finfo(logits.dtype).min / 4
        shares = self.share.to(logits.dtype).log().clamp_min(lowest)
        return (logits + shares.unsqueeze(2) + shares.unsqueeze(3)).clamp_min(lowest)

    def probs_map(self) -> Tensor:
        """The map A (B, H, N, N). O(N²) memory."""
        probs = self._spread(self.block.probs_map())
        share = self.share.to(probs.dtype)
        there = self.share > 0
        own = torch.diag_embed((~there).to(probs.dtype))
        return probs * share.unsqueeze(2) * there.unsqueeze(3) + own

    def row(self, index: int) -> Tensor:
        """A[index, :], the attention of one query: (B, H, N). Row 0 takes O(N·d), as the class token stays first."""
        return self._lift(self.block.row(0)) if index == 0 else accurate(self.probs_map()[:, :, index])

    def column_softmax(self, index: int) -> Tensor:
        """Softmax over queries of M[:, index]: (B, H, N); column 0 takes O(N·d)."""
        if index == 0:
            column = self._lift(self.block.column_softmax(0))
            return column / column.sum(dim=-1, keepdim=True)  # without padding, which no token of the image is in
        return accurate(self.logits_map()[..., index]).softmax(dim=-1)

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Rows of A, from its dense map."""
        return Maps(self.probs_map()).row_blocks(keep=keep)

    def head_product(self) -> tuple[Tensor, Tensor]:
        """Mean and row 0 of the product of all heads' maps, from the dense maps."""
        return Maps(self.probs_map()).head_product()

    def _left(self, v: Tensor) -> Tensor:
        weights, there = v.detach(), self.share > 0
        gathered = weights.new_zeros(*v.shape[:2], self.block.shape[2])
        gathered = gathered.scatter_add(2, self.owner.expand(v.shape), weights * there)
        return self._lift(self.block.left(gathered)) + weights * ~there

    def _lift(self, row: Tensor) -> Tensor:
        """Values (B, H, M) of the block's tokens, divided among those of the image: (B, H, N)."""
        return row.gather(2, self.owner.expand(-1, row.shape[1], -1)) * self.share.to(row.dtype)

    def _spread(self, dense: Tensor) -> Tensor:
        """A map (B, H, M, M) with the rows and columns of every token of the image: (B, H, N, N)."""
        owner = self.owner.expand(-1, dense.shape[1], -1)
        rows = dense.gather(2, owner.unsqueeze(3).expand(-1, -1, -1, dense.shape[2]))
        return rows.gather(3, owner.unsqueeze(2).expand(-1, -1, owner.shape[2], -1))


AnyAttention = QK | Maps | Lifted


def lowest_where_absent(scores: Tensor, axes: tuple[str, ...], present: Tensor, num_prefix_tokens: int) -> Tensor:
    """Give dropped tokens the lowest score of their image.

    Args:
        scores: Scores of a selector.
        axes: Their axes, the last of which is ``tokens`` or ``patches``.
        present: Which tokens are left: (B, N), or (B, blocks, N) for scores with the axis ``blocks``.
        num_prefix_tokens: Tokens before the patches.

    Returns:
        Scores of the same shape.

    """
    if axes[-1] not in ("tokens", "patches"):
        return scores
    there = present[..., num_prefix_tokens:] if axes[-1] == "patches" else present
    while there.ndim < scores.ndim:
        there = there.unsqueeze(1)
    lowest = scores.masked_fill(~there, torch.inf).amin(dim=-1, keepdim=True)
    return torch.where(there, scores, lowest)
