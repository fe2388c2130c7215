"""What ``fgbench visualize`` is asked for. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VIEWS = ("centre", "whole")
NORMS = ("imagenet", "half")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualizeRequest:
    """Pictures, and who looks at them how."""

    images: Sequence[str]  # paths
    models: Sequence[str] = ("vit",)
    backbones: Sequence[str | None] = (None,)  # timm's names; None: the model's own default
    selectors: Sequence[str] | None = None  # None: all on a plain backbone, none beside a model's own selection
    impl: str = "fast"
    image_size: int = 224  # side of the network's square input, pixels
    view: str = "centre"  # of VIEWS: the centre of the resized picture, as models are tested, or all of it
    norm: str | None = None  # of NORMS; None: what the weights were trained with, where that is known
    top_k: int | None = None  # patches to crop around; None: 8 at 224 pixels and in proportion, as GLSim crops
    rule: str = "enclosing"  # of fgbench_selectors.regions.RULES
    pretrained: bool = False
    checkpoint: Path | None = None
    position_interpolation: str | None = None  # bilinear or bicubic; None: as the authors of the file do
    weights: str | None = None  # of several sets in the checkpoint: raw, ema or a key; None: see load_checkpoint
    model_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0  # of weights that are drawn
    device: str | None = None  # cuda or cpu; None: cuda where there is one
    plugins: Sequence[str] = ()

    @property
    def reading(self) -> dict[str, str | None]:
        """How the checkpoint is read, as :func:`fgbench.load_checkpoint` takes it."""
        return {"weights": self.weights, "interpolation": self.position_interpolation}
