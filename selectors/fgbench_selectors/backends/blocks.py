"""The attention map of one block, a few rows at a time: works on every device, in O(N) memory as N grows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fgbench_selectors.backends.precision import accurate

# Elements of one block of rows, B·H·rows·N: 2²² float32 (16 MiB) are enough to fill a GPU. Peak memory is a small
# multiple of it.
STREAM_ELEMENTS = 2**22
THREAD_ELEMENTS = 2**18  # elements of a head's block on a CPU: 1 MiB stays in a core's cache from product to sum
MIN_STREAM_ROWS = 32
MIN_STREAM_BLOCKS = 4  # blocks of a map that is not dense: at most a quarter of it exists at a time

Shape = tuple[int, int, int]  # B, H, N


def row_slices(shape: Shape, device: torch.device) -> Iterator[slice]:
    """Slices of consecutive rows of (B, H, N, N) maps, each as long as one block of rows may be.

    Args:
        shape: B, H, N.
        device: Where the maps are; on a CPU a block is smaller.

    Returns:
        An iterator of slices that cover rows 0 … N − 1.

    """
    batch, heads, tokens = shape
    elements = STREAM_ELEMENTS // max(1, batch * heads)
    elements = min(elements, THREAD_ELEMENTS) if device.type == "cpu" else elements
    rows = max(MIN_STREAM_ROWS, elements // tokens)
    rows = min(rows, math.ceil(tokens / MIN_STREAM_BLOCKS))
    for start in range(0, tokens, rows):
        yield slice(start, min(start + rows, tokens))


def logit_blocks(
    q: Tensor, k: Tensor, scale: float, lse: Tensor | None = None, *, keep: bool = False, dense: bool = False
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows of scale · q kᵀ, minus ℓ where it is given; float32 or better, without gradient.

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        scale: Factor of q·k.
        lse: Log-sum-exp ℓ (B, H, N), or None.
        keep: Give every block memory of its own. Otherwise the next block overwrites it.
        dense: Take all rows in one block.

    Returns:
        An iterator of (slice of rows, block (B·H, rows, N)). A block may be written to.

    """
    shape = (q.shape[0], q.shape[1], q.shape[2])
    q = (accurate(q.detach()) * scale).contiguous().flatten(0, 1)
    kt = accurate(k.detach()).contiguous().flatten(0, 1).transpose(-2, -1)
    shift = None if lse is None else lse.detach().to(q.dtype).flatten(0, 1).unsqueeze(-1)
    buffer: Tensor | None = None
    for rows in [slice(0, shape[2])] if dense else row_slices(shape, q.device):
        queries = q[:, rows]
        size = (*queries.shape[:2], kt.shape[-1])
        if keep or buffer is None:  # the first block is the largest one
            buffer = q.new_empty(math.prod(size))
        block = buffer[: math.prod(size)].view(size)
        if shift is None:
            torch.bmm(queries, kt, out=block)
        else:  # beta −1 subtracts in the product's own last step
            torch.baddbmm(shift[:, rows], queries, kt, beta=-1, out=block)
        yield rows, block


def prob_blocks(
    q: Tensor, k: Tensor, scale: float, lse: Tensor | None = None, *, keep: bool = False, dense: bool = False
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows of softmax(scale · q kᵀ); arguments and results as of :func:`logit_blocks`."""
    for rows, block in logit_blocks(q, k, scale, lse, keep=keep, dense=dense):
        yield rows, torch.softmax(block, dim=-1, out=block) if lse is None else block.exp_()


def logsumexp_by_blocks(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Log-sum-exp ℓ (B, H, N) over keys of scale · q kᵀ, for q, k (B, H, N, d)."""
    sums = [block.logsumexp(dim=-1) for _, block in logit_blocks(q, k, scale)]
    return torch.cat(sums, dim=-1).view(q.shape[:3])


def left_by_blocks(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float, *, dense: bool = False) -> Tensor:
    """``v A`` for every head. On a CPU, every thread computes one head, or several small ones.

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        lse: Log-sum-exp ℓ (B, H, N), or None.
        v: Weights (B, H, N) of the rows.
        scale: Factor of q·k.
        dense: Build the whole map at once.

    Returns:
        (B, H, N).

    """
    row = v.flatten(0, 1).unsqueeze(1)
    if dense or q.device.type != "cpu":
        return sum_rows(row, prob_blocks(q, k, scale, lse, dense=dense)).view(v.shape)
    flat = [None if x is None else x.flatten(0, 1).unsqueeze(0) for x in (q, k, lse)]
    at_a_time = torch.get_num_threads() * max(1, THREAD_ELEMENTS // q.shape[2] ** 2)
    sums = []
    for first in range(0, row.shape[0], at_a_time):
        heads = slice(first, first + at_a_time)
        q_heads, k_heads, lse_heads = (None if x is None else x[:, heads] for x in flat)
        assert q_heads is not None
        assert k_heads is not None
        sums.append(sum_rows(row[heads], prob_blocks(q_heads, k_heads, scale, lse_heads)))
    return torch.cat(sums).view(v.shape) if sums else v.new_empty(v.shape)


def sum_rows(row: Tensor, blocks: Iterator[tuple[slice, Tensor]]) -> Tensor:
    """``row`` (B·H, 1, N) times a map that is given in blocks of rows (B·H, rows, N): (B·H, 1, N)."""
    out: Tensor | None = None
    for rows, probs in blocks:
        out = row[..., rows].bmm(probs) if out is None else out.baddbmm(row[..., rows], probs)
    assert out is not None
    return out
