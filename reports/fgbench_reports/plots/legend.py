"""Legends below figures: samples of series and marks, with their names, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench_reports.plots.looks import Look
from fgbench_reports.plots.style import INK, SINGLE, TEXT, Style, fitting, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

Entry = tuple["Line2D", str]
LINE, GAP = TEXT * 1.36, 5.0  # points: from line to line; above a block
HANDLE, SPACE = 22.0, 8.5  # points: of a handle and its distance from the name; between columns
LONGEST = 200.0  # points of a name
NOTE_MARGIN = 10.0  # points: of a line that stands to the left, and of letters that are set on whole pixels
SLACK = 1.04  # such letters make lines a little longer at some resolutions


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Blocks of entries below each other, each in as many columns as fit, and below them sentences."""

    blocks: Sequence[Sequence[Entry]]
    width: float = SINGLE - 8  # points
    notes: Sequence[str] = ()  # what a figure says of itself wherever it stands alone: what it leaves out, and why

    @property
    def height(self) -> float:
        """The points that it takes; none without entries."""
        return sum(_height(block, self.width) for block in self.blocks) + self._notes_height

    @property
    def _lines(self) -> list[str]:
        return [line for note in self.notes for line in wrapped(note, self.width - NOTE_MARGIN)]

    @property
    def _notes_height(self) -> float:
        return LINE * len(self._lines) + GAP if self.notes else 0.0

    def write(self, canvas: Canvas) -> None:
        """Put it at the lower edge of a canvas."""
        above, whole = 4.0, canvas.bbox.height
        for line in reversed(self._lines):
            canvas.text(6 / canvas.bbox.width, above / whole, line, va="baseline", fontsize=TEXT)
            above += LINE
        above += GAP if self.notes else 0.0
        for block in reversed(self.blocks):
            if not block:
                continue
            columns = _columns(block, self.width)
            # matplotlib fills column by column, and people read line by line.
            order = [index for column in range(columns) for index in range(column, len(block), columns)]
            canvas.legend(
                [block[index][0] for index in order],
                [fitting(block[index][1], LONGEST, TEXT) for index in order],
                loc="lower center",
                bbox_to_anchor=(0.5, above / canvas.bbox.height),
                ncols=columns,
            )
            above += _height(block, self.width)


def _height(block: Sequence[Entry], width: float) -> float:
    return LINE * -(-len(block) // _columns(block, width)) + GAP if block else 0.0


def _columns(block: Sequence[Entry], width: float) -> int:
    """As many as fit, and no more than the lines need that there are then."""
    names = [min(text_width(name) * SLACK, LONGEST) for _, name in block]
    fitting_ones = (count for count in range(len(names), 1, -1) if _total(names, count) <= width)
    most = next(fitting_ones, 1)
    return -(-len(names) // -(-len(names) // most))


def _total(names: Sequence[float], columns: int) -> float:
    return sum(HANDLE + SPACE + max(names[column::columns]) for column in range(columns)) - SPACE


def handle(look: Look | None = None, *, hollow: bool = False, half: bool = False, **fields: object) -> Line2D:
    """A legend's sample of a series, its line and its marker; without a look it is in ink, as the fields say."""
    from matplotlib.lines import Line2D

    style: Style = {"color": INK} if look is None else {**look.marks(hollow=hollow, half=half), **look.strokes()}
    style = {**style, **fields}
    return Line2D([], [], **style)
