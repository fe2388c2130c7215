"""What the tables of counted work share: lines of cells, an implementation beside the other, colours by share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fgbench.results.escaping import visible
from fgbench_reports.tables.numbers import percent, with_prefix

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
AnyRow = TypeVar("AnyRow", bound=Row)
Line = dict[str, str]


def grouped(rows: Sequence[AnyRow], *keys: str) -> dict[Any, list[AnyRow]]:
    """Rows by the values of some fields, in the order in which they come."""
    groups: dict[Any, list[AnyRow]] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        groups.setdefault(key if len(keys) > 1 else key[0], []).append(row)
    return groups


def impls_of(rows: Sequence[Row]) -> list[str]:
    """The implementations that a table has columns for."""
    return list(dict.fromkeys(row["impl"] for row in rows if row["impl"])) or ["published"]


def cost_cells(rows: Sequence[Row], impls: Sequence[str]) -> Line:
    """MACs, FLOPs and percentage per implementation; a row without one stands for all, and what is missing is –."""
    by_impl = {row["impl"]: row for row in rows}
    cells: Line = {}
    for impl in impls:
        row = by_impl.get(impl) or by_impl.get(None)
        cells[f"{impl} MACs"] = with_prefix(row["macs"]) if row else "–"
        cells[f"{impl} FLOPs"] = with_prefix(row["flops"]) if row else "–"
        cells[f"{impl} %"] = percent(row["percent_of_backbone"]) if row else "–"
    return cells


def cost_table(
    title: str, label: str, impls: Sequence[str], blocks: Iterable[Iterable[Line]], *, last: str | None = None
) -> Table:
    """A terminal table: a block of lines per image size, whose first line is the backbone's.

    ``label`` is the column that names a line; ``last`` one more column behind the implementations, as "paper %".
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(visible(title), "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,  # with this, the lines fit 80 columns
    )
    for heading in ("size", "N", label):
        table.add_column(heading, justify="left" if heading == label else "right", overflow="fold")
    for impl in impls:
        for heading in ("MACs", "FLOPs", "%"):
            table.add_column(f"{impl}\n{heading}" if heading == "MACs" else f"\n{heading}", justify="right")
    if last is not None:
        table.add_column(last.replace(" ", "\n"), justify="right", style="dim")
    for lines in blocks:
        for index, line in enumerate(lines):
            cells = [line["size"] if index == 0 else "", line["N"], escape(visible(line[label]))]
            for impl in impls:
                cells += [line[f"{impl} MACs"], line[f"{impl} FLOPs"], _coloured(line[f"{impl} %"])]
            if last is not None:
                cells.append(line[last])
            table.add_row(*cells, style="bold" if index == 0 else None)
        table.add_section()
    return table


def _coloured(cell: str) -> str:
    try:
        value = float(cell.lstrip("<"))
    except ValueError:
        return cell
    if value == 100:
        return cell
    return f"[{'red' if value > 100 else 'yellow' if value > 5 else 'green'}]{cell}[/]"
