"""ToMe (Bolya et al., ICLR 2023): pairs of tokens with similar keys are merged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.options import whole_number, yes_or_no
from fgbench.models.reductions.reduction import BlockView, Reduction
from fgbench.models.token_ops import take

if TYPE_CHECKING:
    from fgbench.models.encoder import Encoder, State

MOST = 0.5  # of the tokens can be merged in one block


class Matching(NamedTuple):
    """Which tokens are merged into which.

    Args:
        merged: Places (B, R) of even tokens that are merged.
        into: Rank (B, R) among the odd tokens of the token that each is merged into.
        left: Places (B, E − R) of the even tokens that stay, in ascending order.

    """

    merged: Tensor
    into: Tensor
    left: Tensor


class ToMe(Reduction):
    """After attention, merge the pairs of tokens with the most similar keys; a merged token is a mean by size.

    The metric is the mean of the keys over heads. Tokens at even places are compared with those at odd places by the
    cosine, the most similar partner of each even one counts, and the r best pairs are merged. The sizes of tokens are
    carried on, and attention adds the logarithm of the size to the logits of each key. The order is that of the even
    tokens that stay, then of the odd ones; prefix tokens keep their places before them. No training is needed.
    Published builds the maps; fast adds the sizes as a bias to fused attention.

    With ``keep_rate``, blocks 4, 7 and 10 leave ⌈keep_rate · n⌉ of n tokens each; with ``r`` every block merges as
    many, as in the released code.
    Source: ToMe, section 3; released code.

    Args:
        encoder: The encoder.
        keep_rate: From 0.5 on: at most half of the tokens have a partner. It has no meaning with ``r``.
        r: Tokens that every block merges, as far as it has them; None for ``keep_rate``.
        decreasing: Whether 2 r tokens are merged in the first block, none in the last, and evenly between.
        options: Options of :class:`fgbench.models.reductions.reduction.Reduction`.

    """

    scores_tokens = False
    makes_tokens = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        keep_rate: float | None = None,
        r: int | None = None,
        decreasing: bool = False,
        **options: Any,
    ) -> None:
        self.r = None if r is None else whole_number(r, "r", 1)
        self.decreasing = yes_or_no(decreasing, "decreasing")
        if r is None and decreasing:
            raise FgbenchError("a schedule of merged tokens needs their number:", "decreasing", "give r, such as 13")
        if r is not None and keep_rate is not None:
            raise FgbenchError("either of keep_rate and r says how many tokens are merged, got r", r)
        blocks = {} if r is None else {"at": range(1, encoder.depth + 1)}
        super().__init__(encoder, keep_rate=keep_rate, **{**blocks, **options})
        self.has_default_blocks = "at" not in options
        if self.keep_rate < MOST:
            raise FgbenchError("ToMe merges at most half of the tokens in a block: keep_rate from 0.5, got", keep_rate)

    @property
    def told_rate(self) -> float | None:
        """The share of tokens that a stage keeps; None with ``r``."""
        return self.keep_rate if self.r is None else None

    def reads_map(self, index: int) -> bool:
        """True: the published code builds every map."""
        return True

    def num_merged(self, stage: int, tokens: int, prefix: int) -> int:
        """How many of the tokens are merged in a stage, which is counted from 0."""
        if self.r is None:
            wanted = tokens - prefix - math.ceil(self.keep_rate * (tokens - prefix))
        elif self.decreasing:
            last = max(1, len(self.at) - 1)
            wanted = int(2 * self.r - stage * (2 * self.r / last))
        else:
            wanted = self.r
        return max(0, min(wanted, (tokens - prefix) // 2))

    def in_block(self, index: int, state: State, tokens: Tensor, view: BlockView) -> Tensor:
        """Merge tokens (B, N, D) → (B, N − r, D)."""
        stage = self.stage_at(index)
        assert state.sources is not None
        prefix = state.sources.num_prefix
        merged = 0 if stage is None else self.num_merged(stage, tokens.shape[1], prefix)
        if not merged:
            return tokens
        found = match(view.projected.k.detach().mean(dim=1), merged, prefix)
        sizes: Tensor = state.memo.get("sizes", tokens.new_ones(tokens.shape[:2], dtype=torch.float32))
        whole = _joined(sizes.unsqueeze(-1), found, prefix).squeeze(-1)
        self._move(state, sizes, whole, found)
        state.memo["sizes"], state.key_bias = whole, whole.log()[:, None, None]
        weighted = _joined(tokens * sizes.unsqueeze(-1).to(tokens.dtype), found, prefix)
        return weighted / whole.unsqueeze(-1).to(tokens.dtype)

    def _move(self, state: State, sizes: Tensor, whole: Tensor, found: Matching) -> None:
        """Note the new places; a token's share of a merged one is that of its size."""
        assert state.sources is not None
        prefix = state.sources.num_prefix
        even, odd = _prefix_places(prefix)
        first_odd = prefix + found.left.shape[1] - even  # the first odd patch comes after the even ones that stay
        order = torch.arange(whole.shape[1], device=whole.device).expand(whole.shape[0], -1)
        to = torch.zeros_like(sizes, dtype=torch.long)
        to = to.scatter(1, found.left[:, even:], order[:, prefix:first_odd])
        to = to.scatter(1, found.merged, first_odd + found.into - odd)
        to[:, 1 + 2 * odd :: 2] = order[:, first_odd:]
        to[:, :prefix] = order[:, :prefix]
        state.sources = state.sources.moved(to, sizes / whole.gather(1, to))


def match(metric: Tensor, r: int, prefix: int) -> Matching:
    """Find the r best pairs of tokens at even and odd places. Prefix tokens have no pair.

    Args:
        metric: (B, N, d), not normalised.
        r: From 1 to (N − prefix) // 2.
        prefix: Tokens before the patches.

    """
    unit = metric / metric.norm(dim=-1, keepdim=True)
    similar = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    if prefix:
        similar[:, : (prefix + 1) // 2] = -torch.inf
        similar[:, :, : prefix // 2] = -torch.inf
    highest, partner = similar.max(dim=-1)
    order = highest.sort(dim=-1, descending=True, stable=True).indices
    merged, left = order[:, :r], order[:, r:].sort(dim=-1).values
    return Matching(2 * merged, partner.gather(1, merged), 2 * left)


def _joined(values: Tensor, found: Matching, prefix: int) -> Tensor:
    """Add the values (B, N, D) of merged tokens to those of their partners: (B, N − r, D), prefix tokens first."""
    first_even, first_odd = _prefix_places(prefix)
    index = found.into.unsqueeze(-1).expand(-1, -1, values.shape[-1])
    odd = values[:, 1::2].scatter_add(1, index, take(values, found.merged))
    return torch.cat([values[:, :prefix], take(values, found.left[:, first_even:]), odd[:, first_odd:]], dim=1)


def _prefix_places(prefix: int) -> tuple[int, int]:
    """How many of the prefix tokens are at even places, and at odd ones."""
    return (prefix + 1) // 2, prefix // 2
