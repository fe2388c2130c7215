"""Evo-ViT (Xu et al., AAAI 2022): uninformative patches rest for a stage, and come back behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.options import yes_or_no
from fgbench.models.reductions.reduction import BlockView, Reduction
from fgbench.models.reductions.sources import Sources, with_prefix
from fgbench.models.token_ops import take, take_rope

if TYPE_CHECKING:
    from fgbench.models.encoder import Encoder, State

MEMORY = 0.5  # of the attention so far, from the first stage on


class EvoViT(Reduction):
    """Before a stage, the share of the patches with the highest attention goes on; the others keep their values.

    The attention that a patch gets from the class token, summed over heads, is carried from block to block: it is that
    of the block before the first stage, and from there on the mean of what was carried and of the block. In a stage,
    ⌊keep_rate · G²⌋ patches run through the blocks; behind its last block all are there again. Stages begin with
    blocks 5 and 9, and end before the next one or with the last block. The fast update of the resting patches by a
    representative token, which the paper has, is not in the released code for DeiT, and not here.

    The paper classifies by the norm of the mean of all patches: ``readout="mean_patch"`` of ``vit``.
    Source: Evo-ViT, section 3; released code for DeiT.

    Args:
        encoder: The encoder.
        every_block: Whether each block from the first stage on is a stage.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    default_keep_rate = 0.5
    default_at = (5, 9)

    def __init__(self, encoder: Encoder, *, every_block: bool = False, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.every_block = yes_or_no(every_block, "every_block")
        self.last_block = encoder.depth
        if self.at[0] == 1:
            raise FgbenchError("Evo-ViT reads the attention of the blocks before a stage, and none is before block", 1)
        if self.every_block:
            self.at = tuple(range(self.at[0], encoder.depth + 1))

    def acts_in(self, index: int) -> bool:
        """True: it reads the attention of every block."""
        return True

    def reads_map(self, index: int) -> bool:
        """True: the published code reads the attention of every block."""
        return True

    def before_block(self, index: int, state: State) -> None:
        """Set patches aside before the first block of a stage."""
        if self.stage_at(index) is None or "attention" not in state.memo:
            return
        assert state.sources is not None
        before, attention = state.sources, state.memo["attention"]
        kept = max(1, int(self.keep_rate * attention.shape[1]))
        order = attention.sort(dim=1, descending=True, stable=True).indices
        resting = take(state.tokens[:, before.num_prefix :], order[:, kept:])
        whole = before.kept(with_prefix(order, before.num_prefix), state.tokens.shape[1])
        rope = state.rope
        state.tokens = take(state.tokens, self.drop(state, order[:, :kept]))
        attention = attention.gather(1, order)
        state.memo |= {"resting": resting, "whole": whole, "rope": rope, "order": order}
        state.memo |= {"attention": attention[:, :kept], "resting attention": attention[:, kept:]}

    def in_block(self, index: int, state: State, tokens: Tensor, view: BlockView) -> Tensor:
        """Carry on the attention of the patches; the tokens stay."""
        if self._is_needed(index):
            mine = self.scores(state, tokens, view)
            if self.selector is None:
                mine = mine * view.attn.num_heads
            carried: Tensor | None = state.memo.get("attention")
            begun = carried is not None and index + 1 >= self.at[0]
            state.memo["attention"] = mine if carried is None or not begun else MEMORY * carried + (1 - MEMORY) * mine
        return tokens

    def after_block(self, index: int, state: State) -> None:
        """Bring back the resting patches behind the last block of a stage."""
        if "resting" not in state.memo or not (self.stage_at(index + 1) is not None or index + 1 == self.last_block):
            return
        memo = state.memo
        state.tokens = torch.cat([state.tokens, memo.pop("resting")], dim=1)
        memo["attention"] = torch.cat([memo["attention"], memo.pop("resting attention")], dim=1)
        whole: Sources = memo.pop("whole")
        state.sources, rope, order = whole, memo.pop("rope"), memo.pop("order")
        if rope is not None:
            state.rope = take_rope(rope, order, mixed=self.mixes_rope)

    def _is_needed(self, index: int) -> bool:
        """Whether a later stage reads the attention of a block; the published code carries all of it."""
        return self.published or index + 1 < self.at[-1]
