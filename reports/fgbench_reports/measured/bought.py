"""The report ``bought``: what selection costs and what it buys, in one table per data set and recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fgbench_reports.advice import accuracy_command
from fgbench_reports.bought import NAMES, bought_lines, run_name, verdict
from fgbench_reports.choose.configurations import RECIPE
from fgbench_reports.conventions import measured_rows
from fgbench_reports.cost_table import grouped
from fgbench_reports.data import Row
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.sweep_rows import by_mode, mode_name, reason_notes
from fgbench_reports.tables.table import Table, column_marks, distinct, file_name, without_empty

if TYPE_CHECKING:
    import pandas as pd

ALWAYS = ("top-1 %",)


class Bought(Report):
    """Accuracy over seeds, what each model's own selection finds, MACs and throughput, side by side."""

    title = "What selection costs and what it buys"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size and recipe; one for each machine that throughput was measured on."""
        tables = list(training_groups(data))
        files = distinct(file_name(kept["dataset"], kept["image_size"], mode) for kept, mode in tables)
        for name, (kept, mode) in zip(files, tables, strict=True):
            lines = without_empty(bought_lines(kept), ALWAYS)
            yield Table.from_cells(
                name,
                " · ".join([_title(kept), *([mode] if mode else [])]),
                lines,
                names=NAMES,
                marks=column_marks({"top-1 %": [line["top-1 %"].value for line in lines]}, {"top-1 %": "high"}),
                notes=_notes(kept, mode),
            )
        if not tables:
            command = accuracy_command(data.throughput)
            yield Missing(what="what selection buys: accuracies of models", command=command)


def bought(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and machine."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": kept["dataset"], "image size": kept["image_size"], "throughput on": mode or None}
            | {heading: found.value for heading, found in line.items()}
            for kept, mode in training_groups(data)
            for line in bought_lines(kept)
        ]
    )


def training_groups(data: Data) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of each table, and the environment of its throughput."""
    runs = [{**row, "shared": _shared(row)} for row in data.accuracy if not row.get("seeds")]
    for (dataset, size, _), rows in grouped(runs, "dataset", "image_size", "shared").items():
        beside = {(run_name(row), row["backbone"]) for row in rows}
        flops = [
            row
            for row in data.flops
            if (row["model"], row["backbone"]) in beside
            and (row["image_size"], row["convention"], row.get("part")) == (size, "full", None)
        ]
        timed = [
            row for row in data.throughput if row["image_size"] == size and (row["model"], row["backbone"]) in beside
        ]
        quality = [row for row in data.selection_quality if (row["dataset"], row["image_size"]) == (dataset, size)]
        kept = {"dataset": dataset, "image_size": size, "accuracy": rows, "quality": quality, "flops": flops}
        modes = by_mode([row for row in timed if row["throughput_img_s"]])
        for mode, points in modes.items():
            yield {**kept, "throughput": points}, mode_name(mode, modes)
        if not modes:
            yield {**kept, "throughput": []}, ""


def _shared(row: Row) -> str:
    recipe = {key: value for key, value in (row.get("recipe") or {}).items() if key in RECIPE}
    shared = [row.get(name) for name in ("num_classes", "train_images", "flip", "epochs")]
    return json.dumps([*shared, recipe], sort_keys=True, default=str)


def _title(kept: dict[str, Any]) -> str:
    return f"What selection costs and buys · {kept['dataset']} at {kept['image_size']}"


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
