"""Small backbones under timm's roof, once this is imported: registers, layer scale and odd patches too, in seconds."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

NOT_OF_THE_ARCHITECTURE = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


@register_model
def fgtest_vit(**options: Any) -> VisionTransformer:
    """A plain ViT: patches of 16, 4 blocks, 2 heads."""
    return _vit(options, patch_size=16, embed_dim=64, depth=4, num_heads=2)


@register_model
def fgtest_vit_reg4(**options: Any) -> VisionTransformer:
    """As DINOv2 with registers: patches of 14, 4 registers, layer scale, positions for patches alone."""
    shape = {"patch_size": 14, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return _vit(options, **shape, reg_tokens=4, init_values=0.5, no_embed_class=True)


@register_model
def fgtest_vit_gap(**options: Any) -> VisionTransformer:
    """A register, patches of 16, and no class token."""
    shape = {"patch_size": 16, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return _vit(options, **shape, reg_tokens=1, class_token=False, no_embed_class=True, global_pool="avg")


@register_model
def fgtest_vit_scaled(**options: Any) -> VisionTransformer:
    """Patches of 14, 3 blocks with layer scale."""
    return _vit(options, patch_size=14, embed_dim=48, depth=3, num_heads=3, init_values=0.5)


@register_model
def fgtest_resnet(**options: Any) -> ResNet:
    """A narrow ResNet of four bottleneck blocks."""
    return _resnet(options, block=Bottleneck, layers=[1, 1, 1, 1], channels=(8, 16, 16, 24))


@register_model
def fgtest_resnet_basic(**options: Any) -> ResNet:
    """A narrow ResNet of five basic blocks, whose stride is in another convolution."""
    return _resnet(options, block=BasicBlock, layers=[1, 1, 1, 2], channels=(8, 8, 16, 32))


@register_model
def fgtest_swin(**options: Any) -> SwinTransformer:
    """A narrow Swin of six blocks, two of them with shifted windows of 4 by 4 patches; no branch is dropped."""
    return _swin(options, embed_dim=16, depths=(2, 1, 2, 1), num_heads=(1, 2, 2, 4))


@register_model
def fgtest_swin_deep(**options: Any) -> SwinTransformer:
    """A Swin of seven blocks, wider and with other heads."""
    return _swin(options, embed_dim=24, depths=(2, 2, 2, 1), num_heads=(3, 3, 6, 6))


def _resnet(options: dict[str, Any], **shape: Any) -> ResNet:
    for name in NOT_OF_THE_ARCHITECTURE:
        options.pop(name, None)
    return ResNet(**shape, **options)


def _swin(options: dict[str, Any], **shape: Any) -> SwinTransformer:
    for name in NOT_OF_THE_ARCHITECTURE:
        options.pop(name, None)
    return SwinTransformer(**{"patch_size": 4, "window_size": 4, "drop_path_rate": 0.0, **shape, **options})


def _vit(options: dict[str, Any], **shape: Any) -> VisionTransformer:
    for name in NOT_OF_THE_ARCHITECTURE:
        options.pop(name, None)
    return VisionTransformer(**shape, **options)
