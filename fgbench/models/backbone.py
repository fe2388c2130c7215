"""timm vision transformers as backbones: building for an image size, and their geometry."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.backbone_shape import BackboneShape, grid_of
from fgbench.errors import CannotMeasureError, FgbenchError, UnknownNameError
from fgbench.hub import hub_or_cache, why_not_had
from fgbench.plugins.timm_names import load_plugin_files
from fgbench.results.image_size import ImageSize, NonSquare, height_width
from fgbench.results.shipped import is_shipped
from fgbench_selectors import QK, Features, Maps, Needs

with warnings.catch_warnings():  # torchvision scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    import timm
    from timm.layers.config import set_fused_attn, use_fused_attn
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

FAMILIES = ("vit_*", "deit*", "eva_*", "eva02_*", "flexivit_*", "test_vit*")
# Names of models with windows, convolutions before the patches (hybrids), parallel or other blocks, attention with a
# position bias, or the difference of two attentions.
OTHER_STRUCTURE = re.compile(r"sam_|_r\d*_s\d|_resnet|_mci_|\dx2_|_xp_|pwee|relpos|_dwee_|_dlittle_")
# Classes of attention that is one softmax of products of queries and keys.
ATTENTION_KINDS = ("Attention", "AttentionRope", "EvaAttention")
OWN = ("timm", "fgbench")  # packages whose backbones are not those of plug-ins


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaBackbone:
    """A backbone on the meta device at one image size: it has shapes, and no weights."""

    name: str
    module: nn.Module
    image_size: ImageSize  # pixels
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
    def num_classes(self) -> int:
        """Classes of the head."""
        classes: Any = self.module.num_classes
        return int(classes)

    @property
    def params(self) -> int:
        """Number of parameters, with those of the head."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def shape(self) -> BackboneShape:
        """The backbone in numbers."""
        names = ("name", "image_size", "patch_size", "grid", "num_prefix_tokens", "has_class_token")
        figures = {name: getattr(self, name) for name in (*names, "embed_dim", "depth", "num_heads", "params")}
        return BackboneShape(**figures, has_paper_blocks=self.has_paper_blocks)

    @property
    def block_weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the matrices of a block by name."""
        blocks: Any = self.module.blocks
        return {name: tuple(p.shape) for name, p in blocks[0].named_parameters() if p.ndim == 2}

    @property
    def has_paper_blocks(self) -> bool:
        """Whether the paper's closed forms describe the blocks: plain, with an MLP of 4·D."""
        dim = self.embed_dim
        products = {
            "attn.qkv": (3 * dim, dim),
            "attn.proj": (dim, dim),
            "mlp.fc1": (4 * dim, dim),
            "mlp.fc2": (dim, 4 * dim),
        }
        return self.block_weights == {f"{name}.weight": shape for name, shape in products.items()}

    def image(self) -> Tensor:
        """One image (1, 3, S, S) on the meta device."""
        return torch.empty(1, 3, *height_width(self.image_size), device="meta")

    def features(self, needs: Needs, *, ready_maps: bool) -> Features:
        """The input that a selector declares, for one image, on the meta device.

        Args:
            needs: The selector's needs.
            ready_maps: Maps instead of queries, keys and their log-sum-exp.

        """
        recorded = range(self.depth)[needs.blocks] if needs.blocks is not None else range(0)
        return Features(
            tokens=self._empty(self.num_tokens, self.embed_dim) if needs.tokens else None,
            attention=[self._block(ready_maps) if i in recorded else None for i in range(self.depth)],
            num_prefix_tokens=self.num_prefix_tokens,
            grid=self.grid,
            has_class_token=self.has_class_token,
            class_logits=self._empty(self.num_tokens, self.num_classes) if needs.class_logits else None,
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
    """Whether timm has a model of this name; models that plug-ins register with timm count too."""
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        with torch.device("cpu"):  # not the default device of the caller
            load_plugin_files()
    return bool(timm.is_model(architecture)) and not name.startswith("fgbench_")


def brought_by(name: str) -> list[Any]:
    """The function of a plug-in that builds a backbone of this name, in a list; an empty list for timm's and ours."""
    architecture = name.partition(".")[0]
    entry_point = timm.model_entrypoint(architecture) if is_backbone(name) else None
    return [] if entry_point is None or entry_point.__module__.partition(".")[0] in OWN else [entry_point]


def backbone_names() -> list[str]:
    """All timm architectures of the vision-transformer family that can be backbones, sorted."""
    families = {name for family in FAMILIES for name in timm.list_models(family)}
    return sorted(name for name in families if not OTHER_STRUCTURE.search(name))


def build_on_meta(name: str, image_size: ImageSize, num_classes: int = 200, stride: int | None = None) -> MetaBackbone:
    """Build a timm backbone on the meta device, with attention that is not fused, so that a count sees its operators.

    Args:
        name: timm's name.
        image_size: Of the image, in pixels.
        num_classes: Classes of the head.
        stride: Step between patches in pixels; the patch size by default.

    Raises:
        FgbenchError: As :func:`build_vit`.

    """
    with torch.device("meta"):
        module = build_vit(name, image_size, num_classes, stride)
    unfuse_attention(module)
    return _describe(name, module.eval().requires_grad_(False), image_size)


def build_vit(
    name: str,
    image_size: ImageSize,
    num_classes: int = 200,
    stride: int | None = None,
    *,
    overlap: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """Build a timm vision transformer for an image size, with position embeddings resized to it.

    On torch's meta device no weights are drawn.

    Args:
        name: timm's name.
        image_size: Of the image, in pixels.
        num_classes: Classes of the head.
        stride: Step between patches in pixels (12 overlaps patches of 16, as TransFG does); the patch size minus
            ``overlap`` by default.
        overlap: Pixels that neighbouring patches share.
        pretrained: Whether timm's weights are loaded.

    Returns:
        timm's module.

    Raises:
        UnknownNameError: If timm has no such model.
        FgbenchError: If the model is no plain vision transformer, or the size does not fit it.
        CannotMeasureError: If timm cannot build it, or its weights are not available.

    """
    if not isinstance(name, str) or not is_backbone(name):
        raise UnknownNameError("backbone", str(name), backbone_names())
    size = for_timm(image_size)
    if stride or overlap:
        with torch.device("meta"):
            patch = _patch_size(name, create_with_timm(name, num_classes))
        if stride is None and not 0 <= overlap < patch:
            raise FgbenchError(f"patches of {patch} pixels cannot overlap by", overlap, f"give 0 to {patch - 1}")
        stride = stride or patch - overlap
        # An image with as many patches side by side as there will be overlapping ones; the step is set below.
        rows, columns = grid_of(name, image_size, patch, stride)
        size = rows * patch if rows == columns else (rows * patch, columns * patch)
    module = create_with_timm(name, num_classes, pretrained=pretrained, img_size=size)
    patch = _patch_size(name, module)
    grid_of(name, image_size, patch, stride or patch)
    if stride:
        embed: Any = module.patch_embed
        embed.proj.stride = (stride, stride)
        embed.img_size = height_width(image_size)
    return module


def for_timm(size: ImageSize) -> int | tuple[int, int]:
    """A size as timm takes it: a side, or (height, width)."""
    return size.sides if isinstance(size, NonSquare) else size


def unfuse_attention(module: nn.Module) -> None:
    """Switch fused attention off in every block of a timm model, so that a count sees its operators."""
    for submodule in module.modules():
        if hasattr(submodule, "fused_attn"):
            submodule.fused_attn = False  # type: ignore[assignment]


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


@functools.cache
def takes_image_size(name: str) -> bool:
    """Whether timm builds a model of this name for an image size; others take any size, or one size alone."""
    side = timm.get_pretrained_cfg(name, allow_unregistered=True)
    size = side.input_size[-1] if side is not None and side.input_size else 224
    with torch.device("meta"):
        try:
            timm.create_model(name, num_classes=2, img_size=size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return False
    return True


def create_with_timm(name: str, num_classes: int, *, pretrained: bool = False, **options: Any) -> nn.Module:
    """``timm.create_model`` with errors of one line; on the meta device no weights are drawn.

    Args:
        name: timm's name.
        num_classes: Classes of the head.
        pretrained: Whether timm's weights are loaded.
        options: Further options of timm.

    Raises:
        FgbenchError: If the model is no plain vision transformer.
        CannotMeasureError: If timm cannot build it, or its weights are not available.

    """
    if torch.get_default_device().type == "meta":  # drawing weights there takes five times as long as the rest
        options["weight_init"] = "skip"
    try:
        with hub_or_cache() if pretrained and not is_shipped(name) else nullcontext():
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
    if not isinstance(module, (VisionTransformer, Eva)):  # families in which all blocks see one sequence of all tokens
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


def _describe(name: str, module: Any, image_size: ImageSize) -> MetaBackbone:
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
