"""The request of ``fgbench visualize``: images, and the models that explain their decisions. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fgbench.errors import FgbenchError
from fgbench.options import (
    BACKBONES,
    CHECKPOINT,
    DEVICE,
    FROM_SCRATCH,
    IMPLEMENTATION,
    MODEL_OPTIONS,
    MODELS,
    NORM,
    OUTPUT_SECTION,
    PLUGINS,
    POSITION_INTERPOLATION,
    PRETRAINED,
    SELECTORS,
    SIZE,
    WEIGHTS,
    WEIGHTS_SEED,
    ReadsCheckpoint,
    argument,
    one,
    one_of,
    whole,
)
from fgbench_selectors.entries import RULES

VIEWS = ("centre", "whole")
MAX_PATCHES = 10_000_000
SIDE = 224  # pixels, where no size is named

IMAGES = argument("IMAGE", "any files that Pillow reads", several=True, read=lambda words: list(dict.fromkeys(words)))
VIEW = one("--view", "centre, as models are tested, or whole", read=one_of("view", VIEWS))
TOP_K = one(
    "--top-k", "patches that a crop holds", "N", default="8 at 224, 16 at 448", read=whole("top-k", 8, MAX_PATCHES)
)
RULE = one("--rule", "of crops: enclosing or released", read=one_of("rule", RULES))
WHAT, READING, HOW = "Models and selectors", "Weights", "Input and crops"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualizeRequest(ReadsCheckpoint):
    """Images, and the models that explain their decisions.

    Attributes:
        images: Paths.
        models: Names.
        backbones: timm's names; None: without weights that are named, the shipped backbone for every model that takes
            it, else the model's own default.
        selectors: Names; None: all on a plain backbone, none beside a model's own selection.
        impl: ``"published"`` or ``"fast"``.
        model_options: The model's own options.
        pretrained: Whether the backbone has timm's weights.
        from_scratch: Whether the shipped backbone has random weights, too, instead of its own.
        checkpoint: A file of weights.
        weights: Of several sets in the checkpoint: raw, ema or a key; None: see :func:`fgbench.load_checkpoint`.
        position_interpolation: ``"bilinear"`` or ``"bicubic"``; None: as the authors of the file do.
        seed: Of weights that are drawn.
        image_size: Side of the network's square input in pixels; None: see :attr:`side`.
        view: The centre of the resized image, as models are tested, or all of it.
        norm: Of colours; None: what the weights were trained with, where that is known.
        top_k: Patches to crop around; None: 8 at 224 pixels and in proportion, as GLSim crops.
        rule: How a crop is made around patches.
        device: ``"cuda"`` or ``"cpu"``; None: cuda where there is one.
        plugins: Plug-in files.

    """

    images: Annotated[Sequence[str], IMAGES]
    models: Annotated[
        Sequence[str],
        MODELS.but(help="vit: selectors on a plain backbone; others: their own selection", default="vit"),
        WHAT,
    ] = ("vit",)
    backbones: Annotated[
        Sequence[str | None],
        BACKBONES.but(default="the shipped one, with its weights; ViT-B/16 with other weights"),
        WHAT,
    ] = (None,)
    selectors: Annotated[
        Sequence[str] | None,
        SELECTORS.but(help="names of selectors", default="all; with a model that selects by itself, its own alone"),
        WHAT,
    ] = None
    impl: Annotated[str, IMPLEMENTATION.but(help="published or fast: the same scores"), WHAT] = "fast"
    model_options: Annotated[Mapping[str, Any], MODEL_OPTIONS.but(help="such as overlap=4"), WHAT] = field(
        default_factory=dict
    )
    pretrained: Annotated[bool, PRETRAINED, READING] = False
    from_scratch: Annotated[bool, FROM_SCRATCH, READING] = False
    checkpoint: Annotated[Path | None, CHECKPOINT.but(help="weights: ours, released, timm's, Google's"), READING] = None
    weights: Annotated[str | None, WEIGHTS, READING] = None
    position_interpolation: Annotated[str | None, POSITION_INTERPOLATION, READING] = None
    seed: Annotated[int, WEIGHTS_SEED, READING] = 0
    image_size: Annotated[int | None, SIZE.but(default="224; 96 on the shipped backbone"), HOW] = None
    view: Annotated[str, VIEW, HOW] = "centre"
    norm: Annotated[str | None, NORM, HOW] = None
    top_k: Annotated[int | None, TOP_K, HOW] = None
    rule: Annotated[str, RULE, HOW] = "enclosing"
    device: Annotated[str | None, DEVICE, HOW] = None
    plugins: Annotated[Sequence[str], PLUGINS, OUTPUT_SECTION] = ()

    @property
    def side(self) -> int:
        """Side of the network's square input in pixels; a request without one gets it when its models are known."""
        return self.image_size or SIDE

    @property
    def begins_shipped(self) -> bool:
        """Whether the shipped backbone has its own weights."""
        return not self.from_scratch and self.checkpoint is None

    @property
    def num_pictures(self) -> int:
        """How many images are explained, over all models."""
        return len(self.images) * len(self.models) * len(self.backbones)

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            FgbenchError: For two kinds of weights, options of a checkpoint without one, or a file among selectors.

        """
        for name in self.selectors or ():
            if Path(name).suffix and os.path.isfile(name):  # noqa: PTH113  # never raises
                raise FgbenchError("a file was named as a selector:", name, "pictures come before the options")
        if self.pretrained and self.checkpoint is not None:
            raise FgbenchError("--pretrained and --checkpoint are both weights", do="leave one of them out")
        if self.from_scratch and (self.pretrained or self.checkpoint is not None):
            flag = "--pretrained" if self.pretrained else "--checkpoint"
            raise FgbenchError(f"--from-scratch means random weights, not those of {flag}; leave one of them out")
        self.check_reading()
