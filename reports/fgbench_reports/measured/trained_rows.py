"""The rows of one training, of all kinds: which runs, models and selectors stand in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fgbench.results.recipe import RECIPE_FIELDS
from fgbench.results.records import AccuracyRow, FlopsRow, PredictionsRow, QualityRow, ThroughputRow
from fgbench_reports.data import Data, group_by
from fgbench_reports.sweep_rows import by_environment, mode_name
from fgbench_reports.training_groups import is_of_training

BASELINE = "vit"
MAX_PREFIX_TOKENS = 5  # of a backbone: a class token and four registers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRows:
    """The rows of one training by kind.

    Attributes:
        dataset: The name of the data set.
        image_size: Pixels.
        runs: Single runs; means over seeds are made again from them.
        quality: Quality of selectors on the trained models.
        flops: Counted work of the models, under the names of their lines.
        throughput: Rows of one environment.
        predictions: Of the runs, per image, as far as they were kept.

    """

    dataset: str
    image_size: int
    runs: Sequence[AccuracyRow]
    quality: Sequence[QualityRow] = ()
    flops: Sequence[FlopsRow] = ()
    throughput: Sequence[ThroughputRow] = ()
    predictions: Sequence[PredictionsRow] = ()


def run_name(row: AccuracyRow) -> str:
    """The model; the plain one with overlapping patches is a line of its own."""
    return f"{row.model}, patches overlap" if (row.recipe or {}).get("overlap") else row.model


def tested_file(row: AccuracyRow) -> str | None:
    """The file of a run that was only tested: each is its own, and no seed of another."""
    return row.checkpoint if row.seed is None else None


def model_options(row: AccuracyRow) -> str | None:
    """The options of the model that a run was given, in words; overlapping patches are in its name."""
    given = {name: value for name, value in (row.recipe or {}).items() if name not in RECIPE_FIELDS}
    given.pop("overlap", None)
    return ", ".join(f"{name}={value}" for name, value in sorted(given.items())) or None


# Fields that tell runs of one model and selector apart which are no seeds of each other, by their headings.
APART: dict[str, Callable[[AccuracyRow], str | float | None]] = {
    "backbone": lambda row: row.backbone,
    "options": model_options,
    "lr": lambda row: row.lr,
    "begun from": lambda row: row.begun_from,
    "weights": lambda row: row.weights,
    "file": tested_file,
}


def by_model(rows: Sequence[AccuracyRow]) -> list[list[AccuracyRow]]:
    """The seeds of each model, its selector and its training."""
    return list(group_by(rows, run_name, "selector", *APART.values()).values())


def baseline_of(rows: Sequence[AccuracyRow], backbone: str | None) -> str | None:
    """The backbone of the plain model that stands beside one on this backbone: the same, or the only one there is."""
    known = {row.backbone for row in rows if run_name(row) == BASELINE}
    return next(iter(known)) if len(known) == 1 else backbone


def is_own_selection(row: QualityRow, run: AccuracyRow) -> bool:
    """Whether a row of quality is of the selection that the model of a run makes itself."""
    return (
        row.model == run.model
        and row.selector in (run.selector, "own")
        and row.trained_with in (None, run.selector)
        and is_of_training(row, run)
    )


def training_groups(data: Data) -> Iterator[tuple[TrainedRows, str]]:
    """The rows of each table, and the environment of its throughput in words."""
    runs = [row for row in data.accuracy if not row.seeds]
    for (dataset, size, _), rows in group_by(runs, "dataset", "image_size", _shared).items():
        trained = {(run_name(row), row.backbone) for row in rows}
        counted = [row for row in data.flops if (row.image_size, row.convention) == (size, "full")]
        named = [(_run_of(row, rows), row) for row in counted if row.stage is None]
        timed = [
            row
            for row in data.throughput
            if row.image_size == size
            and row.throughput_img_s
            and row.dtype != "int8"
            and (row.model, row.backbone) in trained
        ]
        one = TrainedRows(
            dataset=dataset,
            image_size=size,
            runs=rows,
            quality=[row for row in data.selection_quality if (row.dataset, row.image_size) == (dataset, size)],
            flops=[replace(row, model=name) for name, row in named if (name, row.backbone) in trained],
            predictions=[row for row in data.predictions if (row.dataset, row.image_size) == (dataset, size)],
        )
        environments = by_environment(timed)
        for key, points in environments.items():
            yield replace(one, throughput=points), mode_name(key, environments)
        if not environments:
            yield one, ""


def _run_of(row: FlopsRow, runs: Sequence[AccuracyRow]) -> str | None:
    """The name of the runs that a counted row belongs to; a backbone with overlapping patches is the plain model."""
    stride = row.environment.get("patch_stride")
    if row.model is not None or row.selector is not None or stride is None:
        return row.model
    for run in runs:
        overlap = int((run.recipe or {}).get("overlap") or 0)
        patches = ((run.image_size - stride - overlap) // stride + 1) ** 2
        if run.model == BASELINE and overlap and 0 <= (row.num_tokens or 0) - patches <= MAX_PREFIX_TOKENS:
            return run_name(run)
    return None


def _shared(row: AccuracyRow) -> str:
    """The settings that all runs of a table share, as text."""
    recipe = {key: value for key, value in (row.recipe or {}).items() if key in RECIPE_FIELDS}
    shared = [row.num_classes, row.train_images, row.flip, row.epochs, recipe]
    return json.dumps(shared, sort_keys=True, default=str)
