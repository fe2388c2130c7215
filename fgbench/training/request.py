"""The request of ``fgbench accuracy``: what to train and test, and how. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fgbench.errors import FgbenchError
from fgbench.options import (
    AGAIN,
    BACKBONE,
    CHECKPOINT,
    DEVICE,
    FROM_SCRATCH,
    IMPLEMENTATION,
    MAX_SEED,
    MODEL_OPTIONS,
    MODELS,
    OUTPUT_SECTION,
    PLUGINS,
    POSITION_INTERPOLATION,
    PRETRAINED,
    SELECTORS,
    SIZES,
    THREADS,
    WEIGHTS,
    ReadsCheckpoint,
    many,
    one,
    one_of,
    real,
    real_paths,
    switch,
    whole,
)
from fgbench.results.recipe import AUGREG
from fgbench.values import key_values, names, real_number, whole_number

PRECISIONS = ("no", "fp16", "bf16")
TRACKERS = ("wandb", "tensorboard", "mlflow")
MAX_EPOCHS, MAX_BATCH, MAX_WORKERS = 100_000, 1_000_000, 1024
# Options of models that the command has options of its own for.
GIVEN_BY_COMMAND = frozenset({"img_size", "num_classes", "impl", "pretrained", "selector"})
DATA, MODEL, START, TRAINING = "Data", "Model", "Weights", "Training"
MACHINE, TEST = "Machine", "Testing"


def numbers(read: Callable[[str], Any], kind: str, words: Sequence[str]) -> list[Any]:
    """Numbers in their order, each once; ``0.1`` and ``1e-1`` are one."""
    return list(dict.fromkeys(read(word) for word in names(words, kind)))


_epochs = whole("number of epochs", 50, MAX_EPOCHS)
_rate = partial(real_number, what="learning rate", example=0.01, largest=1e38)
SEED = partial(whole_number, what="seed", example=1, largest=MAX_SEED, smallest=0)

DATASET = one("--dataset", "'fgbench list datasets', or hfds/…, tfds/…, wds/… by timm's readers")
DATASET_OPTIONS = many(
    "--dataset-options",
    "such as classes=20",
    "KEY=VALUE…",
    read=partial(key_values, flag="--dataset-options", example="classes=20"),
)
EPOCHS = one("--epochs", "of training", "N", default="50; CAL 160; few for synthetic", read=_epochs)
LRS = many(
    "--lr",
    "several are searched",
    "RATE…",
    default="0.03 0.01 0.003 0.001; one for synthetic",
    read=partial(numbers, _rate, "learning rate"),
)
SEARCH_EPOCHS = one(
    "--search-epochs",
    "of the search",
    "N",
    default="as --epochs",
    read=whole("number of epochs", 10, MAX_EPOCHS),
)
SEEDS = many(
    "--seeds",
    "of training",
    "N…",
    default="1 10 100; 1 10 beyond 50,000 images; one for synthetic",
    read=partial(numbers, SEED, "seed"),
)
AUGREG_LEVEL = one(
    "--augreg",
    "minimal, weak, medium, strong",
    default="strong",
    read=one_of("AugReg level", tuple(AUGREG)),
)
BATCH_SIZE = one(
    "--batch-size", "images per step, of all processes", "N", default="8", read=whole("batch size", 8, MAX_BATCH)
)
ACCUMULATE = one("--accumulate", "backward passes per step", "N", read=whole("--accumulate", 2, MAX_BATCH))
OPTIMIZER = one("--optimizer", "timm's name", default="momentum, which is SGD")
WEIGHT_DECAY = one("--weight-decay", "of weights", "RATE", default="0; CAL 1e-5", read=real("weight decay", 1e-5, 1))
WARMUP_STEPS = one(
    "--warmup-steps",
    "in which the learning rate rises",
    "N",
    default="500; CAL 1500",
    read=whole("warm-up steps", 500, MAX_BATCH, smallest=0),
)
MIXED_PRECISION = one(
    "--mixed-precision", "no, fp16, bf16", default="fp16; on a CPU no", read=one_of("precision", PRECISIONS)
)
WORKERS = one(
    "--workers", "processes that read images", "N", read=whole("number of workers", 4, MAX_WORKERS, smallest=0)
)
TEST_EVERY = one(
    "--test-every", "epochs; the last one is always tested", "N", read=whole("--test-every", 5, MAX_EPOCHS)
)
TEST_BATCH_SIZE = one("--test-batch-size", "images", "N", read=whole("batch size", 64, MAX_BATCH))
TRACKER = one("--tracker", "wandb, tensorboard or mlflow", read=one_of("tracker", TRACKERS))
CHECKPOINTS = one("--checkpoints", "where weights are kept", "DIR", read=Path)

PATHS = ("data_dir", "checkpoint", "checkpoints")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRequest(ReadsCheckpoint):
    """What to train and test; None stands for what the data set or the paper says.

    Attributes:
        models: Names.
        backbone: timm's name.
        selectors: Names, in place of the published ones.
        impl: ``"published"`` or ``"fast"``.
        model_options: The model's own options.
        image_sizes: Sides in pixels.
        dataset: Name of the data set.
        data_dir: The folder where it lies.
        dataset_options: The data set's own options.
        read_all: Whether every image is opened before training begins.
        pretrained: Whether training begins from timm's weights.
        from_scratch: Whether models on the shipped backbone begin from random weights too, instead of its own.
        checkpoint: A file of weights to begin from, or to test.
        weights: Of several sets in the checkpoint: raw, ema or a key; None: see :func:`fgbench.load_checkpoint`.
        position_interpolation: ``"bilinear"`` or ``"bicubic"``; None: as the authors of the file do.
        lrs: Learning rates; several are searched.
        search_epochs: Epochs of the search; None: as many as training has by default.
        seeds: Seeds of training.
        recipe: Fields of the recipe that were asked for, as :class:`RecipeOptions` has them.
        device: ``"cuda"`` or ``"cpu"``; None: cuda where there is one.
        threads: Of a CPU.
        workers: Processes that read images.
        test_only: Whether the checkpoint is tested, and nothing trained.
        flip: Whether the mirror image is tested too, and its logits added.
        test_every: Epochs between tests.
        test_batch_size: Images.
        tracker: Where curves are sent.
        checkpoints: The folder where weights are kept.
        again: Whether runs in the store are trained once more.
        plugins: Plug-in files.

    """

    models: Annotated[Sequence[str], MODELS.but(default="glsim"), MODEL] = ("glsim",)
    backbone: Annotated[
        str | None, BACKBONE.but(default="ViT-B/16; for synthetic and emoji the shipped one, with its weights"), MODEL
    ] = None
    selectors: Annotated[Sequence[str] | None, SELECTORS, MODEL] = None
    impl: Annotated[str, IMPLEMENTATION, MODEL] = "fast"
    model_options: Annotated[Mapping[str, Any], MODEL_OPTIONS, MODEL] = field(default_factory=dict)
    image_sizes: Annotated[Sequence[int] | None, SIZES.but(default="224; small for synthetic"), MODEL] = None
    dataset: Annotated[str, DATASET, DATA] = "synthetic"
    data_dir: Annotated[Path | None, one("--data-dir", "where the data set lies", "DIR", read=Path), DATA] = None
    dataset_options: Annotated[Mapping[str, str], DATASET_OPTIONS, DATA] = field(default_factory=dict)
    read_all: Annotated[
        bool, switch("--read-all", "open every image before training, and list what is broken"), DATA
    ] = False
    pretrained: Annotated[bool, PRETRAINED.but(help="begin from timm's weights"), START] = False
    from_scratch: Annotated[bool, FROM_SCRATCH, START] = False
    checkpoint: Annotated[Path | None, CHECKPOINT.but(help="weights to begin from, or to test"), START] = None
    weights: Annotated[str | None, WEIGHTS, START] = None
    position_interpolation: Annotated[str | None, POSITION_INTERPOLATION, START] = None
    lrs: Annotated[Sequence[float] | None, LRS, TRAINING] = None
    search_epochs: Annotated[int | None, SEARCH_EPOCHS, TRAINING] = None
    seeds: Annotated[Sequence[int] | None, SEEDS, TRAINING] = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    device: Annotated[str | None, DEVICE, MACHINE] = None
    threads: Annotated[int | None, THREADS, MACHINE] = None
    workers: Annotated[int | None, WORKERS, MACHINE] = None
    test_only: Annotated[bool, switch("--test-only", "train nothing, test --checkpoint"), TEST] = False
    flip: Annotated[bool, switch("--flip", "test the mirror image too, and add the logits"), TEST] = False
    test_every: Annotated[int, TEST_EVERY, TEST] = 1
    test_batch_size: Annotated[int, TEST_BATCH_SIZE, TEST] = 64
    tracker: Annotated[str | None, TRACKER, OUTPUT_SECTION] = None
    checkpoints: Annotated[Path, CHECKPOINTS, OUTPUT_SECTION] = Path("fgbench-checkpoints")
    again: Annotated[bool, AGAIN.but(help="train what is in the store once more"), OUTPUT_SECTION] = False
    plugins: Annotated[Sequence[str], PLUGINS.but(read=real_paths), OUTPUT_SECTION] = ()

    @property
    def begins_shipped(self) -> bool:
        """Whether models on the shipped backbone begin from its weights."""
        return not self.from_scratch and self.checkpoint is None

    @property
    def begun_from(self) -> str:
        """What weights training begins from, but for models that begin from the shipped ones."""
        if self.checkpoint is None:
            return "pretrained" if self.pretrained else "random"
        return self.checkpoint.name + (f" ({self.weights})" if self.weights else "")

    def message(self) -> dict[str, Any]:
        """The request as JSON has it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> AccuracyRequest:
        """The request out of :meth:`message`."""
        paths = {name: Path(message[name]) for name in PATHS if message[name] is not None}
        return cls(**{**message, **paths})

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            FgbenchError: For a test without a file, options of a file without one, and a folder of drawn data.

        """
        if self.test_only and self.checkpoint is None:
            raise FgbenchError("--test-only tests a file", do="say which with --checkpoint FILE")
        if self.from_scratch and (self.pretrained or self.checkpoint is not None):
            flag = "--pretrained" if self.pretrained else "--checkpoint"
            raise FgbenchError(f"--from-scratch begins from random weights, not from those of {flag}; leave one out")
        self.check_reading()
        if self.data_dir is not None and self.dataset == "synthetic":
            do = "name the data set that lies there: --dataset folder, 'fgbench list datasets'"
            raise FgbenchError("synthetic is drawn, nothing is read from --data-dir", str(self.data_dir), do)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """Fields of the recipe; None stands for what the data set or the paper says."""

    epochs: Annotated[int | None, EPOCHS, TRAINING] = None
    batch_size: Annotated[int | None, BATCH_SIZE, TRAINING] = None
    accumulate: Annotated[int | None, ACCUMULATE, TRAINING] = None
    optimizer: Annotated[str | None, OPTIMIZER, TRAINING] = None
    weight_decay: Annotated[float | None, WEIGHT_DECAY, TRAINING] = None
    warmup_steps: Annotated[int | None, WARMUP_STEPS, TRAINING] = None
    augreg: Annotated[str | None, AUGREG_LEVEL, TRAINING] = None
    mixed_precision: Annotated[str | None, MIXED_PRECISION, TRAINING] = None

    @property
    def asked_for(self) -> dict[str, Any]:
        """The fields that were asked for, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
