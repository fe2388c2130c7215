"""What ``fgbench flops`` is asked to count. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench_selectors.registry import IMPLS

# The backbones of the paper's Tables 1, 7 and 8, and its image sizes.
PAPER_BACKBONES = ("vit_base_patch16_224", "vit_base_patch14_dinov2", "vit_tiny_patch16_224")
PAPER_SIZES = (224, 448, 768, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsRequest:
    """Selectors beside backbones."""

    sizes: Sequence[int] = PAPER_SIZES
    backbones: Sequence[str] = PAPER_BACKBONES
    selectors: Sequence[str] | None = None  # None: every registered one
    impls: Sequence[str] = IMPLS
    conventions: Sequence[str] = ("full",)
    num_classes: int = 200
    patch_stride: int | None = None  # None: patches side by side; convention "paper" as the paper has them
    cross_check: bool = False
    fused_attention: bool | None = None  # as timm builds it; None: as TIMM_FUSED_ATTN says


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsRequest:
    """Whole models, beside their plain backbones."""

    models: Sequence[str]
    sizes: Sequence[int]
    backbones: Sequence[str] | None = None  # None: every model on the one that it was published with
    selectors: Sequence[str] | None = None  # in place of the published ones; None: those
    impls: Sequence[str] = IMPLS
    conventions: Sequence[str] = ("full",)
    num_classes: int = 200
    fused_attention: bool | None = None  # as timm builds it; None: as TIMM_FUSED_ATTN says


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCase:
    """One model to count, with its options."""

    name: str
    backbone: str
    selector: str | None
    size: int
