"""Long tables on a terminal: lines as rich lays them out, in a fraction of the time that rich takes for each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Column

MOST_CELLS = 4_000  # of a table that rich lays out itself; it takes about a tenth of a millisecond for each


class LongTable:
    """A table of rich whose body is written line by line.

    Title, headings and caption are rich's. The lines below are equal to rich's as long as the table fits the console.
    Where it does not, the widest columns that may be wrapped are narrowed, and figures are never cut.

    Args:
        table: The table: all of its cells are texts without inner styles, and it has no footer and no row styles.

    """

    def __init__(self, table: RichTable) -> None:
        self._table = table
        self._cells = [_texts(column) for column in table.columns]
        edge = 1 if table.box is not None and table.show_edge else 0
        between = 1 if table.box is not None else 0
        _, right, _, left = table.padding
        self._left = " " * (edge + (left if table.pad_edge else 0))
        self._between = " " * (right + between + left)
        self._edges = 2 * edge + (left + right if table.pad_edge else 0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The lines of the table."""
        widths = self._widths(options.max_width)
        head, below = self._head(widths), (self._table.box is not None and self._table.show_edge)
        total = sum(widths) + self._edges + len(self._between) * (len(widths) - 1)
        around = console.render_lines(head, options.update_width(max(total, options.max_width)), pad=False)
        behind = len(around) - int(below) - (self._table.caption is not None)
        for line in around[:behind]:
            yield from (*line, Segment.line())
        for index, cells in enumerate(zip(*self._cells, strict=True)):
            yield from self._lines(console, cells, widths)
            if self._table.rows[index].end_section and index + 1 < len(self._table.rows):
                yield from self._rule(total)
        for line in around[behind:]:
            yield from (*line, Segment.line())

    def _widths(self, most: int) -> list[int]:
        """The widths of the columns, without padding: those of the longest lines, or less where they do not fit."""
        columns = self._table.columns
        widths = [
            max(
                (cell_len(line) for text in (_text(column.header), *cells) for line in text.plain.split("\n")),
                default=0,
            )
            for column, cells in zip(columns, self._cells, strict=True)
        ]
        excess = sum(widths) + self._edges + len(self._between) * (len(widths) - 1) - most
        wrapped = [index for index, column in enumerate(columns) if not column.no_wrap]
        while excess > 0 and (widest := max(wrapped, key=lambda index: widths[index], default=None)) is not None:
            if widths[widest] <= 1:
                break
            widths[widest] -= 1
            excess -= 1
        return [max(width, 1) for width in widths]

    def _head(self, widths: Sequence[int]) -> RichTable:
        """The same table without its lines."""
        table = self._table
        head = RichTable(
            title=table.title,
            caption=table.caption,
            title_justify=table.title_justify,
            box=table.box,
            padding=table.padding,
            pad_edge=table.pad_edge,
            show_edge=table.show_edge,
        )
        for column, width in zip(table.columns, widths, strict=True):
            head.add_column(
                column.header,
                justify=column.justify,
                vertical=column.vertical,
                overflow="fold",
                no_wrap=column.no_wrap,
                style=column.style,
                width=width,
            )
        return head

    def _rule(self, width: int) -> Iterator[Segment]:
        box = self._table.box
        if box is not None:
            yield Segment(" " * width)
            yield Segment.line()

    def _lines(self, console: Console, cells: Sequence[Text], widths: Sequence[int]) -> Iterator[Segment]:
        """The lines of one line of the table: several where a cell has several or is wrapped."""
        columns = self._table.columns
        parts = [_wrapped(console, *of) for of in zip(cells, columns, widths, strict=True)]
        height = max(map(len, parts), default=0)
        for index, column in enumerate(columns):
            if column.vertical == "bottom":
                parts[index] = [""] * (height - len(parts[index])) + parts[index]
        for line in zip_longest(*parts, fillvalue=""):
            plain = self._left
            for index, (text, column, width) in enumerate(zip(line, columns, widths, strict=True)):
                padded = _padded(text, width, to_the_right=column.justify == "right")
                plain += self._between if index else ""
                if (style := cells[index].style) or (style := column.style):
                    yield Segment(plain)
                    yield Segment(padded, console.get_style(style))
                    plain = ""
                else:
                    plain += padded
            yield Segment(plain)
            yield Segment.line()


def _texts(column: Column) -> list[Text]:
    return [_text(cell) for cell in column.cells]


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    if to_the_right:
        text = text.rstrip()  # as rich does
    blanks = " " * (width - cell_len(text))
    return blanks + text if to_the_right else text + blanks


def _wrapped(console: Console, cell: Text, column: Column, width: int) -> list[str]:
    """The lines of a cell in a column of this width."""
    if "\n" not in cell.plain and cell_len(cell.plain) <= width:
        return [cell.plain]
    lines = cell.wrap(console, width, overflow="fold", no_wrap=column.no_wrap)
    return [line.plain.rstrip() for line in lines]
