"""``v A`` for every head, (vA)_j = Σ_i v_i · exp(scale · q_i·k_j − ℓ_i), and the choice of the back end.

| back end | how | where |
|---|---|---|
| ``triton`` | one pass in one kernel of our own; only the result is written | GPUs that triton compiles for |
| ``kernel`` | a fused attention kernel of torch with q and k swapped; its log-sum-exp is log(vA) | other GPUs |
| ``dense`` | the whole map at once | few tokens on a CPU |
| ``blocks`` | a few rows of the map at a time | everything else, and float64 |

Only ``dense`` builds an N×N map. It is chosen up to :data:`DENSE_TOKENS` tokens, for at most as many elements as one
block of rows has. All back ends sum in float32 or better, whatever the dtype of the queries, and differ by the rounding
of these sums and of ℓ: a CPU's attention kernel gives ℓ of halves to 1e-4. docs/cost.md derives the swap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fgbench_selectors.backends import blocks, fused, triton_support
from fgbench_selectors.backends.blocks import left_by_blocks, sum_rows
from fgbench_selectors.backends.precision import accurate, accurate_dtype, without_autocast
from fgbench_selectors.backends.recording import note

# Tokens up to which one block of all rows is faster than several on a CPU, measured (docs/cost.md, "Crossover").
DENSE_TOKENS = 512

Left = Callable[[Tensor, Tensor, Tensor | None, Tensor, float], Tensor]


def left(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float, backend: str | None = None) -> Tensor:
    """``v A`` for every head, without gradient.

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        lse: Log-sum-exp ℓ (B, H, N) of every query's logits; None has it computed where a back end needs it.
        v: Weights (B, H, N) of the rows, not negative.
        scale: Factor of q·k.
        backend: A name of :data:`BACKENDS`; the fastest one for the device, dtype and size by default.

    Returns:
        (B, H, N), float32 or better.

    """
    if torch.compiler.is_compiling() or q.is_meta:  # one operator, for a graph and for a count
        result: Tensor = torch.ops.fgbench.left(q, k, lse, v, scale)
        return result
    v = v.to(accurate_dtype(q.dtype))
    name = choose(q) if backend is None else backend
    note("left", name)
    with without_autocast(q.device):
        return BACKENDS[name](q, k, lse, v, scale)


def choose(q: Tensor) -> str:
    """The name of the back end for queries (B, H, N, d), by their device, dtype and size."""
    if q.is_cuda:
        if triton_support.usable(q, q.shape[-1]):
            return "triton"
        return "blocks" if q.dtype == torch.float64 else "kernel"
    small = q.shape[2] <= DENSE_TOKENS and q.shape[2] * math.prod(q.shape[:3]) <= blocks.STREAM_ELEMENTS
    return "dense" if small else "blocks"


def left_of_maps(probs: Tensor, v: Tensor) -> Tensor:
    """``v A`` for every head from ready maps, without gradient.

    Args:
        probs: Maps (B, H, N, N).
        v: Weights (B, H, N) of the rows.

    Returns:
        (B, H, N), float32 or better.

    """
    if torch.compiler.is_compiling() or probs.is_meta:
        result: Tensor = torch.ops.fgbench.left_of_maps(probs, v)
        return result
    v = v.to(accurate_dtype(probs.dtype))
    name = "triton" if triton_support.usable(probs, 1) else "blocks"
    note("left_of_maps", name)
    if name == "triton":
        with torch.cuda.device(probs.device):
            sums: Tensor = triton_support.kernels().left_of_maps(probs, v)
            return sums
    with without_autocast(probs.device):
        return sum_rows(v.flatten(0, 1).unsqueeze(1), map_blocks(probs)).view(v.shape)


def map_blocks(probs: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of ready maps (B, H, N, N): all at once, or in blocks where half precision is converted to float32."""
    flat = probs.detach().flatten(0, 1)
    if accurate(flat) is flat:
        yield slice(0, probs.shape[-1]), flat
        return
    shape = (probs.shape[0], probs.shape[1], probs.shape[2])
    for rows in blocks.row_slices(shape, probs.device):
        yield rows, accurate(flat[:, rows])


def logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """ℓ_i = logsumexp_j(scale · q_i·k_j) for q, k (B, H, N, d): (B, H, N), float32 or better, without gradient."""
    if torch.compiler.is_compiling() or q.is_meta:
        result: Tensor = torch.ops.fgbench.logsumexp(q, k, scale)
        return result
    with without_autocast(q.device):
        return fused.logsumexp(q, k, scale)


def _by_triton(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    lse = fused.logsumexp(q, k, scale) if lse is None else lse
    with torch.cuda.device(q.device) if q.is_cuda else nullcontext():
        result: Tensor = triton_support.kernels().left(q, k, lse, v, scale)
        return result


def _by_kernel(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    """log(vA)_j = logsumexp_i(scale · k_j·q_i + b_i), b = log v − ℓ: attention of the keys to the queries.

    The bias goes into extra head dimensions, where the keys hold ones, so that no kernel has to support a mask. In half
    precision it is split into three terms that add up to float32's digits.
    """
    lse = fused.logsumexp(q, k, scale) if lse is None else lse
    bias = (v.clamp_min(torch.finfo(v.dtype).tiny).log() - lse) / scale
    terms = []
    for _ in range(1 if q.dtype == v.dtype else 3):
        terms.append(bias.to(q.dtype))
        bias = bias - terms[-1].to(bias.dtype)
    extra = torch.stack(terms, dim=-1)
    padding = -(q.shape[-1] + len(terms)) % fused.ALIGNMENT
    queries = torch.nn.functional.pad(torch.cat([q, extra], dim=-1), (0, padding))
    keys = torch.nn.functional.pad(torch.cat([k, torch.ones_like(extra)], dim=-1), (0, padding))
    return fused.kernel_logsumexp(keys, queries, scale).exp().to(v.dtype)


def _by_blocks(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return left_by_blocks(q, k, lse, v, scale)


def _densely(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return left_by_blocks(q, k, lse, v, scale, dense=True)


BACKENDS: dict[str, Left] = {"triton": _by_triton, "kernel": _by_kernel, "dense": _densely, "blocks": _by_blocks}


# In a graph and on the meta device each of these functions is one operator: no loop is unrolled, and a count does not
# depend on the size of blocks.
@torch.library.custom_op(
    "fgbench::left", mutates_args=(), schema="(Tensor q, Tensor k, Tensor? lse, Tensor v, float scale) -> Tensor"
)
def _left_operator(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return left(q, k, lse, v, scale).contiguous()


@torch.library.custom_op("fgbench::left_of_maps", mutates_args=(), schema="(Tensor probs, Tensor v) -> Tensor")
def _left_of_maps_operator(probs: Tensor, v: Tensor) -> Tensor:
    return left_of_maps(probs, v).contiguous()


@torch.library.custom_op("fgbench::logsumexp", mutates_args=(), schema="(Tensor q, Tensor k, float scale) -> Tensor")
def _logsumexp_operator(q: Tensor, k: Tensor, scale: float) -> Tensor:
    return logsumexp(q, k, scale).contiguous()


@_left_operator.register_fake
def _(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return v.new_empty(v.shape, dtype=accurate_dtype(q.dtype))


@_left_of_maps_operator.register_fake
def _(probs: Tensor, v: Tensor) -> Tensor:
    return v.new_empty(v.shape, dtype=accurate_dtype(probs.dtype))


@_logsumexp_operator.register_fake
def _(q: Tensor, k: Tensor, scale: float) -> Tensor:
    return q.new_empty(q.shape[:3], dtype=accurate_dtype(q.dtype))


# Formulas for torch's own counter of FLOPs, 2 per multiply–add. It meets these operators in graphs and on the meta
# device; in eager mode it counts the products of single blocks.
@register_flop_formula(torch.ops.fgbench.left)
def _left_flops(q: torch.Size, k: torch.Size, lse: Any, v: Any, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * (q[3] + 1)


@register_flop_formula(torch.ops.fgbench.logsumexp)
def _logsumexp_flops(q: torch.Size, k: torch.Size, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * q[3]


@register_flop_formula(torch.ops.fgbench.left_of_maps)
def _left_of_maps_flops(probs: torch.Size, v: torch.Size, **rest: Any) -> int:
    return 2 * math.prod(probs)
