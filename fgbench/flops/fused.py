"""Attention as timm builds it by default, whatever TIMM_FUSED_ATTN says: other operators are other figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from timm.layers.config import set_fused_attn, use_fused_attn


@contextmanager
def fused_attention(wanted: bool | None) -> Iterator[None]:
    """Have timm build fused attention, or not; None leaves it as it is set."""
    before = use_fused_attn(), use_fused_attn(experimental=True)
    if wanted is not None:
        set_fused_attn(wanted)
    try:
        yield
    finally:
        set_fused_attn(*before)
