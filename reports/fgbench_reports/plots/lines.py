"""Figures of lines, with names at the ends of the lines if they fit, else in a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench.results.records import Status
from fgbench_reports.plots.bars import Bar, Ends, draw_bars, draw_rings
from fgbench_reports.plots.labels import End, end_margin, ends_fit, name_ends
from fgbench_reports.plots.legend import Entry, Legend, handle
from fgbench_reports.plots.looks import Look
from fgbench_reports.plots.style import frame, in_style
from fgbench_reports.report import Drawing, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A point of a line and its text."""

    x: float
    y: float
    text: str
    half: bool = False  # whether the implementation is the published one
    status: Status = Status.OK  # a point with another status has a ring
    ends: Ends | None = None  # ends of its interval along y


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The line of a series."""

    name: str
    look: Look
    places: Sequence[Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Title, axes, legend and notes of a figure of lines."""

    heading: str
    prepare: Callable[[Axes], Sequence[End]]  # sets scales and names of axes; returns other ends to be named
    ends: Sequence[str] = ()  # names of these ends
    entries: Sequence[Entry] = ()  # entries of the legend
    notes: Sequence[str] = ()  # notes below the legend


def lined(sheet: Sheet, lines: Sequence[Line]) -> Drawing:
    """Draw a figure of lines with markers and names."""
    with in_style():
        direct = ends_fit(len(lines) + len(sheet.ends), HEIGHT)
        series = [(handle(line.look, half=all(place.half for place in line.places)), line.name) for line in lines]
        legend = Legend(blocks=[[] if direct else series, sheet.entries], notes=sheet.notes)
        names = [*sheet.ends, *([line.name for line in lines] if direct else [])]
        right = end_margin(names) if names else 10.0
        canvas, (axes,) = frame(height=HEIGHT, left=42, right=right, below=legend.height, heading=sheet.heading)
        ends = list(sheet.prepare(axes))
        for line in lines:
            draw_line(axes, line)
        name_ends(axes, [*ends, *(map(_end, lines) if direct else [])])
        legend.write(canvas)
    return Drawing(canvas=canvas, points=[point for line in lines for point in points_of(axes, line)])


def draw_line(axes: Axes, line: Line, *, marked: bool = True) -> None:
    """Draw a line, its markers and the bars of their intervals; ``marked=False`` draws about five markers."""
    axes.plot([place.x for place in line.places], [place.y for place in line.places], **line.look.strokes())
    few = line.places if marked else line.places[:: max(1, len(line.places) // 5)]
    bars = [Bar(x=place.x, y=place.y, ends=place.ends) for place in few if place.ends]
    draw_bars(axes, bars, line.look.colour, width=0.6)
    for half in (False, True):
        some = [place for place in few if place.half == half]
        if some:
            places = [place.x for place in some], [place.y for place in some]
            axes.plot(*places, **line.look.marks(half=half), clip_on=False, zorder=3)
    draw_rings(axes, [(place.x, place.y) for place in few if not place.status.is_ok], 4.5)


def points_of(axes: Axes, line: Line) -> list[Point]:
    """The points of a line with the texts that the page shows."""
    return [Point(axes=axes, x=place.x, y=place.y, text=place.text) for place in line.places]


def _end(line: Line) -> End:
    return End(x=line.places[-1].x, y=line.places[-1].y, label=line.name, colour=line.look.colour)
