"""Figures of selections by themselves, as SVG that is the same every time: time, roofline, back ends."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fgbench.results.records import BackendRow, SelectionRow, Status
from fgbench_reports.data import group_by
from fgbench_reports.plots.bars import (
    RING,
    Bar,
    Ends,
    arrow_style,
    bars_go_on,
    draw_bars,
    draw_rings,
    draw_unknown,
    latency_ends,
    rate_ends,
    unknown_entry,
    with_room,
)
from fgbench_reports.plots.looks import FAMILIES, looks_of
from fgbench_reports.plots.roof import Roof, above_notes
from fgbench_reports.plots.scatter import Mark
from fgbench_reports.plots.style import INK, PAPER, Settings, Style, in_style, palette, wrapped
from fgbench_reports.plots.sweeps import listed, not_drawn
from fgbench_reports.selector_cost import BACKBONE, DeviceRates, PlaceRows, intensity, row_name, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"  # of back ends
LINES = {"published": "--", "fast": "-"}
SIZE, NOTE_SIZE, NOTE_WIDTH = 6.0, 8.0, 480.0  # points: of a marker and of the letters of a note; its line
SETTINGS: Settings = {
    "svg.hashsalt": "fgbench",
    "svg.fonttype": "path",
    "figure.dpi": 72.0,
    "axes.grid.which": "major",
}
MARGIN = 1.4  # of a log axis, beyond what it shows
CHOSEN: Style = {"markeredgecolor": INK, "markeredgewidth": 1.6}
AnyTimed = TypeVar("AnyTimed", SelectionRow, BackendRow)


class TimedPoint(NamedTuple):
    """Where a row is drawn, the interval along y, and the status of the row."""

    x: float
    y: float
    ends: Ends | None
    status: Status


def draw_time(place: PlaceRows) -> str:
    """Time against image size, as SVG.

    Args:
        place: The rows of one place, as :func:`fgbench_reports.blocks.places` groups them.

    """
    rows = place.selections
    notes = ["Bars are 95 % intervals of the time.", *_untimed(rows, row_name)]
    return _drawn(lambda axes: _time(axes, rows), f"Time of one selection\n{title(place)}", notes)


def draw_roofline(place: PlaceRows) -> str:
    """Operations per second against operations per byte, under the roof of the device, as SVG."""
    rows, rates = place.selections, place.rates
    notes = ["Bars are 95 % intervals of the speed.", *_above(rows, rates), *_untimed(rows, row_name)]
    return _drawn(lambda axes: _roofline(axes, rows, rates), f"Roofline\n{title(place)}", notes)


def draw_crossover(place: PlaceRows) -> str:
    """Time of the back ends of v·A against the number of tokens, as SVG."""
    backends = place.backends
    notes = ["Bars are 95 % intervals of the time.", *_untimed(backends, _backend_name)]
    return _drawn(lambda axes: _crossover(axes, backends), f"Back ends of v·A\n{title(place)}", notes)


def _backend_name(row: BackendRow) -> str:
    return f"{row.backend} at N = {row.num_tokens}, B·H = {row.maps}"


def _untimed(rows: Sequence[AnyTimed], name: Callable[[AnyTimed], str]) -> list[str]:
    """The rows that a figure leaves out because they have no time."""
    lost = [row for row in rows if row.latency_s is None]
    met = listed(sorted({str(row.status) for row in lost}))
    return not_drawn(len(lost), "point", listed([name(row) for row in lost]), f"no time, status {met}")


def _timed(rows: Sequence[AnyTimed]) -> list[AnyTimed]:
    return [row for row in rows if row.latency_s is not None]


def _above(rows: Sequence[SelectionRow], rates: DeviceRates) -> list[str]:
    """The points above the roof, and how that can be."""
    flop_s, bytes_s = rates.product_flop_s, rates.copy_bytes_s
    if not (flop_s and bytes_s):
        return ["There is no roof: the device's rates were not measured."]
    marks = [
        Mark(
            series=(row.selector, row.impl),
            x=intensity(row) or 0.0,
            y=row.flops / _seconds(row),
            image_size=row.image_size,
            text="",
        )
        for row in _with_work(rows)
    ]
    labels = {mark.series: " ".join(str(word) for word in mark.series if word) or "backbone" for mark in marks}
    return above_notes(marks, Roof(product_flop_s=flop_s, copy_bytes_s=bytes_s), labels)


def _with_work(rows: Sequence[SelectionRow]) -> list[SelectionRow]:
    return [row for row in _timed(rows) if row.flops]


def _drawn(draw: Callable[[Axes], None], heading: str, notes: Sequence[str]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with in_style(SETTINGS):
        lines = [line for note in notes for line in wrapped(note, NOTE_WIDTH, NOTE_SIZE)]
        figure: Figure = Figure(figsize=(7.2, 4.6 + 0.15 * len(lines)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        draw(axes)
        axes.set_title(heading, loc="left", fontsize=10)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=NOTE_SIZE)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _time(axes: Axes, rows: Sequence[SelectionRow]) -> None:
    """Seconds against image size: a colour and a marker per selector, dashed and half filled where published."""
    marked: list[TimedPoint] = []
    _make_room(axes, [_timed_point(row.image_size, row) for row in _timed(rows)])
    for (selector, impl), line in group_by(rows, "selector", "impl").items():
        points = [_timed_point(row.image_size, row) for row in _timed(line)]
        if points:
            look = _look(selector, impl)
            axes.plot([point.x for point in points], [point.y for point in points], **look)
            _draw_bars(axes, points, look["color"])
            marked += points
    _draw_states(axes, marked)
    _name_ticks(axes, sorted({row.image_size for row in rows}))
    axes.set_xlabel("image size in pixels")
    axes.set_ylabel("seconds per batch")


def _roofline(axes: Axes, rows: Sequence[SelectionRow], rates: DeviceRates) -> None:
    """Operations per second against operations per byte; a larger marker is a larger image."""
    sizes = sorted({row.image_size for row in rows})
    timed, marked = _with_work(rows), list[TimedPoint]()
    flop_s, bytes_s = rates.product_flop_s, rates.copy_bytes_s
    _make_room(axes, [_speed_point(row) for row in timed], [flop_s] if flop_s else [])
    for (selector, impl), some in group_by(timed, "selector", "impl").items():
        look = _look(selector, impl)
        points = [_speed_point(row) for row in some]
        line = {"color": look["color"], "linestyle": ":", "linewidth": 0.6}
        axes.plot([point.x for point in points], [point.y for point in points], **line)
        _draw_bars(axes, points, look["color"])
        axes.plot([], [], **{**look, "linestyle": "none"})
        for rank, of_size in enumerate(sizes):
            of_row = zip(some, points, strict=True)
            places = [(point.x, point.y) for row, point in of_row if row.image_size == of_size]
            style = {**look, "label": None, "linestyle": "none", "markersize": (25 + 30 * rank) ** 0.5}
            if places:
                axes.plot(*zip(*places, strict=True), **style, zorder=3)
        marked += points
    if flop_s and bytes_s:
        ridge = flop_s / bytes_s
        ends = [min([ridge / 10, *(intensity(row) or ridge for row in timed)]) / 2]
        ends += [ridge, max([ridge * 10, *(intensity(row) or ridge for row in timed)]) * 2]
        axes.plot(ends, [ends[0] * bytes_s, flop_s, flop_s], color="black", linewidth=1.5, label="copies, products")
    _draw_states(axes, marked)
    axes.set_xlabel("FLOPs per byte, as counted")
    axes.set_ylabel("FLOPs per second, as measured")


def _crossover(axes: Axes, rows: Sequence[BackendRow]) -> None:
    """Seconds of one v·A against the elements of its maps; markers with a black edge are chosen."""
    names, marked = list(dict.fromkeys(row.backend for row in rows)), list[TimedPoint]()
    _make_room(axes, [_timed_point(0, row) for row in _timed(rows)])
    for (name, maps), line in group_by(rows, "backend", "maps").items():
        timed = _timed(line)
        points = [_timed_point(maps * row.num_tokens**2, row) for row in timed]
        index, few = names.index(name), maps == min(row.maps for row in rows)
        look: Style = {"color": palette()[index], "marker": MARKERS[index], "markersize": SIZE}
        x, y = [point.x for point in points], [point.y for point in points]
        axes.plot(x, y, **look, linestyle="-" if few else "--", label=f"{name}, B·H = {maps}")
        _draw_bars(axes, points, look["color"])
        chosen = [(point.x, point.y) for row, point in zip(timed, points, strict=True) if row.chosen]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), **look, **CHOSEN, linestyle="none", zorder=3)
        marked += points
    if any(row.chosen for row in _timed(rows)):
        sample: Style = {"color": PAPER, "marker": "s", "markersize": SIZE, "linestyle": "none"}
        axes.plot([], [], **sample, **CHOSEN, label="chosen: a black edge")
    _draw_states(axes, marked)
    axes.set_xlabel("elements of the maps, B·H·N²")
    axes.set_ylabel("seconds")


def _timed_point(x: float, row: SelectionRow | BackendRow) -> TimedPoint:
    return TimedPoint(x, _seconds(row), latency_ends(row), row.status)


def _speed_point(row: SelectionRow) -> TimedPoint:
    speed, ends = row.flops / _seconds(row), rate_ends(row, float(row.flops))
    return TimedPoint(intensity(row) or 0.0, speed, ends, row.status)


def _seconds(row: SelectionRow | BackendRow) -> float:
    """The latency, which every row that is drawn has."""
    assert row.latency_s is not None
    return row.latency_s


def _draw_bars(axes: Axes, points: Sequence[TimedPoint], colour: str) -> None:
    draw_bars(axes, [Bar(x=point.x, y=point.y, ends=point.ends) for point in points if point.ends], colour)


def _make_room(axes: Axes, points: Sequence[TimedPoint], others: Sequence[float] = ()) -> None:
    """A y axis that holds the points, their bars as far as they do not dwarf the points, and these other values."""
    met = [*with_room([point.y for point in points], [point.ends for point in points]), *others]
    if met:
        axes.set_ylim(min(met) / MARGIN, max(met) * MARGIN)


def _draw_states(axes: Axes, points: Sequence[TimedPoint]) -> None:
    """Rings where the status is not ok, question marks where no interval is known, and what they mean."""
    disturbed = [point for point in points if not point.status.is_ok]
    met = sorted({str(point.status) for point in disturbed}, reverse=True)
    draw_rings(axes, [(point.x, point.y) for point in disturbed], SIZE)
    if met:
        axes.plot([], [], **RING, markersize=SIZE + 2, label=" or ".join(met))
    if bars_go_on([point.ends for point in points], axes.get_ylim()):
        axes.plot([], [], **arrow_style(), label="the bar goes on")
    unknown = [(point.x, point.y) for point in points if point.ends is None]
    draw_unknown(axes, unknown)
    if unknown:
        sample, label = unknown_entry()
        axes.plot([], [], marker=sample.get_marker(), markersize=4, color=INK, linestyle="none", label=label)


def _look(selector: str | None, impl: str | None) -> Style:
    """The same colour and marker as in the figures of reports."""
    if selector is None:
        return {"color": INK, "marker": "h", "linestyle": "-.", "linewidth": 1.8, "markersize": SIZE, "label": BACKBONE}
    look = looks_of([*FAMILIES, selector])[selector]
    style = {**look.marks(half=impl != "fast"), **look.strokes(), "linestyle": LINES.get(str(impl), ":")}
    return {**style, "markersize": SIZE, "label": f"{selector}, {impl}"}


def _name_ticks(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xticks(list(sizes), labels=[str(size) for size in sizes])
    axes.set_xticks([], minor=True)
