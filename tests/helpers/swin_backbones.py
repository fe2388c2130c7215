"""Small Swins under timm's roof, once this is imported."""

from __future__ import annotations

from typing import Any

from helpers.backbones import NOT_OF_THE_ARCHITECTURE
from timm.models import register_model
from timm.models.swin_transformer import SwinTransformer


@register_model
def fgtest_windows(**options: Any) -> SwinTransformer:
    """A narrow Swin of six blocks, of which two are shifted."""
    return _swin(options, embed_dim=16, depths=(1, 2, 1, 2), num_heads=(1, 2, 4, 8))


@register_model
def fgtest_windows_deep(**options: Any) -> SwinTransformer:
    """A Swin of seven blocks with other heads."""
    return _swin(options, embed_dim=24, depths=(2, 2, 2, 1), num_heads=(3, 3, 6, 6))


def _swin(options: dict[str, Any], **shape: Any) -> SwinTransformer:
    for name in NOT_OF_THE_ARCHITECTURE:
        options.pop(name, None)
    return SwinTransformer(**{"patch_size": 4, "window_size": 7, **shape, **options})
