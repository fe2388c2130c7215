"""timm vision transformers as backbones: built for an image size, described by their geometry."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.backbone_shape import BackboneShape, grid_side
from fgbench.errors import CannotMeasureError, FgbenchError, UnknownNameError
from fgbench.hub import hub_or_cache, why_not_had
from fgbench.plugins.timm_names import load_plugin_files
from fgbench_selectors import QK, Features, Maps, Needs

with warnings.catch_warnings():  # torchvision scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    import timm
    from timm.layers.config import set_fused_attn, use_fused_attn
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

FAMILIES = ("vit_*", "deit*", "eva_*", "eva02_*", "flexivit_*", "test_vit*")
# Windows, convolutions before the patches (hybrids), parallel or other blocks, attention with a position bias that
# queries and keys do not hold, the difference of two attentions.
OTHER_STRUCTURE = re.compile(r"sam_|_r\d*_s\d|_resnet|_mci_|\dx2_|_xp_|pwee|relpos|_dwee_|_dlittle_")
# Attention that is one softmax of products of queries and keys.
ATTENTION_KINDS = ("Attention", "AttentionRope", "EvaAttention")


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

    @property
    def shape(self) -> BackboneShape:
        """The backbone in numbers."""
        names = ("name", "image_size", "patch_size", "grid", "num_prefix_tokens", "has_class_token")
        figures = {name: getattr(self, name) for name in (*names, "embed_dim", "depth", "num_heads", "params")}
        return BackboneShape(**figures, has_paper_blocks=self.has_paper_blocks)

    @property
    def block_weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the matrices of a block by their names."""
        blocks: Any = self.module.blocks
        return {name: tuple(p.shape) for name, p in blocks[0].named_parameters() if p.ndim == 2}

    @property
    def has_paper_blocks(self) -> bool:
        """Whether blocks are the ones that the paper's forms describe: plain, with an MLP of 4·D."""
        dim = self.embed_dim
        products = {
            "attn.qkv": (3 * dim, dim),
            "attn.proj": (dim, dim),
            "mlp.fc1": (4 * dim, dim),
            "mlp.fc2": (dim, 4 * dim),
        }
        return self.block_weights == {f"{name}.weight": shape for name, shape in products.items()}

    def image(self) -> Tensor:
        """One image of the right size, (1, 3, S, S)."""
        return torch.empty(1, 3, self.image_size, self.image_size, device="meta")

    def features(self, needs: Needs, *, ready_maps: bool) -> Features:
        """What a selector declares, for one image: queries, keys and their log-sum-exp, or the maps they would make."""
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
        per_head = (heads, tokens, self.head_dim)
        return QK(self._empty(*per_head), self._empty(*per_head), lse=self._empty(heads, tokens))

    @staticmethod
    def _empty(*shape: int) -> Tensor:
        return torch.empty(1, *shape, device="meta")


def is_backbone(name: str) -> bool:
    """Whether timm has a model of this name, or a plug-in brings it; selectors need not fit it."""
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        with torch.device("cpu"):  # whatever this is called for
            load_plugin_files()
    return bool(timm.is_model(architecture)) and not name.startswith("fgbench_")


def brought_by(name: str) -> list[Any]:
    """The function of a plug-in that makes a backbone of this name; none for timm's own."""
    architecture = name.partition(".")[0]
    makes = timm.model_entrypoint(architecture) if is_backbone(name) else None
    return [] if makes is None or makes.__module__.partition(".")[0] == "timm" else [makes]


def backbone_names() -> list[str]:
    """Every timm architecture of the vision-transformer family that can be a backbone."""
    families = {name for family in FAMILIES for name in timm.list_models(family)}
    return sorted(name for name in families if not OTHER_STRUCTURE.search(name))


def build_on_meta(name: str, image_size: int, num_classes: int = 200, stride: int | None = None) -> MetaBackbone:
    """Build a timm backbone for an image size, without weights, to be counted.

    Attention is unfused: the operators that the count then sees are the ones that cost. For ``stride`` and errors
    see :func:`build_vit`.
    """
    with torch.device("meta"):
        module = build_vit(name, image_size, num_classes, stride)
    unfuse_attention(module)
    return _describe(name, module.eval().requires_grad_(False), image_size)


def build_vit(
    name: str,
    image_size: int,
    num_classes: int = 200,
    stride: int | None = None,
    *,
    overlap: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """A timm vision transformer for square images of ``image_size`` pixels, its position embeddings resized to them.

    ``stride`` is the step between patches in pixels (12 overlaps patches of 16, as TransFG does); the patch size
    minus ``overlap`` by default. On torch's meta device no weights are drawn.

    Raises :class:`UnknownNameError`, :class:`FgbenchError` where the model is no plain vision transformer or the
    size does not fit it, or :class:`CannotMeasureError` where timm cannot build it or its weights cannot be had.
    """
    if not isinstance(name, str) or not is_backbone(name):
        raise UnknownNameError("backbone", str(name), backbone_names())
    side = image_size
    if stride or overlap:
        with torch.device("meta"):
            patch = _patch_size(name, create_with_timm(name, num_classes))
        if stride is None and not 0 <= overlap < patch:
            raise FgbenchError(f"patches of {patch} pixels cannot overlap by", overlap, f"give 0 to {patch - 1}")
        stride = stride or patch - overlap
        # As many patches side by side as there are overlapping ones; the step is set afterwards.
        side = grid_side(name, image_size, patch, stride) * patch
    module = create_with_timm(name, num_classes, pretrained=pretrained, img_size=side)
    patch = _patch_size(name, module)
    grid_side(name, image_size, patch, stride or patch)
    if stride:
        embed: Any = module.patch_embed
        embed.proj.stride = (stride, stride)
        embed.img_size = (image_size, image_size)
    return module


def unfuse_attention(module: nn.Module) -> None:
    """Have every block of timm's write its attention out, as counting needs it."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]


@contextmanager
def fused_attention(wanted: bool | None) -> Iterator[None]:
    """A context in which timm builds fused attention, or does not, whatever ``TIMM_FUSED_ATTN`` says.

    Args:
        wanted: Whether attention is one operator; None leaves the setting as it is.

    """
    before = use_fused_attn(), use_fused_attn(experimental=True)
    if wanted is not None:
        set_fused_attn(wanted)
    try:
        yield
    finally:
        set_fused_attn(*before)


def create_with_timm(name: str, num_classes: int, *, pretrained: bool = False, **options: Any) -> nn.Module:
    """``timm.create_model`` whose failures are one line, and which draws no weights on the meta device."""
    if torch.get_default_device().type == "meta":  # drawing weights that hold no data takes five times the rest
        options["weight_init"] = "skip"
    try:
        with hub_or_cache() if pretrained else nullcontext():
            try:
                module: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
            except TypeError:
                if "weight_init" not in options:
                    raise
                del options["weight_init"]  # a family without that option
                module = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        raise _not_plain(name) from error
    except Exception as error:
        if pretrained:
            reason = why_not_had(error)
            do = "; leave --pretrained out for random weights, or give a file that you have with --checkpoint"
            raise CannotMeasureError(f"no pretrained weights for {name!r}: {reason}{do}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        size = f" for images of {options['img_size']} pixels" if "img_size" in options else ""
        raise CannotMeasureError(f"timm cannot build {name!r}{size}: {reason}") from error
    return module


def _patch_size(name: str, module: nn.Module) -> int:
    projection: Any = getattr(getattr(module, "patch_embed", None), "proj", None)
    attention = getattr(next(iter(getattr(module, "blocks", [])), None), "attn", None)
    if not isinstance(module, (VisionTransformer, Eva)):  # one sequence of all tokens through all blocks
        raise _not_plain(name)
    from_pixels = isinstance(projection, nn.Conv2d) and projection.in_channels == 3
    if not from_pixels or not hasattr(attention, "num_heads") or not hasattr(module, "num_prefix_tokens"):
        raise _not_plain(name)
    if type(attention).__name__ not in ATTENTION_KINDS:
        raise _not_plain(name)
    height, width = projection.kernel_size
    if height != width:
        raise FgbenchError(f"backbone {name!r} has patches that are no squares:", (height, width))
    return int(height)


def _not_plain(name: str) -> FgbenchError:
    return FgbenchError(
        "backbone is no plain vision transformer:", name, "'fgbench list backbones' shows those that are"
    )


def _describe(name: str, module: Any, image_size: int) -> MetaBackbone:
    attention = module.blocks[0].attn
    rows, columns = module.patch_embed.grid_size
    return MetaBackbone(
        name=name,
        module=module,
        image_size=image_size,
        patch_size=module.patch_embed.proj.kernel_size[0],
        grid=(rows, columns),
        num_prefix_tokens=module.num_prefix_tokens,
        has_class_token=getattr(module, "cls_token", None) is not None,
        embed_dim=module.embed_dim,
        depth=len(module.blocks),
        num_heads=attention.num_heads,
        head_dim=getattr(attention, "head_dim", None) or module.embed_dim // attention.num_heads,
    )
