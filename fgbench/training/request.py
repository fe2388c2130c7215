"""What to train and test, as it was asked for. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEVICES = ("cuda", "cpu")
PRECISIONS = ("no", "fp16", "bf16")
TRACKERS = ("wandb", "tensorboard", "mlflow")
# Options of models that the command has options of its own for.
GIVEN_BY_COMMAND = frozenset({"img_size", "num_classes", "impl", "pretrained", "selector"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRequest:
    """A request; None stands for what the data set or the paper says."""

    models: Sequence[str] = ("glsim",)
    dataset: str = "synthetic"
    data_dir: Path | None = None
    dataset_options: Mapping[str, str] = field(default_factory=dict)
    read_all: bool = False  # open every image before training begins
    backbone: str | None = None
    selectors: Sequence[str] | None = None  # in place of the published ones
    impl: str = "fast"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    image_sizes: Sequence[int] | None = None
    pretrained: bool = False
    checkpoint: Path | None = None  # to begin from, or to test
    position_interpolation: str | None = None  # bilinear or bicubic; None: as the authors of the file do
    weights: str | None = None  # of several sets in the checkpoint: raw, ema or a key; None: see load_checkpoint
    test_only: bool = False
    flip: bool = False
    lrs: Sequence[float] | None = None  # several are searched
    search_epochs: int | None = None  # as many as training has by default
    seeds: Sequence[int] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)  # fields of the recipe that were asked for
    device: str | None = None
    threads: int | None = None
    workers: int | None = None
    test_every: int = 1
    test_batch_size: int = 64
    tracker: str | None = None
    checkpoints: Path = Path("fgbench-checkpoints")
    again: bool = False
    plugins: Sequence[str] = ()

    @property
    def reading(self) -> dict[str, str | None]:
        """How the checkpoint is read, as :func:`fgbench.load_checkpoint` takes it."""
        return {"weights": self.weights, "interpolation": self.position_interpolation}

    @property
    def begun_from(self) -> str:
        """What weights training begins from."""
        if self.checkpoint is None:
            return "pretrained" if self.pretrained else "random"
        return self.checkpoint.name + (f" ({self.weights})" if self.weights else "")
