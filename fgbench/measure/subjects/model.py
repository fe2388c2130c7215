"""A published model, from its name."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fgbench.backbone_shape import cut_off_by
from fgbench.errors import FgbenchError
from fgbench.flops.count import Count
from fgbench.flops.count_models import count_model
from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import Subject, TakesImages
from fgbench.models.backbone import brought_by
from fgbench.models.build import create_model, model_class, model_options
from fgbench.models.model import Model
from fgbench.models.reductions.build import reduced_name
from fgbench.plugins.any_model import short_name
from fgbench.plugins.code import foreign_code
from fgbench.results.reduced_name import base_model


class ModelSubject(TakesImages):
    """A published model with random weights.

    Args:
        spec: The model with its options; see :func:`resolve` for its defaults.
        images: Images (B, 3, S, S) to run it on, in place of noise.

    """

    kind, has_weights = "model", True

    def __init__(self, spec: ModelSpec, images: Tensor | None = None) -> None:
        self.spec, self.images = spec, images

    def build(self, device: str) -> Model:
        """Build the model; its random weights are the same on every call and every device."""
        if torch.device(device).type == "meta":
            with torch.device(device):
                return build(self.spec).eval()
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(0)
            return build(self.spec).eval().to(device)

    def count(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Count:
        """Count a forward pass, with its stages."""
        return count_model(self._on_meta.to(dtype), self.spec.image_size, images=batch_size, dtype=dtype)

    def small(self) -> Subject | None:
        """None: a model's memory is that of its warm state."""
        return None

    @functools.cached_property
    def _on_meta(self) -> Model:
        return self.build("meta")


def build(spec: ModelSpec) -> Model:
    """Build the model of a spec, with random weights, on torch's default device.

    Raises:
        FgbenchError: For options that do not fit.

    """
    options: dict[str, Any] = {} if spec.impl is None else {"impl": spec.impl}
    if spec.selector is not None:
        if "selector" not in model_options(model_class(spec.model)):
            raise FgbenchError("this model has no selector:", spec.model, "leave --selectors out")
        options["selector"] = spec.selector
    backbone = spec.backbone or None
    return create_model(spec.model, backbone, img_size=spec.image_size, num_classes=spec.num_classes, **options)


def resolve(spec: ModelSpec) -> tuple[ModelSpec, int]:
    """Fill in the defaults of a spec.

    Args:
        spec: A model, with an empty backbone and without an implementation where the published ones are wanted.

    Returns:
        The spec as it is measured, and how many pixels of a side the model's patches leave out.

    Raises:
        FgbenchError: For options that do not fit.

    """
    model = ModelSubject(spec).build("meta")
    backbone = spec.backbone or type(model).default_backbone
    built_by = (type(model), type(model.selector), *model.built_by, *brought_by(backbone))
    resolved = replace(
        spec,
        model=reduced_name(base_model(short_name(spec.model)), model),
        backbone=backbone,
        selector=model.selector_name,
        impl=(spec.impl or model.impl) if model.two_impls else None,
        foreign_code=foreign_code(*built_by, structure=model.built_structure),
    )
    return resolved, cut_off_by(model)
