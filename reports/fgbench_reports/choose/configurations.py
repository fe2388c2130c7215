"""Configurations to deploy: a model at one image size and batch, with its measured cost and its accuracy."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from fgbench.results.image_size import ImageSize
from fgbench.results.paper import MODEL_SELECTORS, published_backbones
from fgbench.results.recipe import RECIPE_FIELDS, published_model_options
from fgbench.results.records import AccuracyRow, ThroughputRow
from fgbench_reports.choose.bounds import pareto_front as pareto_front
from fgbench_reports.data import Data, group_by
from fgbench_reports.dataset_subset import tested_on, without_part
from fgbench_reports.published import figure4, misprints_table9, table4, table9
from fgbench_reports.sweep_rows import EnvironmentKey, by_environment, mode_name

# Of an accuracy row, what the runs of one mean share beside their recipe. One rate is searched for all seeds.
SAME = (
    "model",
    "selector",
    "backbone",
    "image_size",
    "num_classes",
    "train_images",
    "epochs",
    "lr",
    "begun_from",
)
MEASURED, PUBLISHED = "measured", "published"
DEFAULT_DATASET = "cub"  # whose published accuracies stand in where nothing was trained here


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The accuracy of one model on one data set, over seeds."""

    model: str
    selector: str | None
    backbone: str | None
    image_size: int
    dataset: str  # of a part of the paper's, how much it is too: see fgbench_reports.dataset_subset
    top1_percent: float
    top1_std_percent: float | None  # over seeds; None where there is one
    runs: int
    images: int | None  # of the test set, of the run that tested the fewest; None where it is not told
    options: dict[str, Any]  # of the model, where they are not the published ones
    recipe: dict[str, Any]
    source: str  # MEASURED or PUBLISHED
    begun_from: str | None = None  # random, pretrained, a file; None where rows do not tell
    lr: float | None = None  # None where nothing was trained here

    @property
    def label(self) -> str:
        """The model, with the options that tell it from the plain one."""
        told = [f"{key}={value}" for key, value in sorted(self.options.items())]
        return ", ".join([self.model, *told])


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One point of a sweep that has figures, with an accuracy where one is known."""

    row: ThroughputRow  # of throughput
    mode: EnvironmentKey  # the device, dtype and environment of the measurement
    mode_name: str  # in words, as short as tells it from the others
    best: bool  # the batch of the highest throughput of its model and size in its mode
    accuracy: Accuracy | None = None
    repeats: Sequence[ThroughputRow] = ()  # all rows of this point, where it was measured repeatedly

    @property
    def latency_s(self) -> float:
        """Seconds of one batch."""
        return _figure(self.row.latency_s)

    @property
    def img_s(self) -> float:
        """Images per second."""
        return _figure(self.row.throughput_img_s)

    @property
    def memory_bytes(self) -> int | None:
        """The most that tensors held on a GPU, as the paper's VRAM; on a CPU the process's peak resident set."""
        return self.memory_of(self.row)

    def memory_of(self, row: ThroughputRow) -> int | None:
        """The same figure of one repeat."""
        on_gpu = row.device == "cuda"
        return row.peak_memory_allocated_bytes if on_gpu else row.device_memory_bytes

    @property
    def energy_j(self) -> float | None:
        """Joules per image."""
        return self.row.energy_j_per_image


def accuracies(rows: Iterable[AccuracyRow]) -> list[Accuracy]:
    """The mean of every model, data set and recipe over its seeds; rows that are means already are left out.

    Checkpoints that were only tested have no seed, and each stands for itself.
    """
    groups: dict[tuple[Hashable, ...], list[AccuracyRow]] = {}
    for row in each_seed_once(row for row in rows if not row.seeds):
        groups.setdefault(_training(row), []).append(row)
    return [_over_seeds(runs) for runs in groups.values()]


def each_seed_once(rows: Iterable[AccuracyRow], *more: str) -> list[AccuracyRow]:
    """Rows of accuracy without those whose training was run again with the same seed: the last one of each counts.

    Args:
        rows: Rows of single runs.
        more: Further fields that tell runs apart.

    Returns:
        The rows that are left, in their order. A seed that counts twice would make the spread over seeds too small.

    """
    keyed = [((_training(row), row.seed, *(getattr(row, name) for name in more)), row) for row in rows]
    last = {key: row for key, row in keyed if row.seed is not None}
    return [row for key, row in keyed if last.get(key, row) is row]


def _training(row: AccuracyRow) -> tuple[Hashable, ...]:
    """The values that all runs of one mean share."""
    recipe = json.dumps(dict(row.recipe or {}), sort_keys=True, default=str)
    tested = (row.checkpoint, row.weights) if row.seed is None else None
    return (*(getattr(row, name) for name in SAME), tested_on(row), row.flip, recipe, tested)


def _over_seeds(runs: Sequence[AccuracyRow]) -> Accuracy:
    first, values = runs[0], [row.top1_percent for row in runs]
    recipe = dict(first.recipe or {})
    mirrored = {"flip": True} if first.flip else {}  # two passes an image, where one was timed
    return Accuracy(
        model=first.model,
        selector=first.selector,
        backbone=first.backbone,
        image_size=first.image_size,
        dataset=tested_on(first),
        top1_percent=fmean(values),
        top1_std_percent=stdev(values) if len(values) > 1 else None,
        runs=len(values),
        images=min((row.images for row in runs if row.images is not None), default=None),
        options={key: value for key, value in recipe.items() if key not in RECIPE_FIELDS} | mirrored,
        recipe={key: value for key, value in recipe.items() if key in RECIPE_FIELDS} | {"epochs": first.epochs},
        source=MEASURED,
        begun_from=first.begun_from,
        lr=first.lr,
    )


def published_accuracies() -> list[Accuracy]:
    """Table 4 at 224 pixels and Figure 4 at 448, on the paper's backbones with its own selectors."""
    rows = [row for row in table4() if row["dataset"] != "average"]
    rows += [row for row in figure4() if row["image_size"] == 448]
    return [
        Accuracy(
            model=row["model"],
            selector=MODEL_SELECTORS.get(row["model"]),
            backbone=None,
            image_size=row["image_size"],
            dataset=row["dataset"],
            top1_percent=row["top1_percent"],
            top1_std_percent=row.get("std_percent"),
            runs=3 if row.get("std_percent") is not None else 1,
            images=_test_images(row["dataset"]),
            options={},
            recipe={},
            source=PUBLISHED,
        )
        for row in rows
    ]


def _test_images(dataset: str) -> int | None:
    """Of Table 9; of a misprint and its correction the smaller, as fewer images claim less."""
    known = [int(row["test_images"]) for row in table9() if row["dataset"] == dataset]
    wrong = [row for row in misprints_table9() if (row["dataset"], row["field"]) == (dataset, "test_images")]
    return min([*known, *(int(row["correct"]) for row in wrong)], default=None)


def configurations(data: Data, *, dataset: str | None = None, best_only: bool = True) -> list[Configuration]:
    """Every measured point with its accuracies: one per data set, or those of ``dataset``; None where there is none.

    Published accuracies stand in where a model of the paper, on its backbone and with its selector, was not trained
    here; a run on a part of a data set takes no place. Unless ``dataset`` is named, those of data sets that were not
    tested here are left out, but for :data:`DEFAULT_DATASET`. Of repeats the median in latency counts.
    """
    known = accuracies(data.accuracy)
    asked_for = {one.dataset for one in known} | {DEFAULT_DATASET} if dataset is None else {dataset}
    known = [*known, *(one for one in published_accuracies() if not any(_same(one, measured) for measured in known))]
    by_model: dict[tuple[str, str | None, ImageSize], list[Accuracy]] = {}
    for one in known:
        if one.dataset in asked_for:
            by_model.setdefault((one.model, one.selector, one.image_size), []).append(one)
    joined = []
    for point in _points(data):
        if best_only and not point.best:
            continue
        alike = by_model.get((point.row.model, point.row.selector, point.row.image_size), ())
        fitting = [one for one in alike if fits(one, point.row)]
        joined += [replace(point, accuracy=one) for one in fitting] or [point]
    return joined


def fits(accuracy: Accuracy, row: ThroughputRow) -> bool:
    """Whether this accuracy is that of the model in a row of throughput; published and fast have the same.

    Accuracies are tested in floating point: none is known of a model in int8.
    """
    if row.dtype == "int8":
        return False
    if (accuracy.model, accuracy.selector, accuracy.image_size) != (row.model, row.selector, row.image_size):
        return False
    if not _has_published_options(accuracy):  # what was timed is the model with its published ones
        return False
    if accuracy.source == PUBLISHED:
        return row.backbone in published_backbones(accuracy.model)
    return accuracy.backbone == row.backbone


def _same(one: Accuracy, other: Accuracy) -> bool:
    names = ("model", "selector", "image_size", "dataset")
    if not _has_published_options(other) or any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    return other.backbone in published_backbones(one.model)


def _has_published_options(one: Accuracy) -> bool:
    return one.options in ({}, published_model_options(one.model, without_part(one.dataset), one.image_size))


def _points(data: Data) -> list[Configuration]:
    """Every measured point without an accuracy. A dozen reports ask for them, of the same rows."""
    points: list[Configuration] = data.once("points", lambda: list(_points_of(data.throughput)))
    return points


def _points_of(rows: Sequence[ThroughputRow]) -> Iterator[Configuration]:
    modes = by_environment([row for row in rows if row.throughput_img_s and row.latency_s])
    for mode, points in modes.items():
        name = mode_name(mode, modes)
        same = ("model", "selector", "impl", "backbone", "image_size")
        for of_size in group_by(points, *same).values():
            by_batch = [(_middle(repeats), repeats) for repeats in group_by(of_size, "batch_size").values()]
            fastest = max((row for row, _ in by_batch), key=lambda row: _figure(row.throughput_img_s))
            for row, repeats in by_batch:
                best = row is fastest
                yield Configuration(row=row, mode=mode, mode_name=name, best=best, repeats=tuple(repeats))


def _middle(repeats: Sequence[ThroughputRow]) -> ThroughputRow:
    return sorted(repeats, key=lambda row: _figure(row.latency_s))[(len(repeats) - 1) // 2]


def _figure(value: float | None) -> float:
    """A figure that every configuration has."""
    assert value is not None
    return value
