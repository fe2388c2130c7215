"""Accuracy beside cost: top-1, quality of selectors, MACs and throughput of trained models, in one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from fgbench_reports.advice import accuracy_command
from fgbench_reports.choose.bounds import seed_half_width
from fgbench_reports.choose.configurations import RECIPE
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import Row, group_by
from fgbench_reports.measured.selector_quality import CROP_PART, PARTS_IN_CROP, POINTING, OverSeeds, quality_lines
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.sweep_rows import by_environment, mode_name, reason_notes
from fgbench_reports.tables.column import Cell, Column, figure, word
from fgbench_reports.tables.numbers import how_many, img_per_s, significant, with_prefix
from fgbench_reports.tables.table import Table, cell_marks, distinct, file_name, without_empty
from fgbench_reports.training_groups import is_of_training

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "vit"
MAX_PREFIX_TOKENS = 5  # of a backbone: a class token and four registers
# Fields that tell runs of one model and selector apart which are no seeds of each other, and their headings.
APART = {"backbone": "backbone", "lr": "lr", "begun_from": "begun from", "weights": "weights", "file": "file"}
NAMES = ("model", "selects by", *(heading for field, heading in APART.items() if field != "lr"), "selector")

Kept = Mapping[str, Any]  # rows of one training by kind: accuracy, quality, flops, throughput; environment in files


class TrainedModel(NamedTuple):
    """A trained model and its own selection: rows over seeds, and its cost."""

    name: str
    selector: str | None
    runs: Sequence[Row]
    quality: Sequence[Row]  # of its own selection
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
        seconds = [row["seconds"] for row in self.runs if row["seconds"] is not None]
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


def model_lines(kept: Kept) -> list[dict[str, Cell]]:
    """A line per trained model: accuracy over seeds, quality of its own selection, MACs, images per second.

    Args:
        kept: Rows of one training by kind.

    """
    runs = _runs(kept)
    apart = [field for field in APART if _varies(runs, field)]
    lines = []
    for (name, selector, backbone, *_), rows in group_by(runs, "name", "selector", *APART).items():
        model = TrainedModel(
            name=name,
            selector=selector,
            runs=rows,
            quality=[row for row in kept["quality"] if _is_own(row, rows[0])],
            macs=_macs(kept, name, selector, backbone),
            baseline_macs=_macs(kept, BASELINE, None, _baseline_of(runs, backbone)),
            img_s=_img_s(kept, name, selector, backbone),
        )
        lines.append(
            {column.heading: column.cell(model) for column in FIRST_COLUMNS}
            | {APART[field]: _apart(field, rows[0][field]) for field in apart}
            | {column.heading: column.cell(rows) for column in (TOP1, TOP5)}
            | {column.heading: column.cell(model.quality) for column in (POINTING, PARTS_IN_CROP, CROP_PART)}
            | {column.heading: column.cell(model) for column in COST_COLUMNS}
        )
    return lines


def _apart(field: str, value: Any) -> Cell:
    """A field that tells runs apart: a learning rate in the digits that it needs, others as they are."""
    return figure(value, "{:.4g}".format) if field == "lr" else word(value)


def model_table(kept: Kept, name: str = "models", title: str = "", notes: Sequence[str] = ()) -> Table:
    """:func:`model_lines` as a table; columns that no line fills are left out in one that has a title."""
    lines = model_lines(kept)
    if title:
        lines = without_empty(lines, (TOP1.heading,))
    marks = cell_marks(lines, {TOP1.heading: "high"}) if title else None
    return Table.from_cells(name, title, lines, names=NAMES, marks=marks, notes=notes)


def quality_table(kept: Kept, model: str) -> Table:
    """The quality of every selector on the weights of one model, without a title."""
    rows = [row for row in kept["quality"] if row["model"] == model]
    return Table.from_cells("quality", "", quality_lines(rows), names=NAMES)


def verdict(kept: Kept) -> str:
    """Whether a model that selects is more accurate than the plain one, seed by seed, in a few sentences.

    Args:
        kept: Rows of one training by kind.

    """
    runs = _runs(kept)
    apart = [field for field in ("selector", *APART) if _varies(runs, field)]
    plain: dict[tuple[Any, ...], float] = {}  # by backbone, start and seed: the best of several rates
    for row in (row for row in runs if row["name"] == BASELINE):
        key = (row["backbone"], row["begun_from"], row["seed"])
        plain[key] = max(row["top1_percent"], plain.get(key, 0.0))
    better: list[str] = []
    others: list[str] = []
    for (name, _, backbone, _, begun_from, *_), rows in group_by(runs, "name", "selector", *APART).items():
        place = (_baseline_of(runs, backbone), begun_from)
        seeded = [row for row in rows if row["seed"] is not None]  # files that were only tested are no pairs
        pairs = [(row["top1_percent"], plain.get((*place, row["seed"]))) for row in seeded]
        gains = [top1 - baseline for top1, baseline in pairs if baseline is not None]
        if name == BASELINE or not gains:
            continue
        model = " ".join([name, *(str(rows[0][field]) for field in apart if rows[0][field] is not None)])
        words = f"{model} ({fmean(gains):+.1f} points{_interval(gains)}"
        words += f", {sum(gain > 0 for gain in gains)} of {how_many(len(gains), 'seed')} better)"
        (better if min(gains) > 0 else others).append(words)
    sentences = [f"Better than {BASELINE} with every seed: {', '.join(better)}."] if better else []
    sentences += [f"Not better with every seed: {', '.join(others)}."] if others else []
    if not sentences:
        return f"Nothing was trained beside the plain {BASELINE} with the same seed: no gain is told."
    if "interval" in " ".join(sentences):
        sentences.append(
            "Intervals are Student's of the mean gain over seeds; one that holds 0 tells no gain from none."
        )
    if not better:
        sentences.insert(0, f"No selection here beats the plain {BASELINE} with every seed.")
    return " ".join(sentences)


def _interval(gains: Sequence[float]) -> str:
    """``, 95 % interval +1.0 to +15.0``; nothing for a single seed, which has none."""
    if len(gains) < 2:
        return ""
    half = seed_half_width(stdev(gains), len(gains))
    return f", 95 % interval {fmean(gains) - half:+.1f} to {fmean(gains) + half:+.1f}"


def _runs(kept: Kept) -> list[Row]:
    """Rows of single runs under their names; the means over seeds are made again from them."""
    runs = [{**row, "name": run_name(row)} for row in kept["accuracy"] if row["seeds"] is None]
    files = [row.get("checkpoint") if row["seed"] is None else None for row in runs]  # each tested file is its own
    return [
        {**row, **{field: row.get(field) for field in APART}, "file": file}
        for row, file in zip(runs, files, strict=True)
    ]


def _varies(runs: Sequence[Row], field: str) -> bool:
    """Whether one model has several values of a field."""
    alike = ("name",) if field == "selector" else ("name", "selector")
    return any(len({row[field] for row in some}) > 1 for some in group_by(runs, *alike).values())


def _baseline_of(runs: Sequence[Row], backbone: str | None) -> str | None:
    """The backbone of the plain model that stands beside one on this backbone: the same, or the only one there is."""
    known = {row["backbone"] for row in runs if row["name"] == BASELINE}
    return next(iter(known)) if len(known) == 1 else backbone


def _is_own(row: Row, run: Row) -> bool:
    """Whether a row of quality is of the selection that the model of a run makes itself."""
    return (
        row["model"] == run["model"]
        and row["selector"] in (run["selector"], "own")
        and row.get("trained_with") in (None, run["selector"])
        and is_of_training(row, run)
    )


def run_name(row: Row) -> str:
    """The model; the plain one with overlapping patches is a line of its own."""
    overlap = (row["recipe"] or {}).get("overlap")
    return f"{row['model']}, patches overlap" if overlap else str(row["model"])


def _is_of(row: Row, name: str, selector: str | None, backbone: str | None) -> bool:
    """Whether a row of work or throughput is of this model; what a row does not tell does not matter."""
    told = (row["model"], row.get("selector", selector), row.get("backbone", backbone))
    return told == (name, selector, row.get("backbone") if backbone is None else backbone)


def _macs(kept: Kept, name: str, selector: str | None, backbone: str | None) -> int | None:
    rows = [row for row in kept["flops"] if _is_of(row, name, selector, backbone)]
    found = [row["macs"] for row in rows if row["impl"] in ("fast", None)]
    return found[-1] if found else None


def _img_s(kept: Kept, name: str, selector: str | None, backbone: str | None) -> float | None:
    rows = [row for row in kept["throughput"] if _is_of(row, name, selector, backbone)]
    found = [row["throughput_img_s"] for row in rows]
    return max((value for value in found if value is not None), default=None)


class AccuracyVsCost(Report):
    """Accuracy over seeds, quality of each model's own selection, MACs and throughput, side by side."""

    title = "Accuracy beside cost"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size and recipe; one for each machine that throughput was measured on."""
        groups = list(training_groups(data))
        names = distinct(file_name(kept["dataset"], kept["image_size"], mode) for kept, mode in groups)
        for name, (kept, mode) in zip(names, groups, strict=True):
            title = f"Accuracy beside cost · {kept['dataset']} at {kept['image_size']}"
            yield model_table(kept, name, " · ".join([title, *([mode] if mode else [])]), _notes(kept, mode))
        if not groups:
            command = accuracy_command(data.throughput)
            yield Missing(what="accuracies of models beside their cost", command=command)


def accuracy_vs_cost(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and machine."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": kept["dataset"], "image size": kept["image_size"], "throughput on": mode or None}
            | {heading: cell.value for heading, cell in line.items()}
            for kept, mode in training_groups(data)
            for line in model_lines(kept)
        ]
    )


def training_groups(data: Data) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of each table, and the environment of its throughput in words."""
    runs = [{**row, "shared": _shared(row)} for row in data.accuracy if not row.get("seeds")]
    for (dataset, size, _), rows in group_by(runs, "dataset", "image_size", "shared").items():
        trained = {(run_name(row), row["backbone"]) for row in rows}
        counted = [row for row in data.flops if (row["image_size"], row["convention"]) == (size, "full")]
        named = [(_run_of(row, rows), row) for row in counted if row.get("part") is None]
        flops = [{**row, "model": name} for name, row in named if (name, row["backbone"]) in trained]
        timed = [
            row
            for row in data.throughput
            if row["image_size"] == size and row["throughput_img_s"] and (row["model"], row["backbone"]) in trained
        ]
        quality = [row for row in data.selection_quality if (row["dataset"], row["image_size"]) == (dataset, size)]
        kept = {"dataset": dataset, "image_size": size, "accuracy": rows, "quality": quality, "flops": flops}
        environments = by_environment(timed)
        for key, points in environments.items():
            yield {**kept, "throughput": points}, mode_name(key, environments)
        if not environments:
            yield {**kept, "throughput": []}, ""


def _run_of(row: Row, runs: Sequence[Row]) -> str | None:
    """The name of the runs that a counted row belongs to; a backbone with overlapping patches is the plain model."""
    stride = (row["environment"] or {}).get("patch_stride")
    if row["model"] is not None or row["selector"] is not None or stride is None:
        return row["model"]  # type: ignore[no-any-return]
    for run in runs:
        overlap = int((run["recipe"] or {}).get("overlap") or 0)
        patches = ((run["image_size"] - stride - overlap) // stride + 1) ** 2
        if run["model"] == BASELINE and overlap and 0 <= (row["num_tokens"] or 0) - patches <= MAX_PREFIX_TOKENS:
            return run_name(run)
    return None


def _shared(row: Row) -> str:
    recipe = {key: value for key, value in (row.get("recipe") or {}).items() if key in RECIPE}
    shared = [row.get(name) for name in ("num_classes", "train_images", "flip", "epochs")]
    return json.dumps([*shared, recipe], sort_keys=True, default=str)


def _notes(kept: dict[str, Any], mode: str) -> list[str]:
    rows: Sequence[Row] = kept["accuracy"]
    first = rows[0]
    recipe = {**(first.get("recipe") or {}), "epochs": first["epochs"]}
    told = ", ".join(f"{key} {recipe[key]}" for key in sorted(RECIPE) if recipe.get(key) is not None)
    notes = [f"{first['images']} test images; {told}." if told else f"{first['images']} test images."]
    backbones = ", ".join(dict.fromkeys(str(row["backbone"]) for row in rows))
    notes.append(f"Backbones: {backbones}. ± is the standard deviation over seeds. MACs are those of fast selections.")
    notes += [f"img/s: {mode}, the best batch."] if mode else []
    notes.append("Bold and underlined are the two highest means, whatever their intervals.")
    notes += reason_notes(kept["throughput"])
    return [*notes, *measured_rows("Accuracy", rows), verdict({**kept, "accuracy": rows})]
