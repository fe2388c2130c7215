"""Run a block whose tokens are reduced before, inside or after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fgbench.models.attention import Projected, attend, attend_recorded, dense_map, merge_heads, project
from fgbench.models.blocks import add_attention, add_mlp
from fgbench.models.reductions.reduction import BlockView, Reduction
from fgbench.models.reductions.sources import Sources
from fgbench.models.token_ops import take
from fgbench_selectors.lifted import Lifted

if TYPE_CHECKING:
    from fgbench.models.encoder import Encoder, State

ALL = slice(None)


def run_reduced(
    encoder: Encoder,
    index: int,
    state: State,
    asking: slice = ALL,
    *,
    record: bool = False,
    maps: bool = False,
    logits: bool = False,
) -> tuple[Tensor, Lifted | None, Callable[[], Tensor]]:
    """Run one block, and reduce the tokens of a state.

    Args:
        encoder: The encoder with its reduction.
        index: Index of the block, from 0.
        state: The state before the block. Where all tokens are computed, it becomes that after the block, but for its
            tokens; otherwise it stays as it is.
        asking: The tokens that are computed; all by default. Others are the first tokens, which no reduction drops.
        record: Whether the block's attention is recorded.
        maps: Record the map in place of queries and keys.
        logits: Record the logits of maps, too.

    Returns:
        The tokens (B, M, D) after the block; its attention among the tokens of the image; and a function that returns
        A[0, :] (B, H, N) among these, with gradient.

    """
    reduction: Reduction = encoder.reduction  # type: ignore[assignment]
    every = asking == ALL
    if not every:
        state = replace(state, memo=dict(state.memo))
    if state.sources is None:
        state.sources = Sources.of_all(state.tokens, state.tokens.shape[1] - encoder.num_patches)
    reduction.step(reduction.before_block, index, state)
    sources: Sources = state.sources
    block: Any = encoder.vit.blocks[index]
    x = block.norm1(state.tokens)
    projected = project(block.attn, x, encoder.rope_at(state, index), asking=None if every else x[:, asking])
    wants_map = maps or (reduction.published and reduction.reads_map(index))
    probs, before = dense_map(block.attn, projected, state.key_bias) if wants_map else (None, None)
    view = BlockView(
        attn=block.attn,
        projected=projected,
        probs=probs,
        logits=before if logits else None,
        key_bias=state.key_bias,
        norm=encoder.norm,
        has_class_token=encoder.has_class_token,
        grid=encoder.grid,
    )
    chosen = reduction.step(reduction.queries, index, state, view) if every else None
    out, lse = _attended(block.attn, view, state, reduction, chosen, record=record)
    recorded = None
    if record:
        recorded = sources.lifted(view.attention(lse))
    tokens, asked = state.tokens[:, asking], x if every else x[:, asking]
    if chosen is not None:
        tokens, asked = take(tokens, chosen), take(asked, chosen)
    tokens = add_attention(block, tokens, merge_heads(block.attn, asked, out))
    if every:
        tokens = reduction.step(reduction.in_block, index, state, tokens, view)
    tokens = add_mlp(block, tokens)
    if every:
        state.tokens = tokens
        reduction.step(reduction.after_block, index, state)
        tokens = state.tokens
    return tokens, recorded, partial(_class_row, sources, view)


def _class_row(sources: Sources, view: BlockView) -> Tensor:
    return sources.lift_row(view.class_row())


def _attended(
    attn: Any, view: BlockView, state: State, reduction: Reduction, chosen: Tensor | None, *, record: bool
) -> tuple[Tensor, Tensor | None]:
    """The output (B, H, K, d) of attention for the chosen tokens, or all; and the log-sum-exp where it is recorded."""
    own = reduction.attend(attn, view.projected, state)
    if own is not None:
        return own, None
    q, k, v = view.projected
    if view.probs is not None:
        probs = view.probs
        if chosen is not None:
            rows = chosen[:, None, :, None].expand(-1, probs.shape[1], -1, probs.shape[3])
            probs = probs.gather(2, rows)
        out: Tensor = attn.attn_drop(probs) @ v
        return out, None
    if chosen is not None:
        q = q.gather(2, chosen[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
    asked = Projected(q, k, v)
    if record and chosen is None and view.key_bias is None:
        return attend_recorded(attn, asked)
    return attend(attn, asked, view.key_bias), None
