"""The tables of ``fgbench flops --models``: a whole model beside its plain backbone, and its stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fgbench.results.records import FlopsRow
from fgbench_reports.data import Row, group_by, records
from fgbench_reports.measured.flops import size_once
from fgbench_reports.measured.flops_columns import (
    BACKBONE,
    BY_CONVENTION,
    TOKENS,
    by_impl,
    cost_columns,
    cost_layout,
    impls_of,
    size_of,
)
from fgbench_reports.relative import FlopsBaseline
from fgbench_reports.tables.column import Cell, figure, line_of, word
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Table

STAGE = "part"  # its heading, the earlier name of a stage
NOTES = (
    "MACs are the multiply–adds of matrix products and convolutions; {flops}. % is FLOPs over those of one pass of "
    "the plain backbone, without overlapping patches.",
    "pass 1: the whole image, with the maps that a published selector wants; selector: scores; crop: box, cut, resize; "
    "pass 2: all further passes; fusion: selected tokens, last blocks, heads (CAL's belong to its passes).",
)

REDUCTION = "reduction"
REDUCTION_NOTE = (
    f"{REDUCTION}: scores, choice and merging of tokens. Blocks behind it run on the tokens that are left; where their "
    "number depends on the image, on the most that can be."
)
OUTSIDE = "(outside)"
OUTSIDE_NOTE = f"{OUTSIDE}: the work of a model that it does in none of its stages."


def model_tables(rows: Sequence[Row], *, saved: Sequence[Row] | None = None, baseline: str | None = None) -> RowTables:
    """The rows of models as each format shows them; a terminal shows a table per model, backbone and selector.

    Args:
        rows: Counted rows of models, of their stages and of plain backbones.
        saved: The rows for programs, where these are others.
        baseline: A model: columns have the ratios of FLOPs to its own.

    """
    counted = records(FlopsRow, rows)
    base = None if baseline is None else FlopsBaseline(baseline, counted)
    narrow = []
    for (convention, model, backbone, selector), group in _by_model(counted).items():
        impls = impls_of(group)
        blocks = [
            list(_lines(_plain(counted, convention, backbone, size), of_size, impls, base))
            for size, of_size in group_by(group, "image_size").items()
        ]
        title = " · ".join(filter(None, [model, backbone, selector, f"convention {convention}"]))
        lines = [line for block in blocks for line in size_once(block)]
        layout = cost_layout(blocks, impls, baseline=base)
        narrow.append(Table.from_cells("models", title, lines, names=(STAGE,), layout=layout))
    notes = [*model_notes(counted), *([] if base is None else [base.note])]
    return RowTables(
        rows=rows if saved is None else saved, narrow=narrow, wide=[_wide(counted, notes, base)], notes=notes
    )


def model_notes(rows: Sequence[FlopsRow]) -> list[str]:
    """The columns and the stages."""
    conventions = dict.fromkeys(row.convention for row in rows)
    notes = [note.format(flops=BY_CONVENTION[convention]) for convention in conventions for note in NOTES]
    told = {REDUCTION: REDUCTION_NOTE, OUTSIDE: OUTSIDE_NOTE}
    return [*notes, *(note for stage, note in told.items() if any(row.stage == stage for row in rows))]


def _wide(rows: Sequence[FlopsRow], notes: Sequence[str], baseline: FlopsBaseline | None) -> Table:
    impls, lines = impls_of(rows), []
    for (convention, model, backbone, selector), group in _by_model(rows).items():
        names = {"convention": word(convention), "model": word(model), "backbone": word(backbone)}
        names["selector"] = word(selector)
        for size, of_size in group_by(group, "image_size").items():
            plain = _plain(rows, convention, backbone, size)
            lines += [names | line for line in _lines(plain, of_size, impls, baseline)]
    return Table.from_cells(
        "models", "", lines, names=("convention", "model", "backbone", "selector", STAGE), notes=notes
    )


def _by_model(rows: Sequence[FlopsRow]) -> dict[tuple[str, str, str, str | None], list[FlopsRow]]:
    return group_by([row for row in rows if row.model], "convention", "model", "backbone", "selector")


def _plain(rows: Sequence[FlopsRow], convention: str, backbone: str, size: int) -> list[FlopsRow]:
    wanted = (None, convention, backbone, size)
    return [row for row in rows if (row.model, row.convention, row.backbone, row.image_size) == wanted]


def _lines(
    plain: Sequence[FlopsRow], rows: Sequence[FlopsRow], impls: Sequence[str], baseline: FlopsBaseline | None
) -> Iterator[dict[str, Cell]]:
    """One size of one model: its backbone, the model, its stages."""
    if plain:
        yield _line(plain, BACKBONE, impls, baseline)
    for stage, group in group_by(rows, "stage").items():
        yield _line(group, f"  {stage}" if stage else group[0].model, impls, baseline)


def _line(
    rows: Sequence[FlopsRow], label: str | None, impls: Sequence[str], baseline: FlopsBaseline | None
) -> dict[str, Cell]:
    subject = by_impl(rows)
    line = {"size": figure(size_of(subject), str), TOKENS.heading: TOKENS.cell(subject), STAGE: word(label)}
    return line | line_of(cost_columns(impls, baseline), subject)
