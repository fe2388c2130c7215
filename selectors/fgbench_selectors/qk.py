"""Attention for selectors: the dense map, one row, one column, v·A, a product over heads.

``QK`` holds queries and keys. It builds an N×N map only in ``probs_map`` and ``logits_map``, or where there are few
tokens; everything else takes O(N) memory as N grows. Sums are in float32 or better, by the back end that suits the
device (:mod:`fgbench_selectors.backends.left`). ``Maps`` has the same methods for maps that exist already.

Gradient reaches q and k through the maps, ``row`` and ``column_softmax``. ``left`` and ``left_mean`` pass gradient to v
only, ``head_product`` to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fgbench_selectors.backends.blocks import prob_blocks, row_slices, sum_rows
from fgbench_selectors.backends.left import left, left_of_maps, logsumexp, map_blocks
from fgbench_selectors.backends.precision import accurate, accurate_dtype, without_autocast
from fgbench_selectors.errors import FeaturesError


def attention_row(query: Tensor, k: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """The attention of one query, softmax(scale · query kᵀ), without a map and with gradient, in O(N·d).

    Args:
        query: (B, H, 1, d).
        k: Keys (B, H, N, d).
        scale: Factor of the products.
        bias: Added to the products of every key (B, 1, 1, N); None for nothing.

    Returns:
        (B, H, N), float32 or better.

    """
    with without_autocast(k.device):
        logits = accurate(query) * scale @ accurate(k).transpose(-2, -1)
        return (logits if bias is None else logits + bias).softmax(dim=-1).squeeze(-2)


class BlockAttention:
    """Attention of one block: methods that its classes compute from blocks of rows."""

    shape: tuple[int, int, int]  # B, H, N

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of consecutive rows of A, float32 or better, without gradient.

        Args:
            keep: Give every block memory of its own; otherwise the next block overwrites it.

        Returns:
            An iterator of (slice of rows, block (B·H, rows, N)).

        """
        raise NotImplementedError

    def left(self, v: Tensor) -> Tensor:
        """``v A`` for every head.

        Args:
            v: Weights (B, H, N) of the rows, not negative. Where they require gradient, autograd keeps every block:
                O(N²) memory.

        Returns:
            (B, H, N), float32 or better.

        """
        if torch.is_grad_enabled() and v.requires_grad:
            with without_autocast(v.device):
                return sum_rows(v.flatten(0, 1).unsqueeze(1), self.row_blocks(keep=True)).view(v.shape)
        return self._left(v)

    def left_mean(self, v: Tensor) -> Tensor:
        """``v`` times the mean of A over heads: (B, N) → (B, N)."""
        return self.left(v.unsqueeze(1).expand(-1, self.shape[1], -1)).mean(dim=1)

    def head_product(self) -> tuple[Tensor, Tensor]:
        """Mean and row 0 of the product of all heads' maps, element by element.

        Returns:
            The mean (B,) and the row (B, N), in float64: (1/N)^H, the product of uniform maps, leaves float32's
            normal range at H = 12 and N > 1,400.

        """
        raise NotImplementedError

    def _left(self, v: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class QK(BlockAttention):
    """Queries and keys of one block: A = softmax(scale · q kᵀ).

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        scale: Factor of q·k; 1/√d by default.
        lse: ℓ (B, H, N), the log-sum-exp over keys of scale · q kᵀ for these queries and keys, where a fused attention
            kernel has returned it. It saves one pass over the pairs.

    Raises:
        FeaturesError: If shapes, dtypes or devices do not fit.

    """

    q: Tensor
    k: Tensor
    scale: float = None  # type: ignore[assignment]  # 1/√d is filled in
    lse: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that queries and keys fit each other; fill in ``scale``."""
        q, k = self.q, self.k
        if q.ndim != 4 or q.shape != k.shape or 0 in q.shape[1:]:
            raise FeaturesError(
                "queries and keys must both be (B, H, N, d), got shapes", (tuple(q.shape), tuple(k.shape))
            )
        if q.dtype != k.dtype or not q.is_floating_point():
            raise FeaturesError("queries and keys must share a floating-point dtype, got", (str(q.dtype), str(k.dtype)))
        if q.device != k.device:
            raise FeaturesError("queries and keys must share a device, got", (str(q.device), str(k.device)))
        if self.lse is not None:
            met = tuple(self.lse.shape), str(self.lse.dtype), str(self.lse.device)
            wanted = tuple(q.shape[:3]), str(accurate_dtype(q.dtype)), str(q.device)
            if met != wanted:
                raise FeaturesError(f"lse must be {wanted}, got", met)
        if self.scale is None:
            object.__setattr__(self, "scale", self.q.shape[-1] ** -0.5)

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """B, H, N."""
        batch, heads, tokens, _ = self.q.shape
        return batch, heads, tokens

    @property
    def device(self) -> torch.device:
        """Device of the queries and keys."""
        return self.q.device

    def map(self, change: Callable[[Tensor], Tensor]) -> QK:
        """A copy with ``change`` applied to every tensor: ``qk.map(lambda x: x.cuda())``. A new dtype drops ℓ."""
        q = change(self.q)
        lse = None if self.lse is None or q.dtype != self.q.dtype else change(self.lse)  # ℓ belongs to one dtype
        return QK(q, change(self.k), self.scale, lse)

    def logits_map(self) -> Tensor:
        """Dense M = scale · q kᵀ: (B, H, N, N), in the dtype of the queries. O(N²) memory."""
        return self.q @ self.k.transpose(-2, -1) * self.scale

    def probs_map(self) -> Tensor:
        """Dense A = softmax over keys of M: (B, H, N, N), in the dtype of the queries. O(N²) memory."""
        return self.logits_map().softmax(dim=-1)

    def row(self, index: int) -> Tensor:
        """A[index, :], the attention of one query: (B, H, N), in O(N·d)."""
        return attention_row(self.q[:, :, index : index + 1], self.k, self.scale)

    def column_softmax(self, index: int) -> Tensor:
        """Softmax over *queries* of M[:, index]: (B, H, N), in O(N·d)."""
        with without_autocast(self.device):
            key = accurate(self.k[:, :, index : index + 1]) * self.scale
            return (accurate(self.q) @ key.transpose(-2, -1)).squeeze(-1).softmax(dim=-1)

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of rows of A; without ``keep`` they share one buffer."""
        return prob_blocks(self.q, self.k, self.scale, self.lse, keep=keep)

    def logsumexp(self) -> Tensor:
        """ℓ_i = logsumexp_j(scale · q_i·k_j), given or computed: (B, H, N), without gradient."""
        return logsumexp(self.q, self.k, self.scale) if self.lse is None else self.lse.detach()

    def head_product(self) -> tuple[Tensor, Tensor]:
        """Compute mean and row of the product over heads as the attention of one head of width D = H·d: O(N) memory.

        Π_h exp(s_hij − ℓ_hi) = exp(scale · Q_i·K_j − Σ_h ℓ_hi), where Q and K are all heads' queries and keys side by
        side: one exponential per pair, and the sum over j is a log-sum-exp again.
        """
        q, k = (x.detach().transpose(1, 2).flatten(2).unsqueeze(1) for x in (self.q, self.k))
        wide_lse = logsumexp(q, k, self.scale).squeeze(1).double()
        tokens = self.shape[2]
        mean = (wide_lse - self.logsumexp().double().sum(dim=1)).exp().sum(dim=-1) / tokens**2
        first = self.q[:, :, :1].detach().double() * self.scale @ self.k.detach().double().transpose(-2, -1)
        return mean, first.log_softmax(dim=-1).squeeze(-2).sum(dim=1).exp()

    def _left(self, v: Tensor) -> Tensor:
        lse = None if self.lse is None else self.lse.detach()
        return left(self.q.detach(), self.k.detach(), lse, v.detach(), self.scale)


@dataclass(frozen=True, eq=False)
class Maps(BlockAttention):
    """Ready maps of one block.

    Args:
        probs: (B, H, N, N), softmaxed over keys.
        logits: The same before the softmax, or None.

    Raises:
        FeaturesError: If the shapes do not fit.

    """

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
        """Device of the maps."""
        return self.probs.device

    def map(self, change: Callable[[Tensor], Tensor]) -> Maps:
        """A copy with ``change`` applied to every tensor."""
        return Maps(change(self.probs), None if self.logits is None else change(self.logits))

    def logits_map(self) -> Tensor:
        """The logits M: (B, H, N, N).

        Raises:
            FeaturesError: If there are none.

        """
        if self.logits is None:
            raise FeaturesError("logits are needed and the maps hold none", do="pass Maps(probs, logits) or QK(q, k)")
        return self.logits

    def probs_map(self) -> Tensor:
        """The map A: (B, H, N, N)."""
        return self.probs

    def row(self, index: int) -> Tensor:
        """A copy of A[index, :]: (B, H, N)."""
        return accurate(self.probs[:, :, index]).clone()

    def column_softmax(self, index: int) -> Tensor:
        """Softmax over queries of M[:, index]: (B, H, N)."""
        return accurate(self.logits_map()[..., index]).softmax(dim=-1)

    def row_blocks(self, *, keep: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Rows of A: all at once, or in blocks where half precision is converted to float32."""
        return map_blocks(self.probs.detach())

    def head_product(self) -> tuple[Tensor, Tensor]:
        """Multiply the maps of all heads, a few rows at a time."""
        tokens = self.shape[2]
        sums: list[Tensor] = []
        first: Tensor | None = None
        probs = self.probs.detach()
        for rows in row_slices(self.shape, self.device):
            product = probs[:, :, rows].prod(dim=1, dtype=torch.float64)
            first = product[:, 0].clone() if first is None else first
            sums.append(product.sum(dim=(1, 2)))
        assert first is not None
        return torch.stack(sums).sum(dim=0) / tokens**2, first

    def _left(self, v: Tensor) -> Tensor:
        return left_of_maps(self.probs.detach(), v.detach())
