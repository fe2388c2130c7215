"""Rows and frames as text that programs read. One place turns them into a format; another one writes."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgbench.results.escaping import (
    csv_line,
    json_text,
    latex_text,
    markdown_paragraph,
    markdown_text,
    visible,
    without_commands,
)
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.latex import tabular

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table

PIPE_WIDTH, MIN_WIDTH = 120, 80  # columns
# Of a table of figures, the columns that hold none.
NAMES = (
    *("dataset", "convention", "model", "backbone", "selector", "part"),
    *("device name", "impl", "device", "dtype", "mode", "status", "best"),
)


def to_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """A JSON array, an object per line."""
    lines = json_text(",\n".join(json.dumps(dict(row), allow_nan=False) for row in rows))
    return f"[\n{lines}\n]\n" if rows else "[]\n"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Comma-separated rows under a header; missing values are empty, lists and dicts are JSON in one cell."""
    headings = list(dict.fromkeys(name for row in rows for name in row))
    lines = ([_csv_cell(row.get(name)) for name in headings] for row in rows)
    return csv_line(headings) + "".join(map(csv_line, lines))


def _csv_cell(cell: object) -> object:
    # A name that begins with "=" stays as it is: programs look rows up by it.
    return json.dumps(cell, allow_nan=False) if isinstance(cell, (dict, list)) else cell


def to_markdown(frame: pd.DataFrame, names: Collection[str] = NAMES, notes: Sequence[str] = ()) -> str:
    """A pipe table and its notes; what Markdown would read is escaped, columns that hold names stand to the left."""
    escaped = frame.map(lambda cell: markdown_text(str(cell)))
    body = str(escaped.to_markdown(index=False, disable_numparse=True, colalign=_alignment(frame, names)))
    return "\n\n".join([body, *map(markdown_paragraph, notes)]) + "\n"


def to_latex(frame: pd.DataFrame, names: Collection[str] = NAMES, notes: Sequence[str] = ()) -> str:
    """A booktabs table, its notes as comments; what LaTeX would read is escaped, names stand to the left."""
    lines = [[latex_text(as_text(cell).strip()) for cell in line] for line in frame.itertuples(index=False, name=None)]
    return tabular([str(heading) for heading in frame.columns], lines, names=names, notes=notes)


def _alignment(frame: pd.DataFrame, names: Collection[str]) -> list[str]:
    return ["left" if name in names else "right" for name in frame.columns]


def to_terminal(tables: Iterable[Table], notes: Sequence[str] = (), *, to_file: bool = False) -> str:
    """Tables for people: colour on a terminal, plain text into a pipe or a file."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=PIPE_WIDTH, color_system=None) if to_file else _like_stdout()
    with console.capture() as captured:
        for table in tables:
            console.print(_Visible(table))
        for note in map(visible, notes):
            console.print(
                note, style="dim", highlight=False, markup=False, emoji=False, soft_wrap=not console.is_terminal
            )
    lines = (line.rstrip() for line in captured.get().removesuffix("\n").split("\n"))
    return without_commands("\n".join(lines) + "\n")


@dataclass(frozen=True)
class _Visible:
    """A table whose letters are visible, whoever made it; what colours it is rich's own."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for text, style, control in console.render(self.table, options):
            yield Segment("\n".join(map(visible, text.split("\n"))), style, control)


def _like_stdout() -> Console:
    """A console that writes nowhere and looks like standard output: writing is another's work."""
    from rich.console import Console

    out = Console()
    if not out.is_terminal:
        return Console(file=io.StringIO(), width=PIPE_WIDTH, color_system=None)
    # A terminal narrower than a table may wrap its lines; a digit is never cut.
    return Console(
        file=io.StringIO(),
        width=max(out.width, MIN_WIDTH),
        force_terminal=True,
        color_system=out.color_system,  # type: ignore[arg-type]  # rich returns what it takes
    )


def records(rows: Sequence[Mapping[str, Any]], style: str, *, to_file: bool = False) -> str:
    """Simple rows of words, a column per field, in any format."""
    if style == "json":
        return to_json(rows)
    if style == "csv":
        return to_csv(rows)
    if style in ("markdown", "latex"):
        import pandas as pd

        frame = pd.DataFrame([{name: visible(str(cell)) for name, cell in row.items()} for row in rows])
        write = to_markdown if style == "markdown" else to_latex
        return write(frame, names=frame.columns)
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in rows[0] if rows else ():
        table.add_column(heading, overflow="fold")  # a name that is cut is no name
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row.values()))
    return to_terminal([table], to_file=to_file)
