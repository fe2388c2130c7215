"""Attention as selectors ask for it: the dense map, one row, one column, v·A, a product over heads.

``QK`` holds queries and keys and never builds an N×N map unless ``probs_map`` or ``logits_map`` is called:
everything else streams over blocks of rows, a quarter of the map at most, in O(N) memory as N grows and in
float32 or better. ``Maps`` answers the same questions from maps that exist already.

Gradient reaches q and k through the maps, ``row`` and ``column_softmax``. What streams reads them without
gradient: ``left`` and ``left_mean`` pass it on to v alone, ``head_product`` to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError

# Elements of one streamed block, B·H·rows·N. 2²² float32 (16 MiB) stay near the caches of a
# CPU and are enough to fill a GPU; the memory of a stream is a small multiple of it.
STREAM_ELEMENTS = 2**22
MIN_STREAM_ROWS = 32
MIN_STREAM_BLOCKS = 4  # however small the map is: one block of all rows would be the map


def _accurate(x: Tensor) -> Tensor:
    """Half precision is widened to float32; everything else stays as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _Attention:
    """The questions that are answered from blocks of rows, whoever provides them."""

    shape: tuple[int, int, int]  # B, H, N

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Consecutive rows of A: (slice of rows, (B·H, rows, N)), float32 or better, without gradient.

        A block is valid until the next one is asked for; with ``keep`` for good, at O(N²) memory if all are kept.
        """
        raise NotImplementedError

    def left(self, v: Tensor) -> Tensor:
        """``v A`` for every head: (B, H, N) → (B, H, N), streamed.

        Where v wants its gradient, autograd keeps every block for the way back: O(N²) memory.
        """
        row = v.flatten(0, 1).unsqueeze(1)
        out: Tensor | None = None
        for rows, probs in self.row_blocks(keep=torch.is_grad_enabled() and v.requires_grad):
            out = row[..., rows].bmm(probs) if out is None else out.baddbmm(row[..., rows], probs)
        assert out is not None
        return out.view(v.shape)

    def left_mean(self, v: Tensor) -> Tensor:
        """``v`` times the mean of A over heads: (B, N) → (B, N), streamed."""
        return self.left(v.unsqueeze(1).expand(-1, self.shape[1], -1)).mean(dim=1)

    def head_product(self) -> tuple[Tensor, Tensor]:
        """Of the product of all heads' maps: its mean (B,) and its row 0 (B, N), streamed, in float64.

        (1/N)^H, the product of uniform maps, leaves float32's normal range at H = 12 and N > 1,400.
        """
        batch, heads, tokens = self.shape
        sums: list[Tensor] = []
        first: Tensor | None = None
        for _, probs in self.row_blocks():
            product = probs.view(batch, heads, probs.shape[1], tokens).prod(dim=1, dtype=torch.float64)
            first = product[:, 0].clone() if first is None else first
            sums.append(product.sum(dim=(1, 2)))
        assert first is not None
        return torch.stack(sums).sum(dim=0) / tokens**2, first

    def _row_slices(self) -> Iterator[slice]:
        batch, heads, tokens = self.shape
        rows = max(MIN_STREAM_ROWS, STREAM_ELEMENTS // max(1, batch * heads * tokens))
        rows = min(rows, math.ceil(tokens / MIN_STREAM_BLOCKS))
        for start in range(0, tokens, rows):
            yield slice(start, min(start + rows, tokens))


@dataclass(frozen=True, eq=False)
class QK(_Attention):
    """Queries and keys of one block: q, k (B, H, N, d); A = softmax(scale · q kᵀ), scale 1/√d by default."""

    q: Tensor
    k: Tensor
    scale: float = None  # type: ignore[assignment]  # 1/√d is filled in

    def __post_init__(self) -> None:
        """Check that queries and keys fit each other; fill in the scale."""
        q, k = self.q, self.k
        if q.ndim != 4 or q.shape != k.shape or 0 in q.shape[1:]:
            raise FeaturesError(
                "queries and keys must both be (B, H, N, d), got shapes", (tuple(q.shape), tuple(k.shape))
            )
        if q.dtype != k.dtype or not q.is_floating_point():
            raise FeaturesError("queries and keys must share a floating-point dtype, got", (str(q.dtype), str(k.dtype)))
        if q.device != k.device:
            raise FeaturesError("queries and keys must share a device, got", (str(q.device), str(k.device)))
        if self.scale is None:
            object.__setattr__(self, "scale", self.q.shape[-1] ** -0.5)

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """B, H, N."""
        batch, heads, tokens, _ = self.q.shape
        return batch, heads, tokens

    @property
    def device(self) -> torch.device:
        """Where the queries and keys live."""
        return self.q.device

    def map(self, change: Callable[[Tensor], Tensor]) -> QK:
        """The same, with every tensor changed: ``qk.map(lambda x: x.cuda())``."""
        return QK(change(self.q), change(self.k), self.scale)

    def logits_map(self) -> Tensor:
        """Dense M = scale · q kᵀ: (B, H, N, N), in the dtype of the queries. O(N²) memory."""
        return self.q @ self.k.transpose(-2, -1) * self.scale

    def probs_map(self) -> Tensor:
        """Dense A = softmax over keys of M: (B, H, N, N), in the dtype of the queries. O(N²) memory."""
        return self.logits_map().softmax(dim=-1)

    def row(self, index: int) -> Tensor:
        """A[index, :], the attention of one query: (B, H, N), in O(N·d)."""
        query = _accurate(self.q[:, :, index : index + 1]) * self.scale
        return (query @ _accurate(self.k).transpose(-2, -1)).softmax(dim=-1).squeeze(-2)

    def column_softmax(self, index: int) -> Tensor:
        """Softmax over *queries* of M[:, index]: (B, H, N), in O(N·d)."""
        key = _accurate(self.k[:, :, index : index + 1]) * self.scale
        return (_accurate(self.q) @ key.transpose(-2, -1)).squeeze(-1).softmax(dim=-1)

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Rows of A, a block at a time, in two buffers that the next block overwrites unless they are kept."""
        q = (_accurate(self.q.detach()) * self.scale).flatten(0, 1)
        kt = _accurate(self.k.detach()).flatten(0, 1).transpose(-2, -1)
        buffers: list[Tensor] = []
        for rows in self._row_slices():
            some = q[:, rows]
            shape = (*some.shape[:2], kt.shape[-1])
            if keep or not buffers:  # the first block is the largest one
                buffers = [q.new_empty(math.prod(shape)) for _ in range(2)]
            logits, probs = (buffer[: math.prod(shape)].view(shape) for buffer in buffers)
            torch.bmm(some, kt, out=logits)
            yield rows, torch.softmax(logits, dim=-1, out=probs)


@dataclass(frozen=True, eq=False)
class Maps(_Attention):
    """Ready maps of one block: probs (B, H, N, N) softmaxed over keys; logits where they were kept."""

    probs: Tensor
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        for name, value in (("probs", self.probs), ("logits", self.logits)):
            if value is None:
                continue
            if value.ndim != 4 or value.shape[-1] != value.shape[-2] or value.shape != self.probs.shape:
                raise FeaturesError(f"{name} must be (B, H, N, N), got shape", tuple(value.shape))

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """B, H, N."""
        batch, heads, tokens, _ = self.probs.shape
        return batch, heads, tokens

    @property
    def device(self) -> torch.device:
        """Where the maps live."""
        return self.probs.device

    def map(self, change: Callable[[Tensor], Tensor]) -> Maps:
        """The same, with every tensor changed."""
        return Maps(change(self.probs), None if self.logits is None else change(self.logits))

    def logits_map(self) -> Tensor:
        """M as it was kept: (B, H, N, N)."""
        if self.logits is None:
            raise FeaturesError("logits are needed and the maps hold none", do="pass Maps(probs, logits) or QK(q, k)")
        return self.logits

    def probs_map(self) -> Tensor:
        """A as it was kept: (B, H, N, N)."""
        return self.probs

    def row(self, index: int) -> Tensor:
        """A[index, :]: (B, H, N), a copy that leaves the maps alone."""
        return _accurate(self.probs[:, :, index]).clone()

    def column_softmax(self, index: int) -> Tensor:
        """Softmax over queries of M[:, index]: (B, H, N)."""
        return _accurate(self.logits_map()[..., index]).softmax(dim=-1)

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Rows of A: all at once, or in blocks where half precision has to be widened."""
        probs = self.probs.detach().flatten(0, 1)
        if probs.dtype not in (torch.float16, torch.bfloat16):
            yield slice(0, self.shape[2]), probs
            return
        for rows in self._row_slices():
            yield rows, _accurate(probs[:, rows])
