"""EViT (Liang et al., ICLR 2022) and Top-K: the patches that the class token attends to least are fused or dropped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fgbench.models.options import whole_number, yes_or_no
from fgbench.models.reductions.reduction import BlockView, Reduction
from fgbench.models.reductions.sources import with_prefix
from fgbench.models.token_ops import best, take

if TYPE_CHECKING:
    from fgbench.models.encoder import Encoder, State


class EViT(Reduction):
    """In a block, keep the best share of the tokens; the others become one token, weighted by their scores.

    Of the n tokens behind the class token ⌈keep_rate · n⌉ are kept, after attention and before the MLP. The fused token
    is Σ score · token, which is not divided by the sum of the scores, and counts as a token in later blocks. Published
    reads the maps, fast one row of each.
    Source: EViT, section 3; released code.

    Args:
        encoder: The encoder.
        fuse: Whether the others become a token; otherwise they are dropped.
        shrink_epochs: Epochs of training in which the share falls to ``keep_rate``, from 1 along a cosine; 0: it is
            ``keep_rate`` from the first one on.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    makes_tokens = True

    def __init__(self, encoder: Encoder, *, fuse: bool = True, shrink_epochs: int = 0, **options: Any) -> None:
        self.fuse = yes_or_no(fuse, "fuse")
        self.makes_tokens = type(self).makes_tokens and self.fuse  # type: ignore[misc]  # what is dropped has no place
        self.shrink_epochs = whole_number(shrink_epochs, "shrink_epochs", 0)
        self.epoch = 0
        super().__init__(encoder, **options)

    def begin_epoch(self, epoch: int) -> None:
        """Count the epochs of training, in the first of which more tokens are kept."""
        self.epoch = epoch

    @property
    def rate(self) -> float:
        """The share of tokens that is kept now."""
        if not self.training or self.epoch == 0 or self.epoch > self.shrink_epochs:
            return self.keep_rate
        done = (self.epoch - 1) / self.shrink_epochs
        return self.keep_rate + (1 - self.keep_rate) * (1 + math.cos(math.pi * done)) / 2

    def num_kept(self, stage: int, state: State, tokens: int) -> int:
        """How many of the present tokens without the prefix are kept in a stage, which is counted from 0."""
        return math.ceil(self.rate * tokens)

    def in_block(self, index: int, state: State, tokens: Tensor, view: BlockView) -> Tensor:
        """Keep the best tokens, and fuse the others; tokens (B, N, D) → (B, M, D)."""
        stage = self.stage_at(index)
        if stage is None:
            return tokens
        assert state.sources is not None
        prefix = state.sources.num_prefix
        patches = tokens[:, prefix:]
        kept = self.num_kept(stage, state, patches.shape[1])
        if kept >= patches.shape[1]:
            return tokens
        scores = self.scores(state, tokens, view).to(tokens.dtype)
        chosen = best(scores, kept)
        if not self.fuse:
            return take(tokens, self.drop(state, chosen))
        others = scores.scatter(1, chosen, 0.0)
        self._move(state, chosen, others)
        fused = self._fused(patches, scores, others, kept)
        return torch.cat([tokens[:, :prefix], take(patches, chosen), fused], dim=1)

    def _fused(self, patches: Tensor, scores: Tensor, others: Tensor, kept: int) -> Tensor:
        """The sum of the tokens (B, n, D) that are not kept, weighted by their scores (B, n): (B, 1, D)."""
        if self.published:
            index = best(scores, scores.shape[1])[:, kept:]
            return (take(patches, index) * scores.gather(1, index).unsqueeze(-1)).sum(dim=1, keepdim=True)
        return others.unsqueeze(1) @ patches

    def _move(self, state: State, chosen: Tensor, others: Tensor) -> None:
        """Note the new places; the patches that are fused share a token in proportion to their scores (B, n)."""
        assert state.sources is not None
        prefix, length = state.sources.num_prefix, state.tokens.shape[1]
        places = with_prefix(chosen, prefix)
        to = torch.full_like(state.sources.owner[:, :1], places.shape[1]).expand(-1, length)
        order = torch.arange(places.shape[1], device=places.device).expand_as(places)
        to = to.scatter(1, places, order)
        weight = others.detach().float().abs() + torch.finfo(torch.float32).tiny
        part = weight / weight.scatter(1, chosen, 0.0).sum(dim=1, keepdim=True)
        share = torch.cat([part.new_ones(part.shape[0], prefix), part.scatter(1, chosen, 1.0)], dim=1)
        state.sources = state.sources.moved(to, share)


class TopK(EViT):
    """In a block, keep the best tokens and drop the others: ⌊keep_rate^s · G²⌋ in stage s, of the G² patches.

    It is EViT without the fused token, with numbers that do not depend on rounding in earlier blocks.
    Source: TokenReduction (Haurum et al., ICCV workshop 2023), released code.

    Args:
        encoder: The encoder.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    makes_tokens = False

    def __init__(self, encoder: Encoder, *, shrink_epochs: int = 0, **options: Any) -> None:
        super().__init__(encoder, fuse=False, shrink_epochs=shrink_epochs, **options)

    def num_kept(self, stage: int, state: State, tokens: int) -> int:
        """⌊keep_rate^s · G²⌋, at least 1."""
        return share_of_patches(self.rate, stage, state)


def share_of_patches(rate: float, stage: int, state: State) -> int:
    """⌊rate^(stage + 1) · G²⌋ of the G² patches before the first stage, at least 1."""
    assert state.sources is not None
    return max(1, int(rate ** (stage + 1) * state.sources.num_patches))
