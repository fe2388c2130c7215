"""Count whole published models and the stages of their forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from fgbench.backbone_shape import cut_off_by
from fgbench.errors import FgbenchError
from fgbench.flops.cost import Cost
from fgbench.flops.counter import Count, FlopCounter
from fgbench.flops.grid import CountGrid, ModelCase
from fgbench.models.any_network import AnyNetwork
from fgbench.models.backbone import fused_attention
from fgbench.models.build import create_model, model_class, model_options
from fgbench.models.model import STAGES, Model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench.plugins.kinds import models, selectors
from fgbench.results.image_size import ImageSize, height_width
from fgbench.results.records import FlopsRow

OUTSIDE = "(outside)"  # the work of a model that is in none of its stages


@dataclass(slots=True)
class ModelCounter:
    """Counts the models of a grid; the plain backbone of several models is counted once.

    Args:
        request: The grid.
        conventions: ``full``, ``fvcore`` or both.
        bases: Counts and rows of plain backbones by name and image size.

    """

    request: CountGrid
    conventions: list[str]
    bases: dict[tuple[str, ImageSize], tuple[Count, list[FlopsRow]]] = field(default_factory=dict)

    def rows(self, case: ModelCase) -> tuple[list[FlopsRow], list[FlopsRow], int]:
        """Count one model.

        Args:
            case: The model with its options.

        Returns:
            The rows of its plain backbone, its own rows, and the pixels of a side that its patches do not cover.

        Raises:
            FgbenchError: If the options do not fit each other, or a plug-in breaks.

        """
        with fused_attention(self.request.fused_attention):
            return self._rows(case)

    def _rows(self, case: ModelCase) -> tuple[list[FlopsRow], list[FlopsRow], int]:
        model = _build(case, self.request)
        counts: list[tuple[str | None, Count]] = []
        for impl in self.request.impls if model.two_impls else (None,):
            model.impl = impl or "fast"
            with selectors.blame(case.selector or "", FgbenchError), models.blame(case.name, FgbenchError):
                counts.append((impl, count_model(model, case.size)))
        key = (case.backbone, case.size)
        if key not in self.bases:
            plain = _plain(model, case, self.request)
            base = count_model(plain, case.size)
            self.bases[key] = base, list(_rows(case, plain, self.conventions, base, base, impl=None, whole_model=False))
        base, base_rows = self.bases[key]
        own = [
            row
            for impl, count in counts
            for row in _rows(case, model, self.conventions, count, base, impl=impl, whole_model=True)
        ]
        return base_rows, own, cut_off_by(model)


def count_model(model: Model, size: ImageSize, *, images: int = 1, dtype: torch.dtype | None = None) -> Count:
    """Count one forward pass of a model on the meta device.

    Args:
        model: The model.
        size: Of the images, in pixels.
        images: Number of images.
        dtype: Of the images; torch's default by default.

    Returns:
        The count; ``by_label`` has the work by stage.

    """
    with torch.no_grad(), FlopCounter() as counter:
        model.on_step = counter.under
        try:
            model.flow(torch.empty(images, 3, *height_width(size), dtype=dtype, device="meta"))
        finally:
            model.on_step = None
    return counter.result()


def _stages(count: Count) -> list[tuple[str, Cost]]:
    """The stages of a model in their order, those that it alone has behind them, and what is in no stage."""
    if not any(stage in STAGES for stage in count.by_label):  # labels are classes of modules then
        return []
    order = {stage: place for place, stage in enumerate(STAGES)}
    stages = sorted(count.by_label.items(), key=lambda stage: order.get(stage[0], len(STAGES)))
    inside = sum(count.by_label.values(), Cost())
    rest = count.total + inside * -1
    return [*stages, *([(OUTSIDE, rest)] if rest != Cost() else [])]


def _build(case: ModelCase, request: CountGrid) -> Model:
    options = {} if case.selector is None else {"selector": case.selector}
    if options and "selector" not in model_options(model_class(case.name)):
        raise FgbenchError("this model has no selector:", case.name, "leave --selectors out")
    with torch.device("meta"):
        model = create_model(case.name, case.backbone, img_size=case.size, num_classes=request.num_classes, **options)
    return model.eval()


def _plain(model: Model, case: ModelCase, request: CountGrid) -> Model:
    """The backbone of a model with a linear head."""
    if isinstance(model, AnyNetwork):  # it is its own backbone
        return model
    family = getattr(getattr(model, "pyramid", None), "family", None)
    shape: dict[str, Any] = {"img_size": case.size, "num_classes": request.num_classes}
    with torch.device("meta"):
        if family == "swin":
            return create_model(case.backbone, **shape).eval()
        name = "vit" if family == "vit" or isinstance(model, VisionTransformerModel) else "resnet101"
        return create_model(name, case.backbone, **shape).eval()


def _rows(
    case: ModelCase,
    model: Model,
    conventions: list[str],
    count: Count,
    base: Count,
    *,
    impl: str | None,
    whole_model: bool,
) -> Iterator[FlopsRow]:
    stages = [(None, count.total), *_stages(count)]
    for convention in conventions:
        whole = base.flops(convention)
        for stage, cost in stages if whole_model else stages[:1]:
            flops = cost.flops(convention)
            yield FlopsRow(
                convention=convention,
                backbone=case.backbone,
                model=case.name if whole_model else None,
                selector=model.selector_name if whole_model else None,
                impl=impl,
                image_size=case.size,
                num_tokens=model.encoder.num_tokens if isinstance(model, VisionTransformerModel) else None,
                macs=cost.macs,
                flops=flops,
                percent_of_backbone=100 * flops / whole,
                params=sum(p.numel() for p in model.parameters()) if stage is None else None,
                stage=stage,
                activation_bytes=count.activation_bytes if stage is None else None,
            )
