"""The grid that is counted: sizes × backbones × selectors, or models. Commands and the baseline share it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fgbench.errors import FgbenchError
from fgbench.options import (
    BACKBONES,
    CONVENTION,
    IMPLEMENTATIONS,
    IMPLS,
    MODELS,
    NUM_CLASSES,
    SELECTORS,
    SHAPES,
    one,
    switch,
    whole,
)
from fgbench.results import paper
from fgbench.results.image_size import ImageSize, NonSquare

PATCH_STRIDE = one(
    "--patch-stride", "step between patches; 12 overlaps patches of 16", "PIXELS", read=whole("patch stride", 12)
)
CROSS_CHECK = switch("--cross-check", "hold every backbone against torch's counter and the closed form")
WHAT, HOW = "What to count", "How to count"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGrid:
    """A grid of selectors beside backbones, or of whole models.

    :func:`fgbench.flops.rows.flops_rows` counts its selectors, :func:`fgbench.flops.models.model_rows` its models.

    Attributes:
        sizes: Image sides in pixels, or height × width.
        backbones: timm's names. None: the paper's three beside selectors, and a model's own in models.
        selectors: Names. None: every registered one beside backbones, and the published ones in models.
        models: Names of whole models. None: every registered one, where models are counted.
        impls: ``"published"``, ``"fast"`` or both.
        conventions: Some of :data:`fgbench.options.CONVENTIONS`.
        num_classes: Classes of the head.
        patch_stride: Pixels from a patch to the next; None: patches side by side, convention "paper" as it has them.
        cross_check: Whether every backbone's count is compared with torch's counter and the closed form.
        fused_attention: Whether attention is one operator. None: as ``TIMM_FUSED_ATTN`` says, as timm builds it.

    """

    sizes: Annotated[Sequence[ImageSize], SHAPES.but(default="224 448 768 1024"), WHAT] = paper.IMAGE_SIZES
    backbones: Annotated[
        Sequence[str] | None, BACKBONES.but(default="the paper's ViT-B/16, ViT-B/14, ViT-T/16"), WHAT
    ] = None
    selectors: Annotated[
        Sequence[str] | None,
        SELECTORS.but(help="names of selectors", default="all; with --models, the published ones"),
        WHAT,
    ] = None
    models: Annotated[
        Sequence[str] | None, MODELS.but(help="whole models instead, by stage: 'fgbench list models'"), WHAT
    ] = None
    impls: Annotated[Sequence[str], IMPLEMENTATIONS.but(default="both"), WHAT] = IMPLS
    conventions: Annotated[Sequence[str], CONVENTION, HOW] = ("full",)
    num_classes: Annotated[int, NUM_CLASSES, HOW] = paper.NUM_CLASSES
    patch_stride: Annotated[int | None, PATCH_STRIDE, HOW] = None
    cross_check: Annotated[bool, CROSS_CHECK, HOW] = False
    fused_attention: bool | None = None

    @property
    def selector_backbones(self) -> Sequence[str]:
        """The backbones that selectors are counted beside."""
        return self.backbones or paper.BACKBONES

    def check(self) -> None:
        """Refuse options of backbones beside models.

        Raises:
            FgbenchError: For a patch stride, or a cross-check, of models, and closed forms of what is no square.

        """
        if self.models and (self.patch_stride is not None or self.cross_check):
            flag = "--cross-check" if self.cross_check else "--patch-stride"
            raise FgbenchError(f"{flag} is for backbones, and has no meaning with", "--models", "leave one of them out")
        others = [size for size in self.sizes if isinstance(size, NonSquare)]
        if others and not self.models and ("paper" in self.conventions or self.cross_check):
            what = "the paper's closed forms are those of square images, got size"
            raise FgbenchError(what, others[0], "leave out --convention paper and --cross-check")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCase:
    """One model to count, with its options."""

    name: str
    backbone: str
    selector: str | None
    size: ImageSize
