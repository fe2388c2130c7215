"""Any network that takes images (B, 3, S, S)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgbench.flops.count import Count
from fgbench.flops.counter import count_flops
from fgbench.measure.points import ModelSpec
from fgbench.measure.subject import Subject, TakesImages
from fgbench.models.copies import copy_to
from fgbench.models.model import Model
from fgbench.models.reductions.build import reduced_name
from fgbench.plugins.code import foreign_code
from fgbench.plugins.kinds import models
from fgbench.results.image_size import ImageSize, height_width


class ModuleSubject(TakesImages):
    """A network that is there already; it is copied, and stays as it is.

    Args:
        module: The network. Its row names its class; that of a published model names its selector as well.
        image_size: Of the images, in pixels.
        images: Images (B, 3, S, S) to run it on, in place of noise.

    """

    kind, has_weights = "module", True

    def __init__(self, module: nn.Module, image_size: ImageSize, images: Tensor | None = None) -> None:
        self.module, self.images = module, images
        self.spec = _spec(module, image_size)

    def build(self, device: str) -> nn.Module:
        """Copy the network to a device, in float32."""
        return copy_to(self.module, device).eval()

    def count(self, batch_size: int, dtype: torch.dtype = torch.float32) -> Count:
        """Count a forward pass of a copy on the meta device."""
        module = self.build("meta").to(dtype)
        shape = (batch_size, 3, *height_width(self.spec.image_size))
        return count_flops(lambda: module(torch.empty(shape, dtype=dtype, device="meta")))

    def small(self) -> Subject | None:
        """None: a network's memory is that of its warm state."""
        return None


def _spec(module: nn.Module, image_size: ImageSize) -> ModelSpec:
    if not isinstance(module, Model):
        return ModelSpec(
            model=type(module).__name__,
            backbone="",
            selector=None,
            impl=None,
            image_size=image_size,
            num_classes=getattr(module, "num_classes", 0),
            foreign_code=foreign_code(type(module)),
        )
    own = [name for name, entry in models.entries().items() if entry.value.endswith(f":{type(module).__name__}")]
    return ModelSpec(
        model=reduced_name(own[0] if own else getattr(module, "name", type(module).__name__.lower()), module),
        backbone=str(module.options.get("backbone", "")),
        selector=module.selector_name,
        impl=module.impl if module.two_impls else None,
        image_size=image_size,
        num_classes=getattr(module, "num_classes", 0),
        foreign_code=foreign_code(
            type(module), type(module.selector), *module.built_by, structure=module.built_structure
        ),
    )
