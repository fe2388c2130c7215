"""Scatter plots: colour and marker show the series, area the image size; a line joins the sizes of a series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from fgbench.results.records import Status
from fgbench_reports.plots.bars import (
    Bar,
    Ends,
    draw_bars,
    draw_rings,
    draw_unknown,
    impl_entries,
    statuses_entry,
    unknown_entry,
)
from fgbench_reports.plots.labels import place_names
from fgbench_reports.plots.legend import Entry, Legend, handle
from fgbench_reports.plots.looks import SOLID, Look, Series
from fgbench_reports.plots.style import INK, PAPER, Style, frame, in_style
from fgbench_reports.report import Drawing, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 160.0
PUBLISHED_MARK: Style = {  # mark of a published accuracy in the legend
    **{"marker": "o", "linestyle": "none", "markersize": 5.0, "markeredgecolor": INK, "markerfacecolor": PAPER},
}
SAME = 0.02  # share by which throughputs must differ to be called cheaper or dearer
BESIDE = 8.0  # points: from the centre of a mark to the caret that says whether it saves
CARETS: dict[bool, tuple[str, Style]] = {  # by whether a model saves: the word in the legend, and its caret
    saves: (word, {"marker": marker, "linestyle": "none", "markersize": 3.0, "color": INK, "markeredgewidth": 0.0})
    for saves, word, marker in ((True, "saves: faster than the plain vit", ">"), (False, "costs: slower than it", "<"))
}
STUB = 9.0  # points: length of a short line to each side of a mark
MAX_NAMES = 8  # most names beside points; with more series, the names are in a legend


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of a scatter plot, its series and its text."""

    series: Series
    x: float
    y: float
    image_size: int
    text: str
    hollow: bool = False  # whether its value is a published one
    ends: Ends | None = None  # ends of an interval along y
    across: Ends | None = None  # ends of an interval along x
    half: bool = False  # whether the implementation is the published one
    status: Status = Status.OK  # a mark with another status has a ring
    unsure: bool = False  # whether its interval is unknown, while other marks have one
    times_plain: float | None = None  # its throughput over that of the plain model on the same backbone and size

    @property
    def saves(self) -> bool | None:
        """Whether it is faster than the plain model, and not slower; None where the two hardly differ."""
        times = self.times_plain
        return None if times is None or abs(times - 1) < SAME else times > 1

    @property
    def bars(self) -> list[Bar]:
        """The bars of its intervals."""
        found = [Bar(x=self.x, y=self.y, ends=self.ends)] if self.ends else []
        return [*found, *([Bar(x=self.x, y=self.y, ends=self.across, side="x")] if self.across else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Axes, title and notes of a scatter plot, and entries of its legend besides series and sizes."""

    heading: str
    prepare: Callable[[Axes], None]  # sets scales, limits and names of axes, and draws the background
    entries: Sequence[tuple[str, Style]] = ()  # names and properties of matplotlib's Line2D
    right: float = 8.0  # points: margin to the right of the axes
    named: bool = True  # whether names are beside the points if they fit
    notes: Sequence[str] = ()  # notes below the legend


def scattered(
    plane: Plane, marks: Sequence[Mark], looks: Mapping[Series, Look], names: Mapping[Series, str]
) -> Drawing:
    """Draw a scatter plot, with names beside the marks if they fit, else in the legend."""
    with in_style():
        series = list(dict.fromkeys(mark.series for mark in marks))
        if plane.named and len(series) <= MAX_NAMES:
            drawing, fits = _drawn(plane, marks, looks, names, series, direct=True)
            if fits:
                return drawing
        return _drawn(plane, marks, looks, names, series, direct=False)[0]


def diameter(image_size: int) -> float:
    """The diameter of a marker in points; its area is proportional to the image size, within limits."""
    return float(min(9.5, max(3.6, 4.2 * (image_size / 224) ** 0.5)))


def _drawn(
    plane: Plane,
    marks: Sequence[Mark],
    looks: Mapping[Series, Look],
    names: Mapping[Series, str],
    series: Sequence[Series],
    *,
    direct: bool,
) -> tuple[Drawing, bool]:
    measured = {mark.series for mark in marks if not mark.hollow}
    whole = {mark.series for mark in marks if not mark.half}
    shapes = {each: {"hollow": each not in measured, "half": each not in whole} for each in series}
    entries = [(handle(looks[each], **shapes[each], markersize=5), names[each]) for each in series]
    legend = Legend(blocks=[[] if direct else entries, *_keys(_sizes(marks), _extra(plane, marks))], notes=plane.notes)
    canvas, (axes,) = frame(height=HEIGHT, right=plane.right, below=legend.height, heading=plane.heading)
    plane.prepare(axes)
    for each in series:
        _draw(axes, [mark for mark in marks if mark.series == each], looks[each])
    legend.write(canvas)
    points = [Point(axes=axes, x=mark.x, y=mark.y, text=mark.text) for mark in marks]
    if not direct:
        return Drawing(canvas=canvas, points=points), True
    wanted = [(names[each], [(mark.x, mark.y) for mark in reversed(marks) if mark.series == each]) for each in series]
    return Drawing(canvas=canvas, points=points), place_names(axes, wanted)


def _draw(axes: Axes, marks: Sequence[Mark], look: Look) -> None:
    sizes = sorted({mark.image_size for mark in marks})
    if 1 < len(sizes) == len(marks):  # one point per size: a path joins them
        path = sorted(marks, key=lambda mark: mark.image_size)
        axes.plot(*_places(path), **{**look.strokes(), "linewidth": 0.7, "alpha": 0.75}, zorder=2)
    elif look.line != SOLID:
        _draw_stubs(axes, marks, look)
    draw_bars(axes, [bar for mark in marks for bar in mark.bars], look.colour, width=0.7)
    for size in reversed(sizes):  # small marks are drawn over large ones
        for hollow, half in product((True, False), repeat=2):
            some = [mark for mark in marks if (mark.image_size, mark.hollow, mark.half) == (size, hollow, half)]
            if some:
                style = {**look.marks(hollow=hollow, half=half), "markersize": diameter(size)}
                axes.plot(*_places(some), **style, zorder=3 + 1 / diameter(size))
        rings = [(mark.x, mark.y) for mark in marks if mark.image_size == size and not mark.status.is_ok]
        draw_rings(axes, rings, diameter(size))
    draw_unknown(axes, [(mark.x, mark.y) for mark in marks if mark.unsure])
    for mark in marks:
        if mark.saves is not None:
            x, y = axes.transData.transform((mark.x, mark.y))
            beside = axes.transAxes.inverted().transform((x + (BESIDE if mark.saves else -BESIDE), y))
            axes.plot(*[[end] for end in beside], **CARETS[mark.saves][1], transform=axes.transAxes, zorder=4)


def _draw_stubs(axes: Axes, marks: Sequence[Mark], look: Look) -> None:
    """Draw a short line through each mark, as in the legend, to distinguish variants of a model without a path."""
    for x, y in axes.transData.transform([(mark.x, mark.y) for mark in marks]):
        ends = axes.transAxes.inverted().transform([(x - STUB, y), (x + STUB, y)])
        axes.plot(*zip(*ends, strict=True), **look.strokes(), transform=axes.transAxes, zorder=2)


def _places(marks: Sequence[Mark]) -> tuple[list[float], list[float]]:
    return [mark.x for mark in marks], [mark.y for mark in marks]


def _sizes(marks: Sequence[Mark]) -> list[Entry]:
    style: Style = {
        "marker": "o",
        "linestyle": "none",
        "markerfacecolor": INK,
        "markeredgecolor": INK,
        "markeredgewidth": 0.0,
    }
    sizes = sorted({mark.image_size for mark in marks})
    return [(handle(markersize=diameter(size), **style), f"{size} px") for size in sizes]


def _keys(sizes: list[Entry], others: list[Entry]) -> list[list[Entry]]:
    """The entries in one row if they fit, else in two."""
    together = Legend(blocks=[[*sizes, *others]])
    return [[*sizes, *others]] if together.height <= Legend(blocks=[sizes]).height else [sizes, others]


def _extra(plane: Plane, marks: Sequence[Mark]) -> list[Entry]:
    entries: list[Entry] = [(handle(**line), name) for name, line in plane.entries]
    entries += [(handle(**PUBLISHED_MARK), "published accuracy")] if any(mark.hollow for mark in marks) else []
    entries += [impl_entries()["published"]] if any(mark.half for mark in marks) else []
    entries += [(handle(**look), word) for saves, (word, look) in CARETS.items() if saves in {m.saves for m in marks}]
    entries += statuses_entry(mark.status for mark in marks)
    entries += [unknown_entry()] if any(mark.unsure for mark in marks) else []
    return entries
