"""The map of one block a few rows at a time: what every device can do, in O(N) memory as N grows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fgbench_selectors.backends.precision import accurate

# Elements of one streamed block, B·H·rows·N: 2²² float32 (16 MiB) are enough to fill a GPU. The memory of a stream is a
# small multiple of it.
STREAM_ELEMENTS = 2**22
THREAD_ELEMENTS = 2**18  # of one head's rows on a CPU: 1 MiB stays in a core's own cache from product to sum
MIN_STREAM_ROWS = 32
MIN_STREAM_BLOCKS = 4  # of a map that is not dense: a quarter of it at most is there at a time

Shape = tuple[int, int, int]  # B, H, N


def row_slices(shape: Shape, device: torch.device) -> Iterator[slice]:
    """Consecutive rows of (B, H, N, N) maps, as many at a time as one streamed block holds."""
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
    """Rows of scale · q kᵀ, minus their log-sum-exp (B, H, N) where it is given: (rows, (B·H, rows, N)).

    float32 or better, without gradient. A block is valid until the next one is asked for, and may be written to;
    with ``keep`` for good. ``dense`` takes all rows at once.
    """
    shape = (q.shape[0], q.shape[1], q.shape[2])
    q = (accurate(q.detach()) * scale).contiguous().flatten(0, 1)
    kt = accurate(k.detach()).contiguous().flatten(0, 1).transpose(-2, -1)
    shift = None if lse is None else lse.detach().to(q.dtype).flatten(0, 1).unsqueeze(-1)
    buffer: Tensor | None = None
    for rows in [slice(0, shape[2])] if dense else row_slices(shape, q.device):
        some = q[:, rows]
        size = (*some.shape[:2], kt.shape[-1])
        if keep or buffer is None:  # the first block is the largest one
            buffer = q.new_empty(math.prod(size))
        block = buffer[: math.prod(size)].view(size)
        if shift is None:
            torch.bmm(some, kt, out=block)
        else:  # beta −1 subtracts in the product's own last step
            torch.baddbmm(shift[:, rows], some, kt, beta=-1, out=block)
        yield rows, block


def prob_blocks(
    q: Tensor, k: Tensor, scale: float, lse: Tensor | None = None, *, keep: bool = False, dense: bool = False
) -> Iterator[tuple[slice, Tensor]]:
    """Rows of softmax(scale · q kᵀ), on the same terms as :func:`logit_blocks`."""
    for rows, block in logit_blocks(q, k, scale, lse, keep=keep, dense=dense):
        yield rows, torch.softmax(block, dim=-1, out=block) if lse is None else block.exp_()


def logsumexp_by_blocks(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Log-sum-exp over keys of scale · q kᵀ: (B, H, N)."""
    parts = [block.logsumexp(dim=-1) for _, block in logit_blocks(q, k, scale)]
    return torch.cat(parts, dim=-1).view(q.shape[:3])


def left_by_blocks(q: Tensor, k: Tensor, lse: Tensor | None, v: Tensor, scale: float, *, dense: bool = False) -> Tensor:
    """``v A`` for every head: (B, H, N) → (B, H, N). On a CPU, a thread has a head or some small ones."""
    row = v.flatten(0, 1).unsqueeze(1)
    if dense or q.device.type != "cpu":
        return sum_rows(row, prob_blocks(q, k, scale, lse, dense=dense)).view(v.shape)
    flat = [None if x is None else x.flatten(0, 1).unsqueeze(0) for x in (q, k, lse)]
    at_a_time = torch.get_num_threads() * max(1, THREAD_ELEMENTS // q.shape[2] ** 2)
    summed = []
    for first in range(0, row.shape[0], at_a_time):
        heads = slice(first, first + at_a_time)
        some_q, some_k, some_lse = (None if x is None else x[:, heads] for x in flat)
        assert some_q is not None
        assert some_k is not None
        summed.append(sum_rows(row[heads], prob_blocks(some_q, some_k, scale, some_lse)))
    return torch.cat(summed).view(v.shape) if summed else v.new_empty(v.shape)


def sum_rows(row: Tensor, blocks: Iterator[tuple[slice, Tensor]]) -> Tensor:
    """``row`` (B·H, 1, N) times the map that blocks of rows make up: (B·H, 1, N)."""
    out: Tensor | None = None
    for rows, probs in blocks:
        out = row[..., rows].bmm(probs) if out is None else out.baddbmm(row[..., rows], probs)
    assert out is not None
    return out
