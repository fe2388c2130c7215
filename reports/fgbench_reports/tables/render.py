"""One table, or the rows of a command, in every format: table, json, csv, markdown, latex, html."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgbench.results.escaping import csv_line, json_text, visible
from fgbench.results.records import Record
from fgbench_reports.tables import formats
from fgbench_reports.tables.table import Layout, Table
from fgbench_reports.tables.terminal import table_of_lines
from fgbench_reports.tables.terminal import to_terminal as to_terminal

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTables:
    """The rows of a command as each format shows them.

    Attributes:
        rows: The rows for programs, which JSON and CSV hold with all their fields.
        narrow: The tables of a terminal, one for each title.
        wide: The tables of a document, Markdown or LaTeX, with their own notes: all names stand in columns.
        notes: Sentences below the tables of a terminal.

    """

    rows: Sequence[Row]
    narrow: Sequence[Table | RichTable]
    wide: Sequence[Table]
    notes: Sequence[str] = ()

    def __add__(self, other: RowTables) -> RowTables:
        return RowTables(
            rows=[*self.rows, *other.rows],
            narrow=[*self.narrow, *other.narrow],
            wide=[*self.wide, *other.wide],
            notes=[*self.notes, *other.notes],
        )


def render(table: Table | Sequence[Table] | RowTables, style: str, *, to_file: bool = False) -> str:
    """A table, several tables, or the rows of a command as text.

    Args:
        table: What is written. Lines of several tables say their ``report`` in JSON.
        style: The format: ``table`` (for a terminal), ``json``, ``csv``, ``markdown``, ``latex`` or ``html``.
        to_file: Whether a ``table`` goes into a file, whatever standard output is.

    Raises:
        ValueError: The format is unknown.

    """
    if style not in ("table", "json", "csv", *WRITERS):
        raise ValueError(f"a format is table, json, csv, markdown, latex or html, not {style!r}")
    if isinstance(table, RowTables):
        if style == "table":
            return to_terminal(table.narrow, table.notes, to_file=to_file)
        if style in ("json", "csv"):
            saved = [row.as_dict() if isinstance(row, Record) else row for row in table.rows]
            return to_json(saved) if style == "json" else to_csv(saved)
        return "\n".join(map(WRITERS[style], table.wide))
    tables = [table] if isinstance(table, Table) else table
    if style == "table":
        return "".join(to_terminal([one], one.notes, to_file=to_file) for one in tables)
    if style == "json":
        named = [{} if isinstance(table, Table) else {"report": one.name} for one in tables]
        return to_json([name | row for name, one in zip(named, tables, strict=True) for row in formats.to_rows(one)])
    return "\n".join(map(formats.to_csv if style == "csv" else WRITERS[style], tables))


def render_words(rows: Sequence[Row], style: str, *, to_file: bool = False, not_printed: Collection[str] = ()) -> str:
    """Render simple rows of words, a column per field; for a terminal and for programs pandas is not imported.

    Args:
        rows: The rows.
        style: The format, as :func:`render` takes it.
        to_file: Whether a ``table`` goes into a file.
        not_printed: Fields that a ``table`` leaves out, which has too little room.

    """
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    words = [{name: visible(str(cell)) for name, cell in row.items()} for row in rows]
    if style in ("markdown", "latex", "html"):
        import pandas as pd

        frame = pd.DataFrame(words, columns=headings, dtype=object)
        return render(Table.from_text("rows", "", frame, names=headings), style)
    headings = [heading for heading in headings if heading not in not_printed]
    lines = [[line.get(heading, "") for heading in headings] for line in words]
    narrow = table_of_lines("", headings, lines, headings, Layout(form="plain"))
    return render(RowTables(rows=rows, narrow=[narrow], wide=[]), style, to_file=to_file)


def to_json(rows: Sequence[Row]) -> str:
    """A JSON array, an object per line."""
    lines = json_text(",\n".join(json.dumps(dict(row), allow_nan=False) for row in rows))
    return f"[\n{lines}\n]\n" if rows else "[]\n"


def to_csv(rows: Sequence[Row]) -> str:
    """Comma-separated rows under a header; missing values are empty, lists and dicts are JSON in one cell."""
    headings = list(dict.fromkeys(name for row in rows for name in row))
    lines = ([_csv_cell(row.get(name)) for name in headings] for row in rows)
    return csv_line(headings) + "".join(map(csv_line, lines))


def _csv_cell(cell: object) -> object:
    # A name that begins with "=" stays as it is: programs look rows up by it.
    return json.dumps(cell, allow_nan=False) if isinstance(cell, (dict, list)) else cell


WRITERS = {"markdown": formats.to_markdown, "latex": formats.to_latex, "html": formats.to_html}
