"""Operators that torch's ONNX exporter does not know, in those of ONNX.

A stable sort is a TopK of all elements: among equal ones ONNX has the lower index first, as a stable sort has. ``v A``
and a log-sum-exp that no attention has are computed from blocks of rows, a part of an N×N map at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

import fgbench_selectors.backends.left  # noqa: F401  # registers the operators
from fgbench_selectors.backends.blocks import MIN_STREAM_BLOCKS, THREAD_ELEMENTS
from fgbench_selectors.backends.left import DENSE_TOKENS

OPSET = 20
MOST_BLOCKS = 16  # each is a few nodes of the graph: one sixteenth of a map is small enough


def translations() -> dict[Any, Callable[..., Any]]:
    """The table for ``torch.onnx.export(custom_translation_table=…)``: operator of torch → function of onnxscript."""
    from onnxscript import opset20 as op

    def one(value: float, like: Any) -> Any:
        constant: Any = op.Constant(value_float=value)
        return op.CastLike(constant, like)

    def integers(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    def rows(x: Any, begin: int, end: int) -> Any:
        """Rows ``begin`` to ``end`` of x (B, H, N, …)."""
        return x if (begin, end) == (0, x.shape[2]) else op.Slice(x, integers(begin), integers(end), integers(2))

    def scaled(k: Any, scale: float) -> Any:
        """Keys (B, H, N, d) → scale · kᵀ (B, H, d, N)."""
        return op.Transpose(op.Mul(k, one(scale, k)), perm=[0, 1, 3, 2])

    def sort(self: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        largest = 1 if descending else 0
        return op.TopK(self, integers(self.shape[dim]), axis=dim, largest=largest, sorted=1)

    def attention(
        q: Any,
        k: Any,
        v: Any,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        attn_mask: Any = None,
        scale: float | None = None,
    ) -> Any:
        """The output and ℓ of torch's kernel for CPUs."""
        if is_causal or attn_mask is not None:
            raise NotImplementedError("attention with a mask and its log-sum-exp")
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        logits = op.MatMul(q, scaled(k, scale))
        return op.MatMul(op.Softmax(logits, axis=-1), v), op.ReduceLogSumExp(logits, integers(-1), keepdims=0)

    def left(q: Any, k: Any, lse: Any, v: Any, scale: float) -> Any:
        keys: Any = scaled(k, scale)
        total: Any = None
        for begin, end in row_blocks(q.shape[2]):
            logits = op.MatMul(rows(q, begin, end), keys)
            if lse is None:
                probs = op.Softmax(logits, axis=-1)
            else:
                probs = op.Exp(op.Sub(logits, op.Unsqueeze(rows(lse, begin, end), integers(-1))))
            part = op.MatMul(op.Unsqueeze(rows(v, begin, end), integers(2)), probs)
            total = part if total is None else op.Add(total, part)
        return op.Squeeze(total, integers(2))

    def left_of_maps(probs: Any, v: Any) -> Any:
        return op.Squeeze(op.MatMul(op.Unsqueeze(v, integers(2)), probs), integers(2))

    def logsumexp(q: Any, k: Any, scale: float) -> Any:
        keys = scaled(k, scale)
        blocks = [op.MatMul(rows(q, *block), keys) for block in row_blocks(q.shape[2])]
        return op.Concat(*(op.ReduceLogSumExp(block, integers(-1), keepdims=0) for block in blocks), axis=2)

    ours, aten = torch.ops.fgbench, torch.ops.aten
    return {
        aten.sort.stable: sort,
        aten._scaled_dot_product_flash_attention_for_cpu.default: attention,
        ours.left.default: left,
        ours.left_of_maps.default: left_of_maps,
        ours.logsumexp.default: logsumexp,
    }


def row_blocks(tokens: int) -> list[tuple[int, int]]:
    """First and last rows of the blocks of a map of N tokens, as on a CPU: all at once where there are few."""
    if tokens <= DENSE_TOKENS:
        return [(0, tokens)]
    count = min(MOST_BLOCKS, max(MIN_STREAM_BLOCKS, math.ceil(tokens**2 / THREAD_ELEMENTS)))
    step = math.ceil(tokens / count)
    return [(begin, min(begin + step, tokens)) for begin in range(0, tokens, step)]
