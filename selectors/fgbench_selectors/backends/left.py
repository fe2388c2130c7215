"""``v A`` for every head, (vA)_j = Σ_i v_i · exp(scale · q_i·k_j − ℓ_i): who computes it, and how that is chosen.

| back end | how | where |
|---|---|---|
| ``triton`` | one pass in one kernel of ours, nothing written but the result | GPUs that triton compiles for |
| ``kernel`` | a fused attention kernel of torch's with q and k swapped; its log-sum-exp is log(vA) | other GPUs |
| ``dense`` | the whole map at once | few tokens on a CPU |
| ``blocks`` | a few rows of the map at a time | everything else, and float64 |

No back end builds an N×N map but ``dense``, which is chosen up to :data:`DENSE_TOKENS`, for no more elements than one
streamed block has. All sum in float32 or better, whatever the queries are, and differ by its rounding and that of ℓ:
a CPU's attention kernel gives ℓ of halves to 1e-4. docs/cost.md derives the swap.
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
    """``v A`` for every head: q, k (B, H, N, d), ℓ (B, H, N) or None, v ≥ 0 (B, H, N) → (B, H, N), without gradient.

    ``backend`` is a name of :data:`BACKENDS`; the fastest one for the device, dtype and size by default.
    """
    if torch.compiler.is_compiling() or q.is_meta:  # one operator, for a graph and for a count
        found: Tensor = torch.ops.fgbench.left(q, k, lse, v, scale)
        return found
    v = v.to(accurate_dtype(q.dtype))
    name = choose(q) if backend is None else backend
    note("left", name)
    with without_autocast(q.device):
        return BACKENDS[name](q, k, lse, v, scale)


def choose(q: Tensor) -> str:
    """The back end for queries (B, H, N, d), by their device, dtype and size."""
    if q.is_cuda:
        if triton_support.usable(q, q.shape[-1]):
            return "triton"
        return "blocks" if q.dtype == torch.float64 else "kernel"
    small = q.shape[2] <= DENSE_TOKENS and q.shape[2] * math.prod(q.shape[:3]) <= blocks.STREAM_ELEMENTS
    return "dense" if small else "blocks"


def left_of_maps(probs: Tensor, v: Tensor) -> Tensor:
    """``v A`` for every head from ready maps (B, H, N, N), v (B, H, N) → (B, H, N), without gradient."""
    if torch.compiler.is_compiling() or probs.is_meta:
        found: Tensor = torch.ops.fgbench.left_of_maps(probs, v)
        return found
    v = v.to(accurate_dtype(probs.dtype))
    name = "triton" if triton_support.usable(probs, 1) else "blocks"
    note("left_of_maps", name)
    if name == "triton":
        with torch.cuda.device(probs.device):
            summed: Tensor = triton_support.kernels().left_of_maps(probs, v)
            return summed
    with without_autocast(probs.device):
        return sum_rows(v.flatten(0, 1).unsqueeze(1), map_blocks(probs)).view(v.shape)


def map_blocks(probs: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of ready maps: all at once, or in blocks where half precision has to be widened."""
    flat = probs.detach().flatten(0, 1)
    if accurate(flat) is flat:
        yield slice(0, probs.shape[-1]), flat
        return
    shape = (probs.shape[0], probs.shape[1], probs.shape[2])
    for rows in blocks.row_slices(shape, probs.device):
        yield rows, accurate(flat[:, rows])


def logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """ℓ_i = logsumexp_j(scale · q_i·k_j): (B, H, N), float32 or better, without gradient."""
    if torch.compiler.is_compiling() or q.is_meta:
        found: Tensor = torch.ops.fgbench.logsumexp(q, k, scale)
        return found
    with without_autocast(q.device):
        return fused.logsumexp(q, k, scale)


def _by_triton(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    lse = fused.logsumexp(q, k, scale) if lse is None else lse
    with torch.cuda.device(q.device) if q.is_cuda else nullcontext():
        found: Tensor = triton_support.kernels().left(q, k, lse, v, scale)
        return found


def _by_kernel(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    """log(vA)_j = logsumexp_i(scale · k_j·q_i + b_i), b = log v − ℓ: attention of the keys to the queries.

    The bias goes into extra head dimensions, where the keys hold ones: no kernel's handling of masks is needed. In half
    precision it is split into three parts that add up to float32's digits.
    """
    lse = fused.logsumexp(q, k, scale) if lse is None else lse
    bias = (v.clamp_min(torch.finfo(v.dtype).tiny).log() - lse) / scale
    parts = []
    for _ in range(1 if q.dtype == v.dtype else 3):
        parts.append(bias.to(q.dtype))
        bias = bias - parts[-1].to(bias.dtype)
    extra = torch.stack(parts, dim=-1)
    filled = -(q.shape[-1] + len(parts)) % fused.ALIGNMENT
    queries = torch.nn.functional.pad(torch.cat([q, extra], dim=-1), (0, filled))
    keys = torch.nn.functional.pad(torch.cat([k, torch.ones_like(extra)], dim=-1), (0, filled))
    return fused.kernel_logsumexp(keys, queries, scale).exp().to(v.dtype)


def _by_blocks(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return left_by_blocks(q, k, lse, v, scale)


def _densely(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float) -> Tensor:
    return left_by_blocks(q, k, lse, v, scale, dense=True)


BACKENDS: dict[str, Left] = {"triton": _by_triton, "kernel": _by_kernel, "dense": _densely, "blocks": _by_blocks}


# In a graph and on the meta device, where shapes are all there is, each question is one operator: nothing is unrolled,
# and a count does not depend on how large the blocks are.
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


# torch's own counter of FLOPs, 2 per multiply–add of products, knows operators by what is registered with it. It meets
# these in graphs and on the meta device; what blocks do in eager mode it sees as products of their own.
@register_flop_formula(torch.ops.fgbench.left)
def _left_flops(q: torch.Size, k: torch.Size, lse: Any, v: Any, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * (q[3] + 1)


@register_flop_formula(torch.ops.fgbench.logsumexp)
def _logsumexp_flops(q: torch.Size, k: torch.Size, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * q[3]


@register_flop_formula(torch.ops.fgbench.left_of_maps)
def _left_of_maps_flops(probs: torch.Size, v: torch.Size, **rest: Any) -> int:
    return 2 * math.prod(probs)
