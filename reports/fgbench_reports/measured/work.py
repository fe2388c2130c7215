"""The report ``work``: what selections and whole models take, counted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fgbench_reports.advice import MOST
from fgbench_reports.cost_table import grouped, impls_of
from fgbench_reports.data import KINDS, Row
from fgbench_reports.flops import NOTES
from fgbench_reports.models import NOTES as MODEL_NOTES
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.tables.column import Cell, figure, word
from fgbench_reports.tables.numbers import how_many, percent, with_prefix
from fgbench_reports.tables.table import Table, distinct, file_name

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("selector", "model", "backbone")
BACKBONE = "(backbone)"
USUAL_MODELS = ("vit", "glsim", "transfg", "ffvt")
USUAL_CLASSES = 200  # of heads: others are told


class Work(Report):
    """FLOPs of every selection beside its backbone, and of whole models, published and fast."""

    title = "Counted work"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per convention, backbone, grid and head, then one of models per convention and head."""
        selections, models = _selections(data.flops), _models(data.flops)
        tables = [*selections, *models]
        files = distinct(table.name for table in tables)
        yield from (replace(table, name=name) for table, name in zip(tables, files, strict=True))
        if not selections:
            yield Missing(what="FLOPs of selections beside their backbones", command=_command(data, "", KINDS["flops"]))
        if not models:
            yield Missing(what="FLOPs of whole models", command=_command(data, "--models", "fgbench flops"))


def work(data: Data) -> pd.DataFrame:
    """Every counted row as it is, a line each."""
    import pandas as pd

    return pd.DataFrame([{key: row[key] for key in row if key != "environment"} for row in data.flops])


def _command(data: Data, models: str, begin: str) -> str:
    """The count of what was swept or counted: its models where those are asked for, its sizes, its backbones."""
    rows = [*data.throughput, *data.flops]
    named = [name for name in dict.fromkeys(row["model"] for row in rows) if name is not None]
    words = [begin]
    words += [models, *(map(shlex.quote, named[:MOST] or USUAL_MODELS))] if models else []
    if rows:
        words += ["--sizes", *(str(size) for size in sorted({row["image_size"] for row in rows}))]
        backbones = list(dict.fromkeys(str(row["backbone"]) for row in rows if row["model"] is None))
        words += ["--backbones", *map(shlex.quote, backbones[:MOST])] if backbones and not models else []
    return " ".join(words)


def _selections(rows: Sequence[Row]) -> list[Table]:
    told = [
        {**row, "stride": row["environment"].get("patch_stride"), "classes": _classes(row)}
        for row in rows
        if row["model"] is None
    ]
    return [
        Table.from_cells(
            file_name("selections", convention, backbone, f"stride-{stride}" if stride else "", classes),
            f"Work of selections · {backbone} · convention {convention}"
            + (f" · patches {stride} pixels apart" if stride else "")
            + (f" · {classes}" if classes else ""),
            list(_lines(group, "selector", BACKBONE)),
            names=NAMES,
            notes=[note for note in NOTES.get(convention, ()) if not note.startswith("paper:")],
        )
        for (convention, backbone, stride, classes), group in grouped(
            told, "convention", "backbone", "stride", "classes"
        ).items()
        if any(row["selector"] for row in group)
    ]


def _models(rows: Sequence[Row]) -> list[Table]:
    whole = [{**row, "classes": _classes(row)} for row in rows if row["model"] is not None and row.get("part") is None]
    tables = []
    for (convention, classes), group in grouped(whole, "convention", "classes").items():
        said = MODEL_NOTES.get(convention, "")
        notes = [f"{said}. % is FLOPs over those of one pass of the plain backbone."] if said else []
        lines = [
            {"model": word(model), "selector": word(selector), "backbone": word(backbone), **line}
            for (model, selector, backbone), some in grouped(group, "model", "selector", "backbone").items()
            for line in _lines(some, None, "")
        ]
        title = f"Work of whole models · convention {convention}" + (f" · {classes}" if classes else "")
        tables.append(
            Table.from_cells(file_name("models", convention, classes), title, lines, names=NAMES, notes=notes)
        )
    return tables


def _classes(row: Row) -> str:
    """The classes of a head in words, where they are not the usual ones: they change a count."""
    classes = row["environment"].get("num_classes")
    return "" if classes in (None, USUAL_CLASSES) else how_many(classes, "class", "classes")


def _lines(rows: Sequence[Row], label: str | None, without: str) -> Iterator[dict[str, Cell]]:
    """A line per size and name; a row of no implementation stands for all."""
    impls = impls_of(rows)
    for size in sorted({row["image_size"] for row in rows}):
        of_size = [row for row in rows if row["image_size"] == size]
        for name, some in grouped([{**row, "": None} for row in of_size], label or "").items():
            by_impl = {row["impl"]: row for row in some}
            line = {"size": word(size), "N": word(some[0]["num_tokens"])}
            if label:
                line[label] = word(name or without)
            for impl in impls:
                row = by_impl.get(impl) or by_impl.get(None)
                line[f"{impl} MACs"] = figure(row and row["macs"], with_prefix)
                line[f"{impl} FLOPs"] = figure(row and row["flops"], with_prefix)
                line[f"{impl} %"] = figure(row and row["percent_of_backbone"], percent)
            yield line
