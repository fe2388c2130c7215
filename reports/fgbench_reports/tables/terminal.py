"""Tables on a terminal: colour where it has some, plain text into a pipe or a file."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench.results.escaping import visible, without_commands
from fgbench_reports.tables.formats import cells_of, headings_of, one_line
from fgbench_reports.tables.table import BEST, SECOND, Layout, Table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table as RichTable

    from fgbench_reports.tables.long_table import LongTable

STYLES = {BEST: "bold", SECOND: "underline"}
MOST_CELLS = 4_000  # of a table that rich lays out itself; it takes about a tenth of a millisecond for each
PIPE_WIDTH, MIN_WIDTH = 120, 80  # columns


def to_terminal(tables: Iterable[Table | RichTable], notes: Sequence[str] = (), *, to_file: bool = False) -> str:
    """Tables and their notes as text for people.

    Args:
        tables: Tables, or tables of rich.
        notes: Sentences below them.
        to_file: Whether the text goes into a file, whatever standard output is.

    """
    from rich.console import Console

    console = Console(file=io.StringIO(), width=PIPE_WIDTH, color_system=None) if to_file else _like_stdout()
    with console.capture() as captured:
        for table in tables:
            console.print(_Visible(_shown(table) if isinstance(table, Table) else table), crop=False)
        for note in map(visible, notes):
            console.print(
                note, style="dim", highlight=False, markup=False, emoji=False, soft_wrap=not console.is_terminal
            )
    lines = (line.rstrip() for line in captured.get().removesuffix("\n").split("\n"))
    return without_commands("\n".join(lines) + "\n")


def to_rich(table: Table) -> RichTable:
    """A table of rich; the notes are no part of it."""
    return _laid_out(table, table.layout) if table.layout is not None else _wide(table)


def _shown(table: Table) -> RichTable | LongTable:
    """A table as rich lays it out, or line by line where that takes too long."""
    if table.printed.size <= MOST_CELLS:
        return to_rich(table)
    return to_long(table)


def to_long(table: Table) -> LongTable:
    """A table that is laid out line by line."""
    from fgbench_reports.tables.long_table import LongTable

    layout = table.layout
    if layout is None:
        lines = [[(cell, STYLES.get(mark, "")) for cell, mark in line] for line in cells_of(table)]
        return LongTable(_wide_head(table), lines)
    headings = list(table.printed.columns)
    styles = layout.styles
    lines = [
        [(cell, styles.get((index, heading), "")) for heading, cell in zip(headings, line, strict=True)]
        for index, line in enumerate(table.printed.itertuples(index=False, name=None))
    ]
    return LongTable(_laid_out_head(table.title, headings, table.names, layout), lines, layout.block_ends)


def _wide(table: Table) -> RichTable:
    from rich.text import Text

    rich_table = _wide_head(table)
    for line in cells_of(table):
        rich_table.add_row(*(Text(cell, STYLES.get(mark, "")) for cell, mark in line))
    return rich_table


def _wide_head(table: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(one_line(table.title), "bold", no_wrap=True, overflow="ignore")  # of a table narrower than it
    rich_table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, printed in zip(table.printed.columns, headings_of(table), strict=True):
        rich_table.add_column(
            Text(printed), justify="left" if heading in table.names else "right", overflow="fold", vertical="bottom"
        )
    return rich_table


def _laid_out(table: Table, layout: Layout) -> RichTable:
    lines = table.printed.itertuples(index=False, name=None)
    return table_of_lines(table.title, list(table.printed.columns), lines, table.names, layout)


def table_of_lines(
    title: str, headings: Sequence[str], lines: Iterable[Sequence[str]], names: Collection[str], layout: Layout
) -> RichTable:
    """A table of rich out of printed cells; pandas is not imported.

    Args:
        title: What the table shows.
        headings: The headings of the columns.
        lines: The cells of every line, in the order of the headings.
        names: Headings of columns that hold names, which stand to the left.
        layout: How the table is laid out.

    """
    from rich.text import Text

    rich_table = _laid_out_head(title, headings, names, layout)
    for index, line in enumerate(lines):
        cells = zip(headings, line, strict=True)
        rich_table.add_row(*(Text(cell, layout.styles.get((index, heading), "")) for heading, cell in cells))
        if index in layout.block_ends:
            rich_table.add_section()
    return rich_table


def _laid_out_head(title: str, headings: Sequence[str], names: Collection[str], layout: Layout) -> RichTable:
    from rich.text import Text

    rich_table = _without_columns(title, layout)
    for heading in headings:
        is_figure = heading not in names
        rich_table.add_column(
            Text(layout.headings.get(heading, heading if layout.form == "plain" else stacked(heading))),
            justify="right" if is_figure else "left",
            overflow="fold",
            no_wrap=is_figure and heading not in layout.wrapped,  # never cut; names fold where a terminal is narrow
            style=layout.column_styles.get(heading, ""),
        )
    return rich_table


def stacked(heading: str) -> str:
    """A heading with every word on a line of its own."""
    return heading.replace("allocated", "alloc.").replace(" ", "\n").rstrip()


def _without_columns(title: str, layout: Layout) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    if layout.form == "plain":
        return RichTable(box=None, pad_edge=False)
    framed = layout.form == "framed"
    # Without edges the lines fit 80 columns; in place of those above and below a blank line stands.
    return RichTable(
        title=Text(title if framed else f"{title}\n", "bold", no_wrap=True, overflow="ignore"),
        caption=None if framed else " ",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=framed,
    )


@dataclass(frozen=True)
class _Visible:
    """A table whose invisible letters are shown as escapes; rich alone sets its colours."""

    table: RichTable | LongTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for text, style, control in console.render(self.table, options):
            yield Segment("\n".join(map(visible, text.split("\n"))), style, control)


def _like_stdout() -> Console:
    """A console that writes nowhere and has the width and the colours of standard output."""
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
