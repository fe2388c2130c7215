"""Soft parts of an image (MPSA): sampled from the tokens of a stage, attended to, and weighed by their importance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST_SCALE = 0.1  # of the importance that is added to what a token gets from the parts

# The places of the parts that are used: a range that is a view, or indices (R',) in any order.
Kept = slice | Tensor


class PartSampling(nn.Module):
    """Parts are weighted means of tokens; every token says itself how much of it belongs to each part.

    P = GELU(x W + b) + position; its softmax over the tokens has the weights.
    Source: MPSA, released code.

    Args:
        width: d, width of the tokens.
        tokens: S, their number.
        parts: R, the number of parts.

    """

    def __init__(self, width: int, tokens: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, parts)
        self.position = nn.Parameter(torch.zeros(1, tokens, parts))

    def forward(self, tokens: Tensor, kept: Kept = slice(None)) -> Tensor:
        """Tokens (B, S, d) → the parts that are kept (B, R', d); no others are computed."""
        membership = functional.gelu(some_outputs(self.linear, tokens, kept)) + self.position[..., kept]
        return membership.transpose(1, 2).softmax(dim=-1) @ tokens


class PartImportance(nn.Module):
    """The importance of every part, by the means of all parts: LayerNorm between two linear maps, then a sigmoid.

    Source: MPSA, released code.

    Args:
        parts: R', the number of parts.

    """

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(parts, parts, 1), nn.Conv2d(parts, parts, 1)
        self.norm = nn.LayerNorm((parts, 1, 1))

    def forward(self, parts: Tensor) -> Tensor:
        """Parts (B, R', d) → (B, R', 1), from 0 to 1."""
        means = parts.mean(dim=2)[..., None, None]
        importance: Tensor = self.conv2(functional.gelu(self.norm(self.conv1(means)))).sigmoid()
        return importance.flatten(2)


class PartAttention(nn.Module):
    """Tokens attend to parts, and get the importance of the parts that attend to them.

    a = q kᵀ / √c + position. A token gets Σ softmax_parts(a) v. Its importance is the sum over parts of e, the
    importance of the part, times the mean over heads of softmax_tokens(a), scaled to 0 … 1; with a learned factor it is
    added to all channels before the last linear layer. The positions belong to the places of the parts, which are
    other parts in every step of training.
    Source: MPSA, released code.

    Args:
        width: d, width of the parts.
        query_width: D, width of the tokens.
        tokens: N, their number.
        parts: R', the number of parts.
        heads: Heads of attention.
        dropout: Probability that an attention weight is dropped in training.
        over_batch: Whether the importance is scaled by the extremes of the whole batch; otherwise by those of an image.

    """

    def __init__(
        self,
        width: int,
        query_width: int,
        tokens: int,
        parts: int,
        heads: int,
        *,
        dropout: float = 0.0,
        over_batch: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.over_batch = heads, over_batch
        self.q, self.kv = nn.Linear(query_width, width), nn.Linear(width, 2 * width)
        self.position = nn.Parameter(torch.zeros(1, heads, tokens, parts))
        self.importance = PartImportance(parts)
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) and parts (B, R', d) → (B, N, d), and the importance of the tokens (B, N, 1)."""
        q = self._in_heads(self.q(tokens))
        k, v = map(self._in_heads, self.kv(parts).chunk(2, dim=-1))
        logits = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5 + self.position
        got = (self.dropout(logits.softmax(dim=-1)) @ v).transpose(1, 2).flatten(2)
        importance = logits.softmax(dim=-2).mean(dim=1) @ self.importance(parts)
        importance = to_unit_range(importance, over_batch=self.over_batch)
        out: Tensor = self.out(got + importance * self.scale)
        return out, importance

    def _in_heads(self, x: Tensor) -> Tensor:
        """(B, N, d) → (B, h, N, d/h)."""
        in_heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return in_heads


def to_unit_range(importance: Tensor, *, over_batch: bool) -> Tensor:
    """Scale importance to 0 … 1.

    Args:
        importance: (B, N, 1).
        over_batch: Whether the smallest and the largest of the whole batch become 0 and 1, as in the released code of
            MPSA; otherwise those of each image.

    Returns:
        (B, N, 1); 1 everywhere if all values are equal.

    """
    axes = (0, 1, 2) if over_batch else (1, 2)
    low = importance.amin(dim=axes, keepdim=True)
    spread = importance.amax(dim=axes, keepdim=True) - low
    are_equal = spread == 0
    return torch.where(are_equal, 1.0, (importance - low) / torch.where(are_equal, 1.0, spread))


def kept_parts(parts: int, dropped: int, *, drawn: bool) -> Kept:
    """The parts that are not dropped.

    Args:
        parts: R, the number of parts.
        dropped: How many are dropped.
        drawn: Whether they are drawn by torch's generator of the CPU, on every device, as in the released code of MPSA;
            otherwise the last ones are kept, in their order.

    Returns:
        The places of R − ``dropped`` parts.

    """
    if drawn and dropped:
        return torch.randperm(parts, device="cpu")[dropped:]
    return slice(dropped, None)


def some_outputs(layer: Any, x: Tensor, kept: Kept) -> Tensor:
    """Those outputs of a linear layer that are kept: (…, inputs) → (…, R'); no others are computed.

    A quantized layer, whose weight is packed, computes them all.
    """
    if not isinstance(layer.weight, Tensor):
        everything: Tensor = layer(x)
        return everything[..., kept]
    return functional.linear(x, layer.weight[kept], layer.bias[kept])
