"""The request of ``fgbench audit``: models with their weights, and the questions that they are asked. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fgbench.audit.questions import NAMES
from fgbench.errors import FgbenchError
from fgbench.options import (
    BACKBONE,
    CHECKPOINT,
    DEVICE,
    IMPLEMENTATION,
    MODEL_OPTIONS,
    NORM,
    NUM_CLASSES,
    OUTPUT_SECTION,
    PLUGINS,
    POSITION_INTERPOLATION,
    PRETRAINED,
    SIZE,
    WEIGHTS,
    WEIGHTS_SEED,
    ReadsCheckpoint,
    argument,
    many,
    one,
    some_of,
    whole,
)
from fgbench.results import paper
from fgbench.values import names

WHAT, READING, HOW = "Models", "Weights", "Questions"
MOST_PICTURES = 64

SUBJECTS = argument(
    "MODEL",
    "'fgbench list models', any of timm's, FILE.py:FUNCTION",
    several=True,
    read=lambda words: names(words, "model"),
)
QUESTIONS = many("--questions", ", ".join(NAMES), default="all", read=some_of("question", NAMES))
PICTURES = one(
    "--pictures", "drawn pictures that they are asked about", "N", read=whole("pictures", 8, MOST_PICTURES, 2)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest(ReadsCheckpoint):
    """Models, their weights, and the questions.

    Attributes:
        subjects: Names of models.
        backbone: timm's name; None: the published ones.
        impl: ``"published"`` or ``"fast"``.
        image_size: Side of the images in pixels.
        num_classes: Classes of the head.
        model_options: The models' own options.
        pretrained: Whether the backbone has timm's weights.
        checkpoint: A file of weights.
        weights: Of several sets in the checkpoint.
        position_interpolation: ``"bilinear"`` or ``"bicubic"``; None: as the authors of the file do.
        seed: Of weights that are drawn.
        norm: Of colours, which a checkpoint names.
        questions: Names; all by default.
        pictures: How many.
        device: ``"cuda"`` or ``"cpu"``; None: cuda where there is one.
        plugins: Plug-in files.

    """

    subjects: Annotated[Sequence[str], SUBJECTS]
    backbone: Annotated[str | None, BACKBONE.but(default="the published ones"), WHAT] = None
    impl: Annotated[str, IMPLEMENTATION, WHAT] = "fast"
    image_size: Annotated[int, SIZE, WHAT] = 224
    num_classes: Annotated[int, NUM_CLASSES, WHAT] = paper.NUM_CLASSES
    model_options: Annotated[Mapping[str, Any], MODEL_OPTIONS, WHAT] = field(default_factory=dict)
    pretrained: Annotated[bool, PRETRAINED, READING] = False
    checkpoint: Annotated[Path | None, CHECKPOINT.but(help="weights: ours, released, timm's, Google's"), READING] = None
    weights: Annotated[str | None, WEIGHTS, READING] = None
    position_interpolation: Annotated[str | None, POSITION_INTERPOLATION, READING] = None
    seed: Annotated[int, WEIGHTS_SEED, READING] = 0
    norm: Annotated[str | None, NORM, READING] = None
    questions: Annotated[Sequence[str], QUESTIONS, HOW] = NAMES
    pictures: Annotated[int, PICTURES, HOW] = 8
    device: Annotated[str | None, DEVICE, HOW] = None
    plugins: Annotated[Sequence[str], PLUGINS, OUTPUT_SECTION] = ()

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            FgbenchError: For two kinds of weights, options of a checkpoint without one, or one file for several models.

        """
        if self.pretrained and self.checkpoint is not None:
            raise FgbenchError("--pretrained and --checkpoint are both weights", do="leave one of them out")
        if self.checkpoint is not None and len(self.subjects) > 1:
            raise FgbenchError("one checkpoint is that of one model alone:", str(self.checkpoint), "name one model")
        self.check_reading()
