"""Long tables on a terminal: lines as rich lays them out, in a fraction of the time that rich takes for each cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Column
    from rich.table import Table as RichTable

Line = Sequence[tuple[str, str]]  # the text of every cell, and its style as rich names it


class LongTable:
    """A table of rich whose body is written line by line.

    Title, headings and caption are rich's. The lines below are equal to rich's as long as the table fits the console.
    Where it does not, the widest columns that may be wrapped are narrowed, and figures are never cut.

    Args:
        head: The table without its lines: neither a footer nor styles of rows.
        lines: The cells of every line.
        block_ends: Lines below which a blank line stands.

    """

    def __init__(self, head: RichTable, lines: Sequence[Line], block_ends: Collection[int] = ()) -> None:
        self._head, self._lines, self._block_ends = head, lines, block_ends
        edge = 1 if head.box is not None and head.show_edge else 0
        between = 1 if head.box is not None else 0
        _, right, _, left = head.padding
        self._left = " " * (edge + (left if head.pad_edge else 0))
        self._between = " " * (right + between + left)
        self._edges = 2 * edge + (left + right if head.pad_edge else 0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The lines of the table."""
        head, widths = self._head, self._widths(options.max_width)
        for column, width in zip(head.columns, widths, strict=True):
            column.width = width
        total = sum(widths) + self._edges + len(self._between) * (len(widths) - 1)
        around = console.render_lines(head, options.update_width(max(total, options.max_width)), pad=False)
        below = int(head.box is not None and head.show_edge) + int(head.caption is not None)
        for line in around[: len(around) - below]:
            yield from (*line, Segment.line())
        for index, cells in enumerate(self._lines):
            yield from self._of(console, cells, widths)
            if head.box is not None and index in self._block_ends and index + 1 < len(self._lines):
                yield Segment("\n")
        for line in around[len(around) - below :]:
            yield from (*line, Segment.line())

    def _widths(self, most: int) -> list[int]:
        """The widths of the columns, without padding: those of the longest lines, or less where they do not fit."""
        columns = self._head.columns
        widths = [
            max(map(cell_len, [*str(column.header).split("\n"), *_pieces(line[index][0] for line in self._lines)]))
            for index, column in enumerate(columns)
        ]
        excess = sum(widths) + self._edges + len(self._between) * (len(widths) - 1) - most
        wrapped = [index for index, column in enumerate(columns) if not column.no_wrap]
        while excess > 0 and (widest := max(wrapped, key=lambda index: widths[index], default=None)) is not None:
            if widths[widest] <= 1:
                break
            widths[widest] -= 1
            excess -= 1
        return [max(width, 1) for width in widths]

    def _of(self, console: Console, cells: Line, widths: Sequence[int]) -> Iterator[Segment]:
        """The lines of one line of the table: several where a cell has several or is wrapped."""
        columns = self._head.columns
        parts = [
            _wrapped(console, text, column, width)
            for (text, _), column, width in zip(cells, columns, widths, strict=True)
        ]
        height = max(map(len, parts), default=0)
        for index, column in enumerate(columns):
            if column.vertical == "bottom" and len(parts[index]) < height:
                parts[index] = [""] * (height - len(parts[index])) + parts[index]
        for line in zip_longest(*parts, fillvalue=""):
            plain = self._left
            for index, (text, column, width) in enumerate(zip(line, columns, widths, strict=True)):
                padded = _padded(text, width, to_the_right=column.justify == "right")
                plain += self._between if index else ""
                if style := cells[index][1] or column.style:
                    yield Segment(plain)
                    yield Segment(padded, console.get_style(style))
                    plain = ""
                else:
                    plain += padded
            yield Segment(plain + "\n")


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The lines of texts, each once."""
    for text in dict.fromkeys(texts):
        yield from text.split("\n")


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    if to_the_right:
        text = text.rstrip()  # as rich does
    blanks = " " * (width - cell_len(text))
    return blanks + text if to_the_right else text + blanks


def _wrapped(console: Console, text: str, column: Column, width: int) -> list[str]:
    """The lines of a cell in a column of this width."""
    if "\n" not in text and cell_len(text) <= width:
        return [text]
    lines = Text(text).wrap(console, width, overflow="fold", no_wrap=column.no_wrap)
    return [line.plain.rstrip() for line in lines]
