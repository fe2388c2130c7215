"""``v A`` for every head, (vA)_j = Σ_i v_i · exp(scale · q_i·k_j − ℓ_i): who computes it, and how that is chosen.

| back end | how | where |
|---|---|---|
| ``triton`` | one pass in one kernel of ours, nothing written but the result | GPUs that triton compiles for |
| ``kernel`` | a fused attention kernel of torch's with q and k swapped; its log-sum-exp is log(vA) | other GPUs |
| ``dense`` | the whole map at once, where it is small | small maps on a CPU |
| ``blocks`` | a few rows of the map at a time | everything else, and float64 |

No back end builds an N×N map, but ``dense``, which is never chosen above :data:`DENSE_ELEMENTS`. All sum in float32
or better, whatever the queries are, and give the same result within rounding. docs/cost.md derives the swap.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fgbench_selectors.backends import blocks, fused
from fgbench_selectors.backends.blocks import left_by_blocks, sum_rows
from fgbench_selectors.backends.precision import accurate, without_autocast
from fgbench_selectors.backends.recording import note

# Elements of B·H·N·N up to which one block of all rows is faster than several, measured (docs/cost.md, "Crossover").
DENSE_ELEMENTS = 2**20
TRITON_CAPABILITY = (8, 0)  # of CUDA devices: tensor cores that know bfloat16 and TF32
TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

Left = Callable[[Tensor, Tensor, Tensor | None, Tensor, float], Tensor]


def left(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float, backend: str | None = None) -> Tensor:
    """``v A`` for every head: q, k (B, H, N, d), ℓ (B, H, N) or None, v ≥ 0 (B, H, N) → (B, H, N), without gradient.

    ``backend`` is a name of :data:`BACKENDS`; the fastest one for the device, dtype and size by default.
    """
    if torch.compiler.is_compiling() or q.is_meta:  # one operator, for a graph and for a count
        found: Tensor = torch.ops.fgbench.left(q, k, lse, v, scale)
        return found
    name = choose(q) if backend is None else backend
    note("left", name)
    with without_autocast(q.device):
        return BACKENDS[name](q, k, lse, v, scale)


def choose(q: Tensor) -> str:
    """The back end for queries (B, H, N, d), by their device, dtype and size."""
    if q.is_cuda and q.numel() and q.dtype in TRITON_DTYPES:
        return "triton" if _triton_works(q.device, q.dtype) else "kernel"
    if not q.is_cuda and q.shape[2] * math.prod(q.shape[:3]) <= DENSE_ELEMENTS:
        return "dense"
    return "blocks"


def left_of_maps(probs: Tensor, v: Tensor) -> Tensor:
    """``v A`` for every head from ready maps (B, H, N, N), v (B, H, N) → (B, H, N), without gradient."""
    if torch.compiler.is_compiling() or probs.is_meta:
        found: Tensor = torch.ops.fgbench.left_of_maps(probs, v)
        return found
    on_gpu = probs.is_cuda and probs.numel() and probs.dtype in TRITON_DTYPES
    name = "triton" if on_gpu and _triton_works(probs.device, probs.dtype) else "blocks"
    note("left_of_maps", name)
    if name == "triton":
        with torch.cuda.device(probs.device):
            summed: Tensor = _triton().left_of_maps(probs, v)
            return summed
    with without_autocast(probs.device):
        return sum_rows(v.flatten(0, 1).unsqueeze(1), map_blocks(probs)).view(v.shape)


def map_blocks(probs: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of ready maps: all at once, or in blocks where half precision has to be widened."""
    flat = probs.detach().flatten(0, 1)
    if accurate(flat) is flat:
        yield slice(0, probs.shape[-1]), flat
        return
    for rows in blocks.row_slices((probs.shape[0], probs.shape[1], probs.shape[2])):
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
    precision = "ieee"  # of products of float32 in full; three products in TF32 are as good, and faster
    if q.dtype == torch.float32 and torch.version.hip is None:
        precision = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"
    with torch.cuda.device(q.device) if q.is_cuda else nullcontext():
        found: Tensor = _triton().left(q, k, lse, v, scale, precision)
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


def _triton() -> Any:
    from fgbench_selectors.backends import triton_kernels  # it needs triton, which is not everywhere

    return triton_kernels


@cache
def _triton_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether triton's kernels compile on a device and give what blocks give; said once where they do not."""
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < TRITON_CAPABILITY:
        return False
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 2, 70, 24, generator=generator).to(device, dtype) for _ in range(2))
    v = torch.rand(1, 2, 70, generator=generator).to(device)
    expected = left_by_blocks(q, k, None, v, 0.2)
    try:
        maps = torch.cat([block for _, block in blocks.prob_blocks(q, k, 0.2, keep=True)], dim=1)
        found = _by_triton(q, k, None, v, 0.2), _triton().left_of_maps(maps.view(1, 2, 70, 70), v)
        wrong = max(float((x - expected).abs().max() / expected.max()) for x in found)
        why = None if wrong < 1e-2 else f"its result is off by {wrong:.1g}"
    except Exception as error:  # whatever a compiler meets on a machine that nobody has tried
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if why:
        warnings.warn(f"triton cannot be used on {device} for {dtype} ({why}); torch's kernels are", stacklevel=2)
    return why is None


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
    return v.new_empty(v.shape)


@_left_of_maps_operator.register_fake
def _(probs: Tensor, v: Tensor) -> Tensor:
    return v.new_empty(v.shape)


@_logsumexp_operator.register_fake
def _(q: Tensor, k: Tensor, scale: float) -> Tensor:
    return q.new_empty(q.shape[:3], dtype=torch.float64 if q.dtype == torch.float64 else torch.float32)


# torch's own counter of FLOPs, 2 per multiply–add of products, knows operators by what is registered with it.
@register_flop_formula(torch.ops.fgbench.left)
def _left_flops(q: torch.Size, k: torch.Size, lse: Any, v: Any, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * (q[3] + 1)


@register_flop_formula(torch.ops.fgbench.logsumexp)
def _logsumexp_flops(q: torch.Size, k: torch.Size, scale: float, **rest: Any) -> int:
    return 2 * math.prod(q[:3]) * q[2] * q[3]


@register_flop_formula(torch.ops.fgbench.left_of_maps)
def _left_of_maps_flops(probs: torch.Size, v: torch.Size, **rest: Any) -> int:
    return 2 * math.prod(probs)
