"""Columns of counted work: the implementations of one subject beside each other, and how a terminal shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fgbench.results.image_size import ImageSize
from fgbench.results.records import FlopsRow
from fgbench_reports.relative import FlopsBaseline, heading_of
from fgbench_reports.tables.column import Column, Line
from fgbench_reports.tables.numbers import percent, significant, with_prefix
from fgbench_reports.tables.table import Layout

BACKBONE = "(backbone)"
# The unit of FLOPs, by convention.
BY_CONVENTION = {
    "full": "FLOPs are 2·MACs + every element-wise, reduction, softmax and comparison operation",
    "fvcore": "FLOPs are what fvcore totals: MACs, and norms at 4 or 5 operations per element",
}
MANY_PERCENT, ALL_PERCENT = 5, 100  # of the backbone's FLOPs

ByImpl = Mapping[str | None, FlopsRow]  # the rows of one subject at one size; the row of None stands for every one


def by_impl(rows: Sequence[FlopsRow]) -> ByImpl:
    """Rows of one subject at one size by their implementation."""
    return {row.impl: row for row in rows}


def impls_of(rows: Sequence[FlopsRow]) -> list[str]:
    """The implementations that a table has columns for."""
    return list(dict.fromkeys(row.impl for row in rows if row.impl)) or ["published"]


def size_of(rows: ByImpl) -> ImageSize:
    """The image size in pixels."""
    return next(iter(rows.values())).image_size


TOKENS = Column("N", lambda rows: next(iter(rows.values())).num_tokens)


def cost_columns(impls: Sequence[str], baseline: FlopsBaseline | None = None) -> list[Column]:
    """MACs, FLOPs, percentage and ratio to the baseline of every implementation, of :data:`ByImpl`."""
    return [
        column
        for impl in impls
        for column in (
            Column(f"{impl} MACs", _of(impl, "macs"), with_prefix, unit="MAC", better="low"),
            Column(f"{impl} FLOPs", _of(impl, "flops"), with_prefix, unit="FLOP", better="low"),
            Column(f"{impl} %", _of(impl, "percent_of_backbone"), percent, unit="%", better="low"),
            *(
                []
                if baseline is None
                else [Column(f"{impl} {heading_of(baseline.name)}", _ratio_of(impl, baseline), significant)]
            ),
        )
    ]


def _of(impl: str, field: str) -> Callable[[ByImpl], Any]:
    def value(rows: ByImpl) -> Any:
        row = rows.get(impl) or rows.get(None)
        return getattr(row, field) if row else None

    return value


def _ratio_of(impl: str, baseline: FlopsBaseline) -> Callable[[ByImpl], float | None]:
    def value(rows: ByImpl) -> float | None:
        row = rows.get(impl) or rows.get(None)
        return baseline.ratio(row) if row else None

    return value


def cost_layout(
    blocks: Sequence[Sequence[Line]],
    impls: Sequence[str],
    *,
    column_styles: Mapping[str, str] | None = None,
    baseline: FlopsBaseline | None = None,
) -> Layout:
    """How a terminal shows blocks of lines: the first line of a block is bold, percentages have a colour."""
    styles: dict[tuple[int, str], str] = {}
    block_ends: list[int] = []
    index = -1
    for block in blocks:
        for place, line in enumerate(block):
            index += 1
            for heading, cell in line.items():
                colour = _colour(cell.value) if heading in {f"{impl} %" for impl in impls} else ""
                styles[index, heading] = " ".join(filter(None, ["bold" if place == 0 else "", colour]))
        block_ends.append(index)
    words = ("FLOPs", "%", *([] if baseline is None else [heading_of(baseline.name)]))
    headings = {f"{impl} {word}": word for impl in impls for word in words}
    return Layout(
        form="framed", headings=headings, styles=styles, column_styles=column_styles or {}, block_ends=block_ends
    )


def _colour(percent_of_backbone: float | None) -> str:
    if percent_of_backbone is None or percent_of_backbone == ALL_PERCENT:
        return ""
    return "red" if percent_of_backbone > ALL_PERCENT else "yellow" if percent_of_backbone > MANY_PERCENT else "green"
