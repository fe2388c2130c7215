"""The request of ``fgbench export-model``: a model with its weights, and the file that it is written to. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fgbench.errors import FgbenchError
from fgbench.options import (
    BACKBONE,
    CHECKPOINT,
    IMPLEMENTATION,
    MODEL_OPTIONS,
    NORM,
    NUM_CLASSES,
    OUTPUT,
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
)
from fgbench.results import paper

SUFFIX = ".onnx"
WHAT, READING = "Model", "Weights"

LABELS = one("--labels", "names of the classes, one a line", "FILE", read=Path, default="those of the checkpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportModelRequest(ReadsCheckpoint):
    """A model, its weights and its file.

    Attributes:
        subject: Its name.
        backbone: timm's name; None: the published one.
        selector: In place of the published one.
        impl: ``"published"`` or ``"fast"``.
        image_size: Side of its images in pixels.
        num_classes: Classes of the head; those of the checkpoint where there is one.
        model_options: The model's own options.
        pretrained: Whether the backbone has timm's weights.
        checkpoint: A file of weights.
        weights: Of several sets in the checkpoint.
        position_interpolation: ``"bilinear"`` or ``"bicubic"``; None: as the authors of the file do.
        seed: Of weights that are drawn.
        norm: Of colours; None: what the weights were trained with, where that is known.
        labels: A file with the names of the classes.
        output: The ONNX file.
        plugins: Plug-in files.

    """

    subject: Annotated[str, argument("MODEL", "'fgbench list models', any of timm's, FILE.py:FUNCTION")]
    backbone: Annotated[str | None, BACKBONE.but(default="the published one"), WHAT] = None
    selector: Annotated[str | None, SELECTORS.of_one(read=str), WHAT] = None
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
    labels: Annotated[Path | None, LABELS, READING] = None
    output: Annotated[Path | None, OUTPUT.but(help="the ONNX file", default="MODEL.onnx"), OUTPUT_SECTION] = None
    plugins: Annotated[Sequence[str], PLUGINS, OUTPUT_SECTION] = ()

    @property
    def path(self) -> Path:
        """The ONNX file."""
        stem = Path(self.subject.rpartition(":")[2]).name
        return self.output or Path(f"{stem}{SUFFIX}")

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            FgbenchError: For two kinds of weights, options of a checkpoint without one, or another kind of file.

        """
        if self.pretrained and self.checkpoint is not None:
            raise FgbenchError("--pretrained and --checkpoint are both weights", do="leave one of them out")
        if self.path.suffix.lower() != SUFFIX:
            raise FgbenchError("an exported model is an ONNX file, and this is none:", str(self.path), "end in .onnx")
        self.check_reading()
