"""timm vision transformers as backbones: built without weights, described by their geometry."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.errors import CannotMeasureError, FgbenchError, UnknownNameError
from fgbench_selectors import QK, Features, Maps, Needs

with warnings.catch_warnings():  # torchvision scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    import timm
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

FAMILIES = ("vit_*", "deit*", "eva02_*", "flexivit_*")
# Windows, convolutions before the patches (hybrids), parallel or other blocks, attention with a position bias that
# queries and keys do not hold.
OTHER_STRUCTURE = re.compile(r"sam_|_r\d*_s\d|_resnet|_mci_|\dx2_|_xp_|pwee|relpos")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaBackbone:
    """A backbone on the meta device at one image size: shapes without weights, memory or data."""

    name: str
    module: nn.Module
    image_size: int  # pixels, square
    patch_size: int  # pixels, square
    grid: tuple[int, int]
    num_prefix_tokens: int
    has_class_token: bool
    embed_dim: int
    depth: int
    num_heads: int
    head_dim: int

    @property
    def num_tokens(self) -> int:
        """N: prefix tokens and patches."""
        return self.num_prefix_tokens + self.grid[0] * self.grid[1]

    @property
    def params(self) -> int:
        """Parameters, the head's included."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def image(self) -> Tensor:
        """One image of the right size, (1, 3, S, S)."""
        return torch.empty(1, 3, self.image_size, self.image_size, device="meta")

    def features(self, needs: Needs, *, ready_maps: bool) -> Features:
        """What a selector declares, for one image: queries and keys, or the maps that they would make."""
        recorded = range(self.depth)[needs.blocks] if needs.blocks is not None else range(0)
        return Features(
            tokens=self._empty(self.num_tokens, self.embed_dim) if needs.tokens else None,
            attention=[self._block(ready_maps) if i in recorded else None for i in range(self.depth)],
            num_prefix_tokens=self.num_prefix_tokens,
            grid=self.grid,
            has_class_token=self.has_class_token,
        )

    def _block(self, ready_maps: bool) -> QK | Maps:
        heads, tokens = self.num_heads, self.num_tokens
        if ready_maps:
            return Maps(self._empty(heads, tokens, tokens), self._empty(heads, tokens, tokens))
        return QK(self._empty(heads, tokens, self.head_dim), self._empty(heads, tokens, self.head_dim))

    @staticmethod
    def _empty(*shape: int) -> Tensor:
        return torch.empty(1, *shape, device="meta")


def backbone_names() -> list[str]:
    """Every timm architecture of the vision-transformer family that can be a backbone."""
    families = {name for family in FAMILIES for name in timm.list_models(family)}
    return sorted(name for name in families if not OTHER_STRUCTURE.search(name))


def build_on_meta(name: str, image_size: int, num_classes: int = 200, stride: int | None = None) -> MetaBackbone:
    """Build a timm backbone for an image size, without weights.

    ``stride`` is the step between patches in pixels (12 overlaps patches of 16, as TransFG does); the patch
    size by default. Attention is unfused: the operators that the count then sees are the ones that cost.

    Raises :class:`UnknownNameError`, or :class:`FgbenchError` where the model is no plain vision transformer
    or the size does not fit it.
    """
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise UnknownNameError("backbone", name, backbone_names())
    try:
        probe = _create(architecture, None, num_classes) if stride else None
        patch = _patch_size(name, probe) if probe is not None else 0
        side = image_size if probe is None else _grid_side(name, image_size, patch, stride or patch) * patch
        module = _create(architecture, side, num_classes)
    except FgbenchError:
        raise
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        raise _not_plain(name) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CannotMeasureError(f"timm cannot build {name!r} for images of {image_size} pixels: {reason}") from error
    patch = _patch_size(name, module)
    _grid_side(name, image_size, patch, stride or patch)
    if stride:
        embed: Any = module.patch_embed
        embed.proj.stride = (stride, stride)
        embed.img_size = (image_size, image_size)
    return _describe(name, module, image_size, patch)


def _create(architecture: str, side: int | None, num_classes: int) -> nn.Module:
    options: dict[str, Any] = {"num_classes": num_classes} | ({} if side is None else {"img_size": side})
    module: nn.Module
    with torch.device("meta"):
        try:  # drawing weights that hold no data takes five times as long as the rest
            module = timm.create_model(architecture, weight_init="skip", **options)
        except TypeError:  # a family without that option
            module = timm.create_model(architecture, **options)
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]
    return module.eval().requires_grad_(False)


def _patch_size(name: str, module: nn.Module) -> int:
    projection: Any = getattr(getattr(module, "patch_embed", None), "proj", None)
    attention = getattr(next(iter(getattr(module, "blocks", [])), None), "attn", None)
    if not isinstance(module, (VisionTransformer, Eva)):  # one sequence of all tokens through all blocks
        raise _not_plain(name)
    from_pixels = isinstance(projection, nn.Conv2d) and projection.in_channels == 3
    if not from_pixels or not hasattr(attention, "num_heads") or not hasattr(module, "num_prefix_tokens"):
        raise _not_plain(name)
    height, width = projection.kernel_size
    if height != width:
        raise FgbenchError(f"backbone {name!r} has patches that are no squares:", (height, width))
    return int(height)


def _not_plain(name: str) -> FgbenchError:
    return FgbenchError(
        "backbone is no plain vision transformer:", name, "'fgbench list backbones' shows those that are"
    )


def _grid_side(name: str, image_size: int, patch: int, stride: int) -> int:
    if image_size < patch:
        raise FgbenchError(
            f"image size {image_size} is smaller than the {patch}-pixel patch of",
            name,
            f"give at least {patch}",
        )
    if stride > patch:
        raise FgbenchError(
            f"patch stride {stride} would skip pixels between the {patch}-pixel patches of", name, "give less"
        )
    return (image_size - patch) // stride + 1


def _describe(name: str, module: Any, image_size: int, patch: int) -> MetaBackbone:
    attention = module.blocks[0].attn
    rows, columns = module.patch_embed.grid_size
    return MetaBackbone(
        name=name,
        module=module,
        image_size=image_size,
        patch_size=patch,
        grid=(rows, columns),
        num_prefix_tokens=module.num_prefix_tokens,
        has_class_token=getattr(module, "cls_token", None) is not None,
        embed_dim=module.embed_dim,
        depth=len(module.blocks),
        num_heads=attention.num_heads,
        head_dim=getattr(attention, "head_dim", None) or module.embed_dim // attention.num_heads,
    )
