"""Commands that measure the rows that a report lacks, for the models, sizes, backbones and devices of given rows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgbench.results.image_size import ImageSize
from fgbench.results.paper import MODEL_SELECTORS, NUM_CLASSES, published_backbones
from fgbench.results.recipe import RECIPE_FIELDS
from fgbench.results.records import AccuracyRow, FlopsRow, ThroughputRow
from fgbench.results.shipped import BEGUN_FROM, is_shipped
from fgbench_reports.data import KINDS
from fgbench_reports.paper.names import DATASETS, MODELS
from fgbench_reports.sweep_rows import TORCH, as_text

MOST = 12  # models or sizes of a command; more are left to its defaults
MOST_COMMANDS = 4  # one after the other
RANDOM = "random"  # begun from no weights
# Options that tell one training from another, as rows of accuracy and their recipes name them.
TRAINED_WITH = tuple(
    "lr epochs batch_size accumulate optimizer weight_decay warmup_steps augreg mixed_precision".split()
)
MODES = {
    **{"compiled": "--compile", "channels_last": "--channels-last", "cuda_graph": "--cuda-graph"},
    **{"training": "--train"},
}
LOADS = {"concurrency": ("--concurrency", ""), "rate_per_s": ("--rate", "/s")}  # option, unit


def sweep_command(rows: Sequence[ThroughputRow], *more: str, device: str | None = None) -> str:
    """The ``fgbench throughput`` that measures the points of these rows; with defaults where there are no rows.

    Args:
        rows: Rows of throughput.
        more: Further options: ``--again``.
        device: Another device than theirs.

    """
    return "; ".join(_sweep(some, more, device) for some in _by_backbone(rows))


def _sweep(rows: Sequence[ThroughputRow], more: Sequence[str], device: str | None) -> str:
    words = [KINDS["throughput"], *_names("--model", _values(rows, "model"))]
    if rows:
        words += _names("--sizes", sorted(_values(rows, "image_size")))
        words += _names("--batch-sizes", sorted(_values(rows, "batch_size")))
        words += _names("--impl", _values(rows, "impl"))
        words += _names("--dtype", _values(rows, "dtype"))
        engines = _values(rows, "engine")
        words += [] if set(engines) <= {TORCH} else _names("--engine", engines)
        words += [*_backbones(rows, "--backbones"), *_selectors(rows)]
    devices = [device] if device else _values(rows, "device")
    words += ["--device", devices[0]] if len(devices) == 1 else []
    words += [option for field, option in MODES.items() if rows and all(_has_mode(row, field) for row in rows)]
    for field, (option, unit) in LOADS.items():
        loads = sorted({load for row in rows if (load := row.environment.get(field))})
        words += [f"{option} {' '.join(f'{load:g}{unit}' for load in loads)}"] if loads else []
    return " ".join([*words, *more])


def with_plugins(command: str, files: Sequence[str]) -> str:
    """Commands of fgbench, which need plug-in files for what they name.

    Args:
        command: One command, or several with a semicolon between them.
        files: The files; without any the command stays as it is.

    """
    option = " ".join(["", "--plugin", *map(word, files)]) if files else ""
    commands = re.split(r"; (?=fgbench )", command)
    return "; ".join(f"{one}{option}" if one.startswith("fgbench ") else one for one in commands)


def sweep_options(row: ThroughputRow) -> tuple[str, ...]:
    """The options of ``fgbench throughput`` that measure a point as this one was, beside model, size and batch."""
    environment = row.environment or {}
    words = [] if _is_usual(row) else [f"--backbones {word(row.backbone)}"]
    words += [f"--impl {row.impl}"] if row.impl not in (None, "fast") else []
    words += [f"--engine {word(row.engine)}"] if row.engine != TORCH else []
    words += [f"--device {row.device}"] if row.device == "cpu" else []
    words += [f"--dtype {row.dtype}"] if row.dtype != "float32" else []
    words += [option for field, option in MODES.items() if _has_mode(row, field)]
    for option, value, usual in (
        ("--threads", environment.get("threads") if row.device == "cpu" else None, None),
        ("--num-classes", environment.get("num_classes"), NUM_CLASSES),
        ("--selectors", row.selector, MODEL_SELECTORS.get(row.model)),
    ):
        words += [f"{option} {word(value)}"] if value not in (None, usual) else []
    loads = ((*told, environment.get(field)) for field, told in LOADS.items())
    return (*words, *(f"{option} {load:g}{unit}" for option, unit, load in loads if load))


def _has_mode(row: ThroughputRow, field: str) -> bool:
    return bool(row.compiled if field == "compiled" else (row.environment or {}).get(field))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A training or a test that a command is asked for.

    Attributes:
        model: The name of the model.
        selector: Its selector; None for a model without one.
        backbone: timm's name; None where it is unknown.
        image_size: Pixels.
        dataset: The name of the data set; None for the one that the command takes where none is named.
        seed: The seed; None where none has to be named.
        training: The options that it was trained with, or the file that is tested.

    """

    model: str
    selector: str | None
    backbone: str | None
    image_size: ImageSize
    dataset: str | None = None
    seed: int | None = None
    training: tuple[str, ...] = ()


def wanted(row: ThroughputRow | AccuracyRow, *, dataset: str | None = None, training: tuple[str, ...] = ()) -> Wanted:
    """The training of a row of accuracy as it was; of a row of throughput one on a data set, with some options."""
    seed = None
    if isinstance(row, AccuracyRow):
        dataset, seed, training = dataset or row.dataset, row.seed, _options_of(row)
    return Wanted(
        model=row.model,
        selector=row.selector,
        backbone=row.backbone,
        image_size=row.image_size,
        dataset=dataset,
        seed=seed,
        training=training,
    )


def accuracy_command(rows: Sequence[ThroughputRow | AccuracyRow], *more: str) -> str:
    """The ``fgbench accuracy`` that trains the models of these rows at their sizes, or tests their files.

    Rows of accuracy are trained as they were: what differs from them is a training of its own.

    Args:
        rows: Rows of throughput or of accuracy.
        more: Further options: ``--quality``.

    """
    commands = accuracy_commands([wanted(row) for row in rows], *more)
    return "; ".join(commands[:MOST_COMMANDS]) or " ".join([KINDS["accuracy"], *more])


def accuracy_commands(trainings: Sequence[Wanted], *more: str) -> list[str]:
    """One ``fgbench accuracy`` per data set, backbone, selector and training that have to be named."""
    groups: dict[tuple[str | None, str | None, str | None, tuple[str, ...]], list[Wanted]] = {}
    for one in trainings:
        # Other data sets than the paper's can have a backbone of their own where none is named.
        named_apart = one.dataset not in DATASETS and not _is_its_own(one)
        backbone = one.backbone if named_apart or not _is_usual(one) else None
        selector = one.selector if one.selector not in (None, MODEL_SELECTORS.get(one.model)) else None
        groups.setdefault((one.dataset, backbone, selector, one.training), []).append(one)
    return [_accuracy(some, *named, more=more) for named, some in groups.items()]


def _accuracy(
    trainings: Sequence[Wanted],
    dataset: str | None,
    backbone: str | None,
    selector: str | None,
    training: tuple[str, ...],
    *,
    more: Sequence[str],
) -> str:
    words = [KINDS["accuracy"], *_names("--model", _values(trainings, "model"))]
    words += _names("--sizes", sorted(_values(trainings, "image_size")))
    for option, value in (("--backbone", backbone), ("--selectors", selector), ("--dataset", dataset)):
        words += [] if value is None else _names(option, [value])
    words += ["--data-dir DIR"] if dataset in DATASETS else []
    words += [*training, *_names("--seeds", _values(trainings, "seed"))]
    return " ".join([*words, *more])


def _options_of(row: AccuracyRow) -> tuple[str, ...]:
    """The options that a row of accuracy was trained with, or the file that it is of."""
    if row.lr is None:
        return training_options(None, row.recipe, row.checkpoint, weights=row.weights, flip=row.flip)
    return training_options(row.lr, row.recipe, row.begun_from, backbone=row.backbone, flip=row.flip)


def training_options(
    lr: float | None,
    recipe: Mapping[str, Any] | None,
    begun_from: str | None,
    *,
    backbone: str | None = None,
    weights: str | None = None,
    flip: bool = False,
) -> tuple[str, ...]:
    """The options of ``fgbench accuracy`` that repeat a training, or a test.

    Args:
        lr: The learning rate; None where nothing was trained.
        recipe: The other settings of the training.
        begun_from: The file of the weights, with the set of them in parentheses; ``pretrained``; ``shipped``; None for
            random ones.
        backbone: timm's name; the shipped backbone begins from its own weights unless another start is asked for.
        weights: The set of weights that was read, where ``begun_from`` does not say it.
        flip: Whether the mirror image was tested too.

    """
    told = {"lr": lr, **(recipe or {})}
    file = begun_from or RANDOM
    if lr is not None:
        file, _, weights = file.removesuffix(")").partition(" (")
    words = ["--test-only"] if lr is None else []
    if file == RANDOM:
        words += ["--from-scratch"] if lr is not None and is_shipped(backbone) else []
    elif file != BEGUN_FROM:
        words += ["--pretrained"] if file == "pretrained" else [f"--checkpoint {word(file)}"]
    words += [f"--weights {word(weights)}"] if weights else []
    words += [f"--{name.replace('_', '-')} {word(told[name])}" for name in TRAINED_WITH if told.get(name) is not None]
    options = [word(f"{name}={value}") for name, value in told.items() if name not in (*TRAINED_WITH, *RECIPE_FIELDS)]
    words += ["--model-options", *options] if options else []
    return (*words, *(["--flip"] if flip else []))


def flops_command(rows: Sequence[FlopsRow], convention: str) -> str:
    """The ``fgbench flops`` that counts selections of these rows in a convention.

    Args:
        rows: Rows of flops of selections.
        convention: The one that is missing.

    """
    words = [KINDS["flops"]] if not rows else ["fgbench flops --convention", convention]
    words += _names("--sizes", sorted(_values(rows, "image_size")))
    words += _names("--backbones", _values(rows, "backbone"))
    words += _names("--selectors", _values(rows, "selector"))
    strides = {(row.environment or {}).get("patch_stride") for row in rows}
    classes = {(row.environment or {}).get("num_classes") for row in rows}
    for option, values in (("--patch-stride", strides), ("--num-classes", classes)):
        words += [option, str(*values)] if len(values) == 1 and None not in values else []
    return " ".join(words)


def _by_backbone(rows: Sequence[ThroughputRow]) -> list[list[ThroughputRow]]:
    """Rows that one command can measure: a backbone that is named is that of all its models."""
    groups: dict[str | None, list[ThroughputRow]] = {}
    for row in rows:
        groups.setdefault(None if _is_usual(row) else row.backbone, []).append(row)
    return list(groups.values())[:MOST_COMMANDS] or [[]]


def _is_usual(row: ThroughputRow | Wanted) -> bool:
    """Whether a model is on the backbone that it takes where none is named; any other network is its own."""
    return row.backbone in (None, row.model, row.model.removeprefix("timm/"), published_backbones(row.model)[0])


def _is_its_own(row: Wanted) -> bool:
    """Whether a network is of timm or of a function, and has no backbone besides itself."""
    return row.model not in MODELS and row.backbone in (None, row.model, row.model.removeprefix("timm/"))


def _values(rows: Iterable[object], field: str) -> list[Any]:
    """What a field holds, each once, without what is missing."""
    return [value for value in dict.fromkeys(getattr(row, field) for row in rows) if value is not None]


def word(value: object) -> str:
    """A value as it is typed."""
    return shlex.quote(as_text(value))


def _names(option: str, values: Sequence[Any]) -> list[str]:
    """An option with its values; none where there are no values, or more than :data:`MOST`."""
    return [option, *map(word, values)] if 0 < len(values) <= MOST else []


def _backbones(rows: Sequence[ThroughputRow], option: str) -> list[str]:
    """The backbones of these rows; none where every model is on the one that it takes where none is named."""
    return [] if all(map(_is_usual, rows)) else _names(option, _values(rows, "backbone"))


def _selectors(rows: Sequence[ThroughputRow]) -> list[str]:
    """The selectors of these rows; none where every model has the one that it was published with."""
    usual = all(row.selector in (None, MODEL_SELECTORS.get(row.model)) for row in rows)
    return [] if usual else _names("--selectors", _values(rows, "selector"))
