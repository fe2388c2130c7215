"""Triton kernels for ``v A``: one pass over queries and keys, or over ready maps; only the result is written.

Every term v_i · exp(s_ij − ℓ_i) is at most v_i, because exp(s_ij − ℓ_i) is a probability. So the sum over queries needs
no running maximum, no logarithm of v, and no second product: half the work of attention itself.

This module imports triton: import it only where there is a GPU or triton's interpreter.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgbench_selectors.backends.precision import padded_head_dim

LOG2E = tl.constexpr(1.4426950408889634)
PROGRAMS = 1024  # number of programs that keeps a GPU busy while it reads maps
MIN_ROWS = 64  # rows of a map that one program reads, at least


@triton.jit
def _left_kernel(
    q, k, lse, v, out,
    q_batch, q_head, q_row, q_dim, k_batch, k_head, k_row, k_dim,
    lse_batch, lse_head, lse_row, v_batch, v_head, v_row,
    heads, tokens, scale,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_I: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """out[j] = Σ_i v_i · 2^((s_ij − ℓ_i) · log₂e): a program has some columns j of one head and loops over rows i."""
    image = (tl.program_id(0) // heads).to(tl.int64)
    head = (tl.program_id(0) % heads).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_J + tl.arange(0, BLOCK_J)
    dims = tl.arange(0, BLOCK_D)
    keys = tl.load(
        k + image * k_batch + head * k_head + columns[:, None].to(tl.int64) * k_row + dims[None, :] * k_dim,
        mask=(columns[:, None] < tokens) & (dims[None, :] < HEAD_DIM),
        other=0.0,
    )
    q += image * q_batch + head * q_head
    lse += image * lse_batch + head * lse_head
    v += image * v_batch + head * v_head
    total = tl.zeros((BLOCK_J, BLOCK_I), tl.float32)
    for start in range(0, tokens, BLOCK_I):
        rows = start + tl.arange(0, BLOCK_I)
        inside = rows < tokens
        queries = tl.load(
            q + rows[None, :].to(tl.int64) * q_row + dims[:, None] * q_dim,
            mask=inside[None, :] & (dims[:, None] < HEAD_DIM),
            other=0.0,
        )
        logits = tl.dot(keys, queries, input_precision=PRECISION)
        shift = tl.load(lse + rows * lse_row, mask=inside, other=0.0) * LOG2E
        weight = tl.load(v + rows * v_row, mask=inside, other=0.0)  # 0 for rows beyond the last
        total += tl.exp2(logits * (scale * LOG2E) - shift[None, :]) * weight[None, :]
    tl.store(out + tl.program_id(0).to(tl.int64) * tokens + columns, tl.sum(total, axis=1), mask=columns < tokens)


@triton.jit
def _maps_kernel(
    probs, v, out,
    probs_batch, probs_head, probs_row, probs_column, v_batch, v_head, v_row,
    heads, tokens, rows_per_program,
    BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """out[share, j] = Σ_i v_i · A_ij over a share of the rows: a program has some columns of one head."""
    image = (tl.program_id(0) // heads).to(tl.int64)
    head = (tl.program_id(0) % heads).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_J + tl.arange(0, BLOCK_J)
    has_column = columns < tokens
    probs += image * probs_batch + head * probs_head + columns[None, :] * probs_column
    v += image * v_batch + head * v_head
    first = tl.program_id(2) * rows_per_program
    last = tl.minimum(first + rows_per_program, tokens)
    total = tl.zeros((BLOCK_I, BLOCK_J), tl.float32)
    for start in range(first, last, BLOCK_I):
        rows = start + tl.arange(0, BLOCK_I)
        inside = rows < last
        weight = tl.load(v + rows * v_row, mask=inside, other=0.0)
        block = tl.load(
            probs + rows[:, None].to(tl.int64) * probs_row, mask=inside[:, None] & has_column[None, :], other=0.0
        )
        total += block.to(tl.float32) * weight[:, None]
    offset = (tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)).to(tl.int64) * tokens
    tl.store(out + offset + columns, tl.sum(total, axis=0), mask=has_column)


def left(q: Tensor, k: Tensor, lse: Tensor, v: Tensor, scale: float) -> Tensor:
    """``v A`` for every head from queries, keys and ℓ.

    Products of float32 are as accurate as float32's own, whatever mode the backbone runs in: three TF32 products
    where the device has TF32.

    Args:
        q: Queries (B, H, N, d) in float32, float16 or bfloat16, any strides, d up to 256.
        k: Keys, like the queries.
        lse: Log-sum-exp ℓ (B, H, N) of every query's logits, float32.
        v: Weights (B, H, N) of the rows, float32.
        scale: Factor of q·k.

    Returns:
        (B, H, N) float32.

    """
    batch, heads, tokens, head_dim = q.shape
    out = torch.empty(batch, heads, tokens, dtype=torch.float32, device=q.device)
    _left_kernel[lambda sizes: (batch * heads, triton.cdiv(tokens, sizes["BLOCK_J"]))](
        q, k, lse, v, out,
        *q.stride(), *k.stride(), *lse.stride(), *v.stride(),
        heads, tokens, scale,
        HEAD_DIM=head_dim, **tiles(head_dim, q.dtype),
    )  # fmt: skip
    return out


def tiles(head_dim: int, dtype: torch.dtype) -> dict[str, Any]:
    """Block sizes of ``_left_kernel``: at most 100 kB of shared memory, which every GPU from sm_80 on has.

    Args:
        head_dim: Head dimensions d of queries and keys.
        dtype: Dtype of queries and keys.

    Returns:
        The kernel's constants and launch options by their names.

    """
    width = padded_head_dim(head_dim)
    if dtype == torch.float32:
        block_j, block_i, stages, warps = (64, 64, 2, 4) if width <= 64 else (64 if width <= 128 else 32, 32, 1, 4)
        precision = "ieee" if torch.version.hip else "tf32x3"
    else:
        block_j, block_i, stages, warps = (128, 64, 3, 8) if width <= 128 else (64, 32, 2, 4)
        precision = "ieee"
    sizes = {"BLOCK_D": width, "BLOCK_J": block_j, "BLOCK_I": block_i}
    return {**sizes, "PRECISION": precision, "num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}


def left_of_maps(probs: Tensor, v: Tensor) -> Tensor:
    """``v A`` for every head from ready maps. Every element is read once.

    Rows are divided among programs until there are enough programs; their sums are added afterwards, always in the
    same order.

    Args:
        probs: Maps (B, H, N, N) in any floating dtype but float64.
        v: Weights (B, H, N) of the rows, float32.

    Returns:
        (B, H, N) float32.

    """
    batch, heads, tokens, _ = probs.shape
    block_i, block_j = 16, 256
    columns = triton.cdiv(tokens, block_j) * batch * heads
    shares = max(1, min(triton.cdiv(tokens, MIN_ROWS), triton.cdiv(PROGRAMS, max(1, columns))))
    out = torch.empty(shares, batch, heads, tokens, dtype=torch.float32, device=probs.device)
    _maps_kernel[(batch * heads, triton.cdiv(tokens, block_j), shares)](
        probs, v, out,
        *probs.stride(), *v.stride(),
        heads, tokens, triton.cdiv(tokens, shares),
        BLOCK_I=block_i, BLOCK_J=block_j, num_warps=4, enable_fp_fusion=True,
    )  # fmt: skip
    return out[0] if shares == 1 else out.sum(dim=0)
