"""Queries and keys with the strides of a projection, and ``v A`` with the whole map in float64."""

from __future__ import annotations

import torch


def drawn(
    batch: int,
    heads: int,
    tokens: int,
    width: int,
    spread: float = 1.0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q and k as a fused projection leaves them, views of one tensor; v expanded over heads, with a zero in it."""
    generator = torch.Generator().manual_seed(seed)
    projected = spread * torch.randn(batch, tokens, 3 * heads * width, generator=generator, dtype=torch.float64)
    q, k, _ = (x.unflatten(-1, (heads, width)).transpose(1, 2) for x in projected.to(dtype).chunk(3, dim=-1))
    v = torch.rand(batch, tokens, generator=generator, dtype=torch.float64)
    v[:, 0] = 0 if tokens > 1 else 1
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return q, k, (v / v.sum(dim=-1, keepdim=True)).to(wide).unsqueeze(1).expand(-1, heads, -1)


def exactly(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    maps = (q.double() @ k.double().transpose(-2, -1) * scale).softmax(dim=-1)
    return (v.double().unsqueeze(-2) @ maps).squeeze(-2)


def check(found: torch.Tensor, expected: torch.Tensor, rounding: float) -> None:
    assert found.shape == expected.shape
    assert (found.double() - expected).abs().max() <= rounding * expected.abs().max()
