"""The contract of token reductions."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.reductions.sources import with_prefix
from fgbench.models.token_ops import take_rope
from fgbench.plugins.registry import make_selector
from fgbench_selectors import IMPLS, QK, Features, Maps, Selector
from fgbench_selectors.qk import attention_row

if TYPE_CHECKING:
    from fgbench.models.attention import Projected
    from fgbench.models.encoder import Encoder, State

STAGE = "reduction"  # of a model's forward pass: scores, choice and merging of tokens
LOWEST_RATE = 0.01
BIAS_WIDTH = 8  # dimensions that a bias of keys adds to a head: kernels want a multiple of it
SCORES = (("batch", "patches"), ("batch", "heads", "patches"), ("batch", "blocks", "patches"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockView:
    """What a reduction can read of a block, after its attention.

    Args:
        attn: Attention of a timm block.
        projected: Queries, keys and values.
        probs: The map (B, H, N, N); None where attention was fused.
        logits: The same before the softmax, where they are wanted.
        key_bias: What was added to the logits of each key (B, 1, 1, N); None for nothing.
        norm: The encoder's last norm, for selectors that read tokens.
        has_class_token: Whether token 0 is a class token.
        grid: Patches per column and row of the image.

    """

    attn: Any
    projected: Projected
    probs: Tensor | None
    logits: Tensor | None
    key_bias: Tensor | None
    norm: Callable[[Tensor], Tensor]
    has_class_token: bool
    grid: tuple[int, int]

    def class_row(self) -> Tensor:
        """A[0, :] (B, H, N), with gradient: a row of the map, or from the first query and all keys in O(N·D)."""
        if self.probs is not None:
            return self.probs[:, :, 0]
        return attention_row(self.projected.q[:, :, :1], self.projected.k, self.attn.scale, self.key_bias)

    def attention(self, lse: Tensor | None = None) -> QK | Maps:
        """The attention without gradient, as selectors read it; a bias of keys becomes further dimensions of the heads.

        Args:
            lse: Log-sum-exp (B, H, N) of the logits, where attention without a bias has returned it.

        """
        if self.probs is not None:
            return Maps(self.probs.detach(), None if self.logits is None else self.logits.detach())
        q, k, scale = self.projected.q.detach(), self.projected.k.detach(), self.attn.scale
        if self.key_bias is None:
            return QK(q, k, scale, lse)
        ones, bias = (torch.zeros_like(q[..., : min(BIAS_WIDTH, q.shape[-1])]) for _ in range(2))
        lowest = torch.finfo(q.dtype).min * scale / 4
        ones[..., 0] = 1 / scale
        bias[..., 0] = self.key_bias.detach()[:, :, 0].clamp_min(lowest).to(q.dtype)
        return QK(torch.cat([q, ones], dim=-1), torch.cat([k, bias], dim=-1), scale)


class Reduction(nn.Module):
    """Base of the ways to reduce tokens. The class token and other prefix tokens always stay.

    A reduction is one class in one file. It has some of three methods, which are called in every block:
    :meth:`before_block`, :meth:`in_block` (after attention and its residual, before the MLP) and :meth:`after_block`.
    A method that changes the sequence sets ``state.sources`` too (:class:`fgbench.models.reductions.sources.Sources`).
    Values that it keeps from block to block are in ``state.memo``.

    Args:
        encoder: The encoder that it is for.
        keep_rate: Share of the tokens that are kept, above 0 and up to 1; that of the paper by default.
        at: Blocks, counted from 1, in which tokens are reduced; those of the paper by default, as far as the backbone
            has them.
        selector: Scores the tokens in place of the class token's attention: a name or an instance.
        impl: ``published`` or ``fast``.

    Raises:
        FgbenchError: If an option is wrong, or does not fit the encoder.

    """

    default_keep_rate: ClassVar[float] = 0.7
    default_at: ClassVar[tuple[int, ...]] = (4, 7, 10)
    scores_tokens: ClassVar[bool] = True  # whether a selector can score its tokens
    makes_tokens: ClassVar[bool] = False  # whether it merges tokens: they have no rotary position
    pads_tokens: ClassVar[bool] = False  # whether images of a batch are padded: the mean of all tokens has no meaning
    two_impls: ClassVar[bool] = True  # whether published and fast differ

    on_step: Callable[[str, Callable[[], Any]], Any] | None = None  # as that of a model, which sets it

    def __init__(
        self,
        encoder: Encoder,
        *,
        keep_rate: float | None = None,
        at: Sequence[int] | int | None = None,
        selector: str | Selector | None = None,
        impl: str = "fast",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if self.makes_tokens and encoder.has_rope:
            what = f"{name} merges tokens, which then have no place for the rotary positions of"
            raise FgbenchError(what, encoder.name, "choose a reduction that only drops, such as topk")
        rate = self.default_keep_rate if keep_rate is None else keep_rate
        self.keep_rate = number(rate, "keep_rate", LOWEST_RATE, 1)
        self.mixes_rope: bool = encoder.mixes_rope
        self.at, self.has_default_blocks = self._blocks(encoder, at), at is None
        self._impl = one_of(impl, "implementation", IMPLS)
        self.selector: Selector | None = self._selector(selector, impl)
        if self.reads_row and self.selector is None and not encoder.has_class_token:
            do = "give a selector that reads no class token, or another backbone"
            raise FgbenchError(f"{name} scores tokens by the class token, and the backbone has none:", encoder.name, do)

    @property
    def told_rate(self) -> float | None:
        """The share of tokens that is kept, as names and rows tell it; None where other options say it."""
        return self.keep_rate

    @property
    def reads_row(self) -> bool:
        """Whether it reads the attention of the class token."""
        return self.scores_tokens

    @property
    def impl(self) -> str:
        """``published`` or ``fast``; that of the selector changes with it."""
        return self._impl

    @impl.setter
    def impl(self, impl: str) -> None:
        self._impl = one_of(impl, "implementation", IMPLS)
        if self.selector is not None:
            self.selector.impl = impl

    @property
    def published(self) -> bool:
        """Whether the published operations run."""
        return self._impl == "published"

    def stage_at(self, index: int) -> int | None:
        """The stage, from 0, that begins in a block, which is counted from 0; None where none does."""
        return self.at.index(index + 1) if index + 1 in self.at else None

    def reads_map(self, index: int) -> bool:
        """Whether the published operations read the map of a block, which is counted from 0."""
        return self.reads_row and self.stage_at(index) is not None

    def before_block(self, index: int, state: State) -> None:
        """Reduce the tokens of the state before a block, which is counted from 0."""

    def queries(self, index: int, state: State, view: BlockView) -> Tensor | None:
        """Places (B, K) of the tokens whose attention is computed; the others end here. None: all."""
        return None

    def attend(self, attn: Any, projected: Projected, state: State) -> Tensor | None:
        """The output of an attention of its own (B, H, N, d); None for that of the block."""
        return None

    def in_block(self, index: int, state: State, tokens: Tensor, view: BlockView) -> Tensor:
        """Reduce tokens after the attention of a block, before its MLP.

        Args:
            index: Of the block, from 0.
            state: The state, whose ``sources`` are changed.
            tokens: (B, N, D) after attention and its residual.
            view: Attention of the block.

        Returns:
            The tokens (B, M, D) that the MLP reads.

        """
        return tokens

    def after_block(self, index: int, state: State) -> None:
        """Change the state after a block, which is counted from 0."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for an epoch of training, counted from 1."""

    def loss(self) -> Tensor | None:
        """The loss of its own of the passes since the last call; None where it has none."""
        return None

    def acts_in(self, index: int) -> bool:
        """Whether it computes something in a block, which is counted from 0."""
        return self.stage_at(index) is not None

    def step(self, run: Callable[..., Any], index: int, *args: Any) -> Any:
        """Run one of the methods in a block, as the stage ``reduction`` of the model."""
        if self.on_step is None or not self.acts_in(index):
            return run(index, *args)
        return self.on_step(STAGE, lambda: run(index, *args))

    def scores(self, state: State, tokens: Tensor, view: BlockView) -> Tensor:
        """Scores (B, n) of the n patch tokens: the attention of the class token, mean over heads; or the selector's.

        A selector reads the block's attention, and tokens after the encoder's last norm, on the grid of the image: a
        patch that was dropped gets no attention. Its scores are gathered for the tokens that are left.
        """
        assert state.sources is not None
        prefix = state.sources.num_prefix
        if self.selector is None:
            return view.class_row().mean(dim=1)[:, prefix:]
        needs, sources = self.selector.needs, state.sources
        features = Features(
            tokens=view.norm(sources.lift(tokens)).detach() if needs.tokens else None,
            attention=[] if needs.blocks is None else [sources.lifted(view.attention())],
            num_prefix_tokens=prefix,
            grid=view.grid,
            has_class_token=view.has_class_token,
        )
        scores: Tensor = self.selector(features)
        if scores.ndim == 3:
            scores = scores.mean(dim=1)
        return sources.gather_scores(scores, tokens.shape[1], divided=needs.blocks is not None)

    def drop(self, state: State, index: Tensor) -> Tensor:
        """Keep some patches of the present sequence: sources, rotary positions and the bias of keys follow.

        Args:
            state: The state, whose tokens stay as they are.
            index: Patches (B, K) that are kept, in their new order.

        Returns:
            The places (B, P + K) of the tokens that are kept.

        """
        assert state.sources is not None
        places = with_prefix(index, state.sources.num_prefix)
        state.sources = state.sources.kept(places, state.tokens.shape[1])
        if state.rope is not None:
            state.rope = take_rope(state.rope, index, mixed=self.mixes_rope)
        if state.key_bias is not None:
            state.key_bias = state.key_bias.gather(3, places[:, None, None])
        return places

    def _blocks(self, encoder: Encoder, at: Sequence[int] | int | None) -> tuple[int, ...]:
        if at is None:
            blocks = tuple(block for block in self.default_at if block <= encoder.depth)
        else:
            given = (at,) if isinstance(at, int) else tuple(at)
            blocks = tuple(sorted({whole_number(block, "reduction_at", 1, encoder.depth) for block in given}))
        if not blocks:
            raise FgbenchError(f"{type(self).__name__} reduces in no block of", encoder.name, "give reduction_at")
        return blocks

    def _selector(self, selector: str | Selector | None, impl: str) -> Selector | None:
        if selector is None:
            return None
        name = type(self).__name__
        if not self.scores_tokens:
            raise FgbenchError(f"{name} does not score tokens by a selector, got", selector, "leave it out")
        if isinstance(selector, Selector):
            made = copy.deepcopy(selector)
        elif isinstance(selector, str):
            if selector == "attention":
                return None
            made = make_selector(selector, impl, 1)
        else:
            raise FgbenchError("a selector is a name or an instance, got", selector, "such as 'gls'")
        made.impl = impl
        reads_one = made.needs.blocks is None or len(range(1)[made.needs.blocks]) == 1
        if made.score_shape not in SCORES or not reads_one:
            word = selector if isinstance(selector, str) else type(selector).__name__.lower()
            do = "choose one that reads a single block, such as column_mass, or tokens, such as gls"
            raise FgbenchError(f"{name} scores tokens by what one block has, and more is read by", word, do)
        return made


def reduction_breach(candidate: object) -> str | None:
    """Why an object is no reduction class, in words; None where it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Reduction)):
        return "it must be a class derived from fgbench.models.reductions.reduction.Reduction"
    hooks = ("before_block", "queries", "in_block", "after_block")
    if all(getattr(candidate, hook) is getattr(Reduction, hook) for hook in hooks):
        return f"it has none of the methods {', '.join(hooks)}"
    at, rate = candidate.default_at, candidate.default_keep_rate
    if not isinstance(at, tuple) or not all(isinstance(block, int) and block > 0 for block in at):
        return f"its attribute 'default_at' must be a tuple of blocks from 1, got {at!r}"
    if not isinstance(rate, float) or not 0 < rate <= 1:
        return f"its attribute 'default_keep_rate' must be a number up to 1, got {rate!r}"
    inspect.signature(candidate)  # raises where its options cannot be read
    return None
