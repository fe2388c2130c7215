"""Counted work of selectors and of whole models: the tables of ``fgbench flops`` and the report ``flops``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fgbench.results.paper import NUM_CLASSES
from fgbench.results.records import FlopsRow, ThroughputRow
from fgbench_reports.advice import MOST
from fgbench_reports.data import KINDS, Row, group_by, records
from fgbench_reports.measured.flops_columns import (
    BACKBONE,
    BY_CONVENTION,
    TOKENS,
    ByImpl,
    by_impl,
    cost_columns,
    cost_layout,
    impls_of,
    size_of,
)
from fgbench_reports.published import SOURCE, flops_percents
from fgbench_reports.relative import FlopsBaseline
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.tables.column import Cell, Line, figure, line_of, word
from fgbench_reports.tables.numbers import as_printed, how_many
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table, distinct, file_name

if TYPE_CHECKING:
    import pandas as pd

PAPER = "paper %"
NAMES = ("selector", "model", "backbone")
USUAL_MODELS = ("vit", "glsim", "transfg", "ffvt")
NOTES = {
    "full": (
        f"MACs are the multiply–adds of matrix products and convolutions; {BY_CONVENTION['full']}. "
        "% is FLOPs over the backbone's FLOPs.",
        "published starts from the N×N maps that its backbone has to keep for it; fast starts from queries, "
        "keys and the log-sum-exp that fused attention returns, keeps no map, and pays for recomputing it: from 224 "
        "pixels on the larger count for column_entropy, column_mass, mhv and sacm, and for rollout with fewer tokens "
        "than embed_dim; at smaller sizes for others, too.",
        f"paper: {SOURCE}. It counts psm and sacm on overlapped patches beside a backbone without overlap, and "
        "two operations per multiply–add beside a backbone in one; --convention paper reproduces it.",
    ),
    "fvcore": (
        f"MACs are the multiply–adds of matrix products and convolutions; {BY_CONVENTION['fvcore']}. "
        "% is that over the backbone's.",
        "fvcore counts softmax, element-wise products, similarities and comparisons as nothing, so maws, gls and "
        "attention look free or nearly so; --convention full counts them.",
        f"paper: {SOURCE}, in a unit of its own; --convention paper reproduces it.",
    ),
    "paper": (
        f"Closed forms behind {SOURCE}, rounded as printed (cells of one or two digits from three). There is no "
        "fast column: the forms describe the published computation.",
        "They mix units: the backbone counts multiply–adds (the patch embedding twice), psm and rollout count two "
        "operations per multiply–add. MACs are the matrix products of each form alone.",
        "psm and sacm are counted on overlapped patches and divided by a backbone without overlap, unless "
        "--patch-stride sets one grid for all; --convention full divides like by like.",
    ),
}


def flops_tables(rows: Sequence[Row], *, beside_paper: bool = True) -> RowTables:
    """The rows of ``fgbench flops`` as each format shows them; a terminal shows a table per convention and backbone.

    Args:
        rows: Counted rows of backbones and selectors.
        beside_paper: Whether the paper's figures stand in a column. On another grid they compare with nothing.

    """
    counted = records(FlopsRow, rows)
    notes = flops_notes(counted, beside_paper=beside_paper)
    narrow = []
    for (convention, backbone), group in group_by(counted, "convention", "backbone").items():
        impls = impls_of(group)
        blocks = [
            [
                _command_line(rows_of_selector, impls, beside_paper)
                for rows_of_selector in group_by(of_size, "selector").values()
            ]
            for of_size in group_by(group, "image_size").values()
        ]
        title = f"{backbone} · convention {convention}"
        layout = cost_layout(blocks, impls, column_styles={PAPER: "dim"})
        lines = [line for block in blocks for line in size_once(block)]
        narrow.append(Table.from_cells("flops", title, lines, names=("selector",), layout=layout))
    return RowTables(rows=rows, narrow=narrow, wide=[_wide(counted, beside_paper, notes)], notes=notes)


def flops_notes(rows: Sequence[FlopsRow], *, beside_paper: bool = True) -> list[str]:
    """The columns of these rows and why they differ: up to three sentences per convention."""
    notes = []
    for convention, group in group_by(rows, "convention").items():
        has_paper = beside_paper and any(_published(row) for row in group)
        has_both = {"published", "fast"} <= {row.impl for row in group}
        notes += [
            note
            for note in NOTES[convention]
            if (has_paper or not note.startswith("paper:")) and (has_both or not note.startswith("published starts"))
        ]
    return notes


def size_once(block: Sequence[Line]) -> Iterator[Line]:
    """The lines of a block, with the image size on the first one alone."""
    for index, line in enumerate(block):
        yield line if index == 0 else {**line, "size": Cell(line["size"].value, "")}


def _wide(rows: Sequence[FlopsRow], beside_paper: bool, notes: Sequence[str]) -> Table:
    impls, lines = impls_of(rows), []
    for (convention, backbone, _), group in group_by(rows, "convention", "backbone", "image_size").items():
        for rows_of_selector in group_by(group, "selector").values():
            names = {"convention": word(convention), "backbone": word(backbone)}
            lines.append(names | _command_line(rows_of_selector, impls, beside_paper))
    return Table.from_cells("flops", "", lines, names=("convention", "backbone", "selector"), notes=notes)


def _command_line(rows: Sequence[FlopsRow], impls: Sequence[str], beside_paper: bool) -> dict[str, Cell]:
    """A backbone or a selector at one size: its implementations beside each other, and the paper's percentage."""
    first = rows[0]
    line = _line(by_impl(rows), impls, first.selector or BACKBONE)
    printed = _published(first) if beside_paper else ""
    line[PAPER] = Cell(float(printed) if printed else None, printed)
    if printed and first.convention == "paper":
        percent_of_backbone = first.percent_of_backbone
        line[f"{first.impl} %"] = Cell(percent_of_backbone, as_printed(percent_of_backbone, printed))
    return line


def _published(row: FlopsRow) -> str:
    """The paper's figure as it is printed; empty where it has none."""
    if not row.selector or not isinstance(row.image_size, int):
        return ""
    return flops_percents().get((row.backbone.partition(".")[0], row.selector, row.image_size), "")


def _line(
    rows: ByImpl, impls: Sequence[str], selector: str | None, baseline: FlopsBaseline | None = None
) -> dict[str, Cell]:
    line = {"size": figure(size_of(rows), str), TOKENS.heading: TOKENS.cell(rows)}
    if selector is not None:
        line["selector"] = word(selector)
    return line | line_of(cost_columns(impls, baseline), rows)


class Flops(Report):
    """FLOPs of every selection beside its backbone, and of whole models, published and fast."""

    title = "Counted work"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per convention, backbone, grid and head, then one of models per convention and head."""
        selections, models = _selections(data.flops), _models(data.flops, data.baseline)
        tables = [*selections, *models]
        names = distinct(table.name for table in tables)
        yield from (replace(table, name=name) for table, name in zip(tables, names, strict=True))
        if not selections:
            yield Missing(what="FLOPs of selections beside their backbones", command=_command(data, "", KINDS["flops"]))
        if not models:
            yield Missing(what="FLOPs of whole models", command=_command(data, "--models", "fgbench flops"))


def flops(data: Data) -> pd.DataFrame:
    """Every counted row as it is, a line each."""
    import pandas as pd

    return pd.DataFrame([{key: row[key] for key in row if key != "environment"} for row in data.flops])


def _command(data: Data, models: str, begin: str) -> str:
    """The command that counts the sizes and backbones of these rows, and their models where ``models`` is given."""
    rows: list[ThroughputRow | FlopsRow] = [*data.throughput, *data.flops]
    named = [name for name in dict.fromkeys(row.model for row in rows) if name is not None]
    words = [begin]
    words += [models, *(map(shlex.quote, named[:MOST] or USUAL_MODELS))] if models else []
    if rows:
        words += ["--sizes", *(str(size) for size in sorted({row.image_size for row in rows}))]
        backbones = list(dict.fromkeys(str(row.backbone) for row in rows if row.model is None))
        words += ["--backbones", *map(shlex.quote, backbones[:MOST])] if backbones and not models else []
    return " ".join(words)


def _selections(rows: Sequence[FlopsRow]) -> list[Table]:
    beside_backbones = [row for row in rows if row.model is None]
    return [
        Table.from_cells(
            file_name("selections", convention, backbone, f"stride-{stride}" if stride else "", classes),
            f"Work of selections · {backbone} · convention {convention}"
            + (f" · patches {stride} pixels apart" if stride else "")
            + (f" · {classes}" if classes else ""),
            list(_report_lines(group, by_selector=True)),
            names=NAMES,
            notes=[note for note in NOTES.get(convention, ()) if not note.startswith("paper:")],
        )
        for (convention, backbone, stride, classes), group in group_by(
            beside_backbones, "convention", "backbone", _stride, _classes
        ).items()
        if any(row.selector for row in group)
    ]


def _models(rows: Sequence[FlopsRow], baseline: str | None) -> list[Table]:
    base = None if baseline is None else FlopsBaseline(baseline, rows)
    whole = [row for row in rows if row.model is not None and row.stage is None]
    tables = []
    for (convention, classes), group in group_by(whole, "convention", _classes).items():
        unit = BY_CONVENTION.get(convention, "")
        notes = [f"{unit}. % is FLOPs over those of one pass of the plain backbone."] if unit else []
        notes += [] if base is None else [base.note]
        lines = [
            {"model": word(model), "selector": word(selector), "backbone": word(backbone), **line}
            for (model, selector, backbone), rows_of_model in group_by(group, "model", "selector", "backbone").items()
            for line in _report_lines(rows_of_model, by_selector=False, baseline=base)
        ]
        title = f"Work of whole models · convention {convention}" + (f" · {classes}" if classes else "")
        name = file_name("models", convention, classes)
        tables.append(Table.from_cells(name, title, lines, names=NAMES, notes=notes))
    return tables


def _stride(row: FlopsRow) -> int | None:
    """Pixels between patches, where a grid of its own was counted."""
    stride: int | None = row.environment.get("patch_stride")
    return stride


def _classes(row: FlopsRow) -> str:
    """The classes of a head in words, where they are not the usual ones: they change a count."""
    classes = row.environment.get("num_classes")
    return "" if classes in (None, NUM_CLASSES) else how_many(classes, "class", "classes")


def _report_lines(
    rows: Sequence[FlopsRow], *, by_selector: bool, baseline: FlopsBaseline | None = None
) -> Iterator[dict[str, Cell]]:
    """A line per size, and per selector where these are rows of selectors."""
    impls, by_size = impls_of(rows), group_by(rows, "image_size")
    for size in sorted(by_size):
        groups = group_by(by_size[size], "selector") if by_selector else {None: by_size[size]}
        for selector, rows_of_selector in groups.items():
            yield _line(by_impl(rows_of_selector), impls, (selector or BACKBONE) if by_selector else None, baseline)
