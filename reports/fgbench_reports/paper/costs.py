"""What the methods of the paper's tables cost here: counted work, measured throughput and memory, at one image size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fgbench.results.paper import MODEL_SELECTORS, NUM_CLASSES, published_backbones
from fgbench.results.records import FlopsRow, ThroughputRow
from fgbench_reports.choose.configurations import Configuration, configurations
from fgbench_reports.data import Data
from fgbench_reports.paper.names import NETWORKS
from fgbench_reports.sweep_rows import EnvironmentKey
from fgbench_reports.tables.column import Column, Line, filled, line_of
from fgbench_reports.tables.numbers import gigabytes, img_per_s, with_prefix

USUAL_SIZE = 448  # of the data sets of Tables 2 and 3, in the papers that their figures come from


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a model for one image; None where it was not counted or measured."""

    published_flops: int | None = None  # of the operations of the published code, convention full
    fast_flops: int | None = None
    img_s: float | None = None
    memory_bytes: int | None = None


COLUMNS = (
    Column("FLOPs", lambda cost: cost.published_flops, with_prefix, unit="FLOP", better="low"),
    Column("fast FLOPs", lambda cost: cost.fast_flops, with_prefix, unit="FLOP", better="low"),
    Column("img/s", lambda cost: cost.img_s, img_per_s, better="high"),
    Column("memory GB", lambda cost: cost.memory_bytes, gigabytes, unit="byte", better="low"),
)
NONE = Cost()


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The costs of models at one image size.

    Attributes:
        by_model: The costs by fgbench's name of the model.
        image_size: Pixels; None where there is nothing.
        place: Device, precision and environment of throughput and memory, in words.

    """

    by_model: Mapping[str, Cost] = field(default_factory=dict)
    image_size: int | None = None
    place: str | None = None

    @property
    def columns(self) -> list[Column]:
        """The columns that some model has a figure for."""
        return filled(COLUMNS, list(self.by_model.values()))

    def is_counted(self, model: str) -> bool:
        """Whether the work of a model is known."""
        return bool(self.work_of(model))

    def work_of(self, model: str | None) -> int | None:
        """The FLOPs of a model: of the published operations, where they were counted; None where nothing was."""
        cost = self.by_model.get(model or "", NONE)
        return cost.published_flops or cost.fast_flops

    def cells(self, model: str | None) -> Line:
        """The cells of a model; empty ones for a method that cannot be built."""
        return line_of(self.columns, self.by_model.get(model or "", NONE))

    @property
    def notes(self) -> list[str]:
        """How the figures were gained, a sentence each."""
        headings = [column.heading for column in self.columns]
        notes = []
        if {"FLOPs", "fast FLOPs"} & {*headings}:
            notes.append(
                f"FLOPs: counted here for one image of {self.image_size} pixels, every operation of the published "
                "code; fast gives the same logits with less work."
            )
        if self.place:
            notes.append(
                f"img/s and memory: measured here at {self.image_size} pixels, the best batch of the fast "
                f"implementation, {self.place}."
            )
        return notes


def costs_of(data: Data, models: Collection[str]) -> Costs:
    """The costs of these models on the backbones and with the selectors that they were published with.

    The size is 448 pixels, as far as anything is known there, else the one at which most models are known. Throughput
    and memory are those of the device and environment with the most models.

    Args:
        data: Rows.
        models: fgbench's names.

    """
    work = [row for row in data.flops if _is_counted(row) and _is_published(row, models)]
    speed = [one for one in configurations(data) if one.row.impl != "published" and _is_published(one.row, models)]
    known: list[FlopsRow | ThroughputRow] = [*work, *(one.row for one in speed)]
    size = _size(known)
    if size is None:
        return Costs()
    place, timed = _fullest([one for one in speed if one.row.image_size == size])
    flops = {(str(row.model), row.impl): row.flops for row in work if row.image_size == size}
    costs = {
        model: Cost(
            published_flops=flops.get((model, "published"), flops.get((model, None))),
            fast_flops=flops.get((model, "fast")),
            img_s=timed[model].img_s if model in timed else None,
            memory_bytes=timed[model].memory_bytes if model in timed else None,
        )
        for model in models
    }
    return Costs(by_model={model: cost for model, cost in costs.items() if cost != NONE}, image_size=size, place=place)


def _is_counted(row: FlopsRow) -> bool:
    classes = (row.environment or {}).get("num_classes")
    return row.stage is None and row.model is not None and row.convention == "full" and classes in (None, NUM_CLASSES)


def _is_published(row: FlopsRow | ThroughputRow, models: Collection[str]) -> bool:
    """Whether a row is of a model as published: a network of timm by its name has no backbone of another."""
    model, selector, backbone = row.model, row.selector, row.backbone
    if model is None or model not in models or selector != MODEL_SELECTORS.get(model):
        return False
    return model in NETWORKS.values() or backbone in published_backbones(model)


def _size(rows: Sequence[FlopsRow | ThroughputRow]) -> int | None:
    """The image size to compare at."""
    models: dict[int, set[str | None]] = {}
    for row in rows:
        if isinstance(row.image_size, int):
            models.setdefault(row.image_size, set()).add(row.model)
    if not models or USUAL_SIZE in models:
        return USUAL_SIZE if models else None
    return max(models, key=lambda size: (len(models[size]), size))


def _fullest(speed: Sequence[Configuration]) -> tuple[str | None, dict[str, Configuration]]:
    """The environment in which most models were timed, in words, and its fastest figures by model."""
    if not speed:
        return None, {}
    places: dict[EnvironmentKey, dict[str, Configuration]] = {}
    for one in speed:
        there = places.setdefault(one.mode, {})
        model = str(one.row.model)
        there[model] = max(there.get(model, one), one, key=lambda each: each.img_s)
    key = max(places, key=lambda mode: len(places[mode]))
    return next(iter(places[key].values())).mode_name, places[key]
