"""Accuracy beside cost: top-1, quality of selectors, MACs and throughput of trained models, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from fgbench.results.recipe import RECIPE_FIELDS
from fgbench.results.records import AccuracyRow, FlopsRow, QualityRow, ThroughputRow
from fgbench_reports.advice import accuracy_command
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import group_by
from fgbench_reports.measured.compared import verdict
from fgbench_reports.measured.selector_quality import CROP_PART, PARTS_IN_CROP, POINTING, OverSeeds, quality_lines
from fgbench_reports.measured.trained_rows import (
    APART,
    BASELINE,
    TrainedRows,
    baseline_of,
    by_model,
    is_own_selection,
    run_name,
    training_groups,
)
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.sweep_rows import reason_notes
from fgbench_reports.tables.column import Cell, Column, figure, line_of, word
from fgbench_reports.tables.numbers import img_per_s, significant, with_prefix
from fgbench_reports.tables.table import Table, cell_marks, distinct, file_name, without_empty

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("model", "selects by", *(heading for heading in APART if heading != "lr"), "selector")


class TrainedModel(NamedTuple):
    """A trained model and its own selection: rows over seeds, and its cost."""

    name: str
    selector: str | None
    runs: Sequence[AccuracyRow]
    quality: Sequence[QualityRow]  # of its own selection
    macs: int | None
    baseline_macs: int | None
    img_s: float | None

    @property
    def times_baseline(self) -> float | None:
        """MACs over those of the plain model."""
        return self.macs / self.baseline_macs if self.macs and self.baseline_macs else None

    @property
    def minutes(self) -> float | None:
        """The mean time of a run."""
        seconds = [row.seconds for row in self.runs if row.seconds is not None]
        return fmean(seconds) / 60 if seconds else None


FIRST_COLUMNS = (
    Column("model", lambda model: model.name, is_name=True),
    Column("selects by", lambda model: model.selector, is_name=True),
)
TOP1 = OverSeeds("top-1 %", "top1_percent", unit="%", better="high")
TOP5 = OverSeeds("top-5 %", "top5_percent", unit="%", better="high")
COST_COLUMNS = (
    Column("MACs", lambda model: model.macs, with_prefix, unit="MAC", better="low"),
    Column(f"× {BASELINE}", lambda model: model.times_baseline, significant, better="low"),
    Column("img/s", lambda model: model.img_s, img_per_s, better="high"),
    Column("minutes", lambda model: model.minutes, significant, unit="min", better="low"),
)


def model_lines(rows: TrainedRows) -> list[dict[str, Cell]]:
    """A line per trained model: accuracy over seeds, quality of its own selection, MACs, images per second.

    Args:
        rows: The rows of one training.

    """
    apart = [heading for heading, of in APART.items() if _varies(rows.runs, of)]
    lines = []
    for runs in by_model(rows.runs):
        first, name = runs[0], run_name(runs[0])
        model = TrainedModel(
            name=name,
            selector=first.selector,
            runs=runs,
            quality=[row for row in rows.quality if is_own_selection(row, first)],
            macs=_macs(rows, name, first.selector, first.backbone),
            baseline_macs=_macs(rows, BASELINE, None, baseline_of(rows.runs, first.backbone)),
            img_s=_img_s(rows, name, first.selector, first.backbone),
        )
        lines.append(
            line_of(FIRST_COLUMNS, model)
            | {heading: _apart(heading, APART[heading](first)) for heading in apart}
            | line_of((TOP1, TOP5), runs)
            | line_of((POINTING, PARTS_IN_CROP, CROP_PART), model.quality)
            | line_of(COST_COLUMNS, model)
        )
    return lines


def _varies(runs: Sequence[AccuracyRow], of: Callable[[AccuracyRow], object]) -> bool:
    """Whether the runs of one model and selector have several values."""
    return any(len({of(row) for row in group}) > 1 for group in group_by(runs, run_name, "selector").values())


def _apart(heading: str, value: str | float | None) -> Cell:
    """A field that tells runs apart: a learning rate in the digits that it needs, others as they are."""
    return figure(value, "{:.4g}".format) if heading == "lr" else word(value)


def model_table(rows: TrainedRows, name: str = "models", title: str = "", notes: Sequence[str] = ()) -> Table:
    """:func:`model_lines` as a table; columns that no line fills are left out in one that has a title."""
    lines = model_lines(rows)
    if title:
        lines = without_empty(lines, (TOP1.heading,))
    marks = cell_marks(lines, {TOP1.heading: "high"}) if title else None
    return Table.from_cells(name, title, lines, names=NAMES, marks=marks, notes=notes)


def quality_table(rows: TrainedRows, model: str) -> Table:
    """The quality of every selector on the weights of one model, without a title."""
    judged = [row for row in rows.quality if row.model == model]
    return Table.from_cells("quality", "", quality_lines(judged), names=NAMES)


def _is_of(row: FlopsRow | ThroughputRow, name: str, selector: str | None, backbone: str | None) -> bool:
    """Whether a row of work or throughput is of this model; where the backbone is unknown, on any."""
    return (row.model, row.selector) == (name, selector) and backbone in (None, row.backbone)


def _macs(rows: TrainedRows, name: str, selector: str | None, backbone: str | None) -> int | None:
    counted = [row for row in rows.flops if _is_of(row, name, selector, backbone)]
    counts = [row.macs for row in counted if row.impl in ("fast", None)]
    return counts[-1] if counts else None


def _img_s(rows: TrainedRows, name: str, selector: str | None, backbone: str | None) -> float | None:
    rates = [row.throughput_img_s for row in rows.throughput if _is_of(row, name, selector, backbone)]
    return max((value for value in rates if value is not None), default=None)


class AccuracyVsCost(Report):
    """Accuracy over seeds, quality of each model's own selection, MACs and throughput, side by side."""

    title = "Accuracy beside cost"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size and recipe; one for each machine that throughput was measured on."""
        groups = list(training_groups(data))
        names = distinct(file_name(rows.dataset, rows.image_size, mode) for rows, mode in groups)
        for name, (rows, mode) in zip(names, groups, strict=True):
            title = f"Accuracy beside cost · {rows.dataset} at {rows.image_size}"
            yield model_table(rows, name, " · ".join([title, *([mode] if mode else [])]), _notes(rows, mode))
        if not groups:
            command = accuracy_command(data.throughput)
            yield Missing(what="accuracies of models beside their cost", command=command)


def accuracy_vs_cost(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and machine."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": rows.dataset, "image size": rows.image_size, "throughput on": mode or None}
            | {heading: cell.value for heading, cell in line.items()}
            for rows, mode in training_groups(data)
            for line in model_lines(rows)
        ]
    )


def _notes(rows: TrainedRows, mode: str) -> list[str]:
    first = rows.runs[0]
    recipe = {**(first.recipe or {}), "epochs": first.epochs}
    settings = ", ".join(f"{key} {recipe[key]}" for key in sorted(RECIPE_FIELDS) if recipe.get(key) is not None)
    notes = [f"{first.images} test images; {settings}." if settings else f"{first.images} test images."]
    backbones = ", ".join(dict.fromkeys(str(row.backbone) for row in rows.runs))
    notes.append(f"Backbones: {backbones}. ± is the standard deviation over seeds. MACs are those of fast selections.")
    notes += [f"img/s: {mode}, the best batch."] if mode else []
    notes.append("Bold and underlined are the two highest means, whatever their intervals.")
    notes += reason_notes(rows.throughput)
    return [*notes, *measured_rows("Accuracy", rows.runs), verdict(rows)]
