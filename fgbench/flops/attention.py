"""Cost of fused attention: that of its steps without fusion, on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from fgbench.flops.cost import Cost, Inputs, shape_of
from fgbench.flops.operators import REDUCTIONS

SOFTMAX = 5  # largest, subtract, exponential, sum, divide
DROPOUT = 2


def attention_cost(
    query: Any, key: Any, value: Any, *, mask: Any = None, causal: bool = False, dropout: float = 0.0
) -> Cost:
    """The cost of both products, the scaling of the queries, the softmax, the mask and dropout.

    Leading sizes are broadcast: scores have those of queries and keys, the result those of scores and values. Where
    keys and values have fewer heads (grouped queries), every head of the queries is counted.

    Args:
        query: (…, L, E).
        key: (…, S, E).
        value: (…, S, V).
        mask: Summand of the scores, (…, L, S) after broadcasting; True where its shape is not known.
        causal: Whether pairs with later keys are masked; they are computed all the same.
        dropout: The share of pairs that is dropped.

    """
    (*leading, length, width), sources = shape_of(query), shape_of(key)[-2]
    scores = _together(leading, shape_of(key)[:-2])
    if isinstance(mask, torch.Tensor):
        scores = _together(scores, shape_of(mask)[:-2])
    pairs = math.prod(scores) * length * sources
    products = math.prod(_together(leading, shape_of(key)[:-2])) * length * sources * width
    sums = math.prod(_together(scores, shape_of(value)[:-2])) * length * sources * shape_of(value)[-1]
    per_pair = SOFTMAX + (mask is not None or causal) + DROPOUT * (dropout > 0)
    return Cost(macs=products + sums, others=query.numel() + per_pair * pairs)


def _together(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Leading sizes of two tensors, broadcast; the last one is the number of heads, which keys may have fewer of."""
    heads = max(one[-1], other[-1]) if one and other and 0 not in (one[-1], other[-1]) else None
    if heads is None:
        return tuple(torch.broadcast_shapes(tuple(one), tuple(other)))
    return (*torch.broadcast_shapes(tuple(one[:-1]), tuple(other[:-1])), heads)


def dense_attention(mask: int | None, dropout: int, causal: int) -> Any:
    """The handler of an attention operator, by the positions of its arguments."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return attention_cost(
            *inputs[:3],
            mask=None if mask is None else inputs[mask],
            causal=bool(inputs[causal]),
            dropout=inputs[dropout],
        )

    return handler


def left(inputs: Inputs, outputs: Inputs) -> Cost:
    """``v A`` of selectors: scaled products, probabilities (an exponential where ℓ is given), weighted sums."""
    query, key, lse = inputs[:3]
    pairs = _pairs(query, key)
    return Cost(macs=pairs * (shape_of(query)[-1] + 1), others=query.numel() + (SOFTMAX if lse is None else 1) * pairs)


def logsumexp(inputs: Inputs, outputs: Inputs) -> Cost:
    """ℓ of selectors: scaled products and a log-sum-exp."""
    query, key = inputs[:2]
    pairs = _pairs(query, key)
    return Cost(macs=pairs * shape_of(query)[-1], others=query.numel() + REDUCTIONS["logsumexp"] * pairs)


def left_of_maps(inputs: Inputs, outputs: Inputs) -> Cost:
    """``v A`` from ready maps: one product per probability."""
    return Cost(macs=inputs[0].numel())


def _pairs(query: Any, key: Any) -> int:
    leading = torch.broadcast_shapes(shape_of(query)[:-2], shape_of(key)[:-2])
    return int(math.prod(leading) * shape_of(query)[-2] * shape_of(key)[-2])
