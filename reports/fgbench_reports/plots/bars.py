"""Uncertainty in figures: bars of intervals, the mark of a bar that goes on, of a status, of a missing interval.

Each mark has one meaning in all figures. A marker is filled; it is hollow where its value is a published one, and half
filled where the implementation is the published one. A ring around a marker is a status other than ok.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, isfinite
from typing import TYPE_CHECKING

from fgbench.results.records import Status
from fgbench_reports.plots.legend import Entry, handle
from fgbench_reports.plots.looks import DASHED, SOLID
from fgbench_reports.plots.style import INK, PAPER, Style
from fgbench_reports.sweep_rows import Point, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

REACH = 2.5  # how far bars widen a log axis beyond the values: times the largest, the smallest over it
GAP = 3.6  # points: how much larger a ring is than its marker
Ends = tuple[float, float]  # of an interval, in data coordinates; 0 and infinity where it has no end


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An interval of a point, along one axis."""

    x: float
    y: float
    ends: Ends
    side: str = "y"


def latency_ends(row: Point) -> Ends | None:
    """The 95 % interval of the latency in seconds; None where the row has none."""
    low, high, latency_s = row.latency_ci95_low_s, row.latency_ci95_high_s, row.latency_s
    if low is None or high is None or latency_s is None:
        return None
    return min(float(low), latency_s), max(float(high), latency_s)


def rate_ends(row: Point, amount: float) -> Ends | None:
    """The 95 % interval of an amount of work per second; without an upper end where the latency's reaches zero."""
    ends = latency_ends(row)
    if ends is None:
        return None
    low, high = ends
    return (amount / high if isfinite(high) and high > 0 else 0.0), (amount / low if low > 0 else inf)


def with_room(values: Sequence[float], ends: Iterable[Ends | None]) -> list[float]:
    """The values that a log axis shows, with the ends of bars as far as :data:`REACH` allows."""
    if not values:
        return []
    low, high = min(values) / REACH, max(values) * REACH
    return [*values, *(min(max(end, low), high) for some in ends if some for end in some)]


def draw_bars(axes: Axes, bars: Sequence[Bar], colour: str, *, width: float = 0.8) -> None:
    """Bars with caps; where one leaves the axes it ends there, with an arrow."""
    for side in ("x", "y"):
        edges = axes.get_xlim() if side == "x" else axes.get_ylim()
        some = [bar for bar in bars if bar.side == side]
        if not some:
            continue
        shown = [[min(max(bar.ends[end], edges[0]), edges[1]) for bar in some] for end in (0, 1)]
        still = [bar.y if side == "x" else bar.x for bar in some]
        lines = axes.hlines if side == "x" else axes.vlines
        lines(still, shown[0], shown[1], colors=colour, linewidth=width, zorder=2.5)
        for end, cut in product((0, 1), (False, True)):
            met = [at for at, bar in enumerate(some) if cut != (edges[0] <= bar.ends[end] <= edges[1])]
            ends, places = [shown[end][at] for at in met], [still[at] for at in met]
            style: Style = {
                "marker": _arrow(side, end) if cut else ("|" if side == "x" else "_"),
                "markersize": 4.0 if cut else 3.2,
                "markeredgewidth": width,
                "markerfacecolor": "none",
            }
            if met:
                where = (ends, places) if side == "x" else (places, ends)
                axes.plot(*where, linestyle="none", color=colour, clip_on=False, zorder=2.6, **style)


def bars_go_on(ends: Iterable[Ends | None], limits: tuple[float, float]) -> bool:
    """Whether any bar is longer than an axis of these limits."""
    return any(not limits[0] <= end <= limits[1] for some in ends if some for end in some)


def draw_rings(axes: Axes, places: Sequence[tuple[float, float]], size: float) -> None:
    """A ring around each marker of this size in points: its status is not ok."""
    if places:
        x, y = zip(*places, strict=True)
        axes.plot(list(x), list(y), **RING, markersize=size + GAP, clip_on=False, zorder=3.6)


def draw_unknown(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """A question mark beside each point: no interval of it is known."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure()
    if places and figure is not None:
        beside = axes.transData + ScaledTranslation(4.6 / 72, 4.6 / 72, figure.dpi_scale_trans)
        x, y = zip(*places, strict=True)
        axes.plot(list(x), list(y), **_unknown(), transform=beside, clip_on=False, zorder=4)


RING: Style = {
    **{"marker": "o", "linestyle": "none", "markerfacecolor": "none"},
    **{"markeredgecolor": INK, "markeredgewidth": 0.6},
}


def statuses_entry(statuses: Iterable[Status]) -> list[Entry]:
    """The legend's entry of a ring, with the statuses other than ok; nothing where all are ok."""
    others = sorted({as_text(status) for status in statuses if not status.is_ok}, reverse=True)
    return [(handle(**RING, markersize=7.0), " or ".join(others))] if others else []


def unknown_entry() -> Entry:
    """The legend's entry of a question mark."""
    return handle(**_unknown()), "no interval is known"


def _unknown() -> Style:
    """A question mark as a marker; text in formulas' dollars would not do, as names are never read as formulas."""
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    letter = TextPath((0, 0), "?", size=1)
    box = letter.get_extents()
    middle = [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]
    colours = {"markerfacecolor": INK, "markeredgecolor": INK, "markeredgewidth": 0.0}
    return {
        "marker": Path(letter.vertices - middle, letter.codes),
        "linestyle": "none",
        "markersize": 3.2,
        **colours,
    }


def arrow_entry(side: str = "y") -> Entry:
    """The legend's entry of an arrow at an edge."""
    return handle(**arrow_style(side)), "the bar goes on"


def arrow_style(side: str = "y") -> Style:
    """The arrow of a legend."""
    style = {"markersize": 4.0, "markeredgewidth": 0.8, "markerfacecolor": "none", "color": INK}
    return {**style, "marker": _arrow(side, 1), "linestyle": "none"}


def impl_entries() -> dict[str, Entry]:
    """The legend's entries of implementations, by name."""
    marks: Style = {"marker": "o", "markeredgecolor": INK, "markerfacecolor": INK}
    half: Style = {"fillstyle": "left", "markerfacecoloralt": PAPER}
    return {
        "published": (handle(linestyle=DASHED, **marks, **half), "published implementation"),
        "fast": (handle(linestyle=SOLID, **marks), "fast"),
    }


def _arrow(side: str, end: int) -> Path:
    """An open arrow head at the lower (0) or the upper (1) edge, as a marker: no series has one."""
    from matplotlib.path import Path

    tip = 1 if end else -1
    corners = [(-1, 0), (0, tip), (1, 0)] if side == "y" else [(0, -1), (tip, 0), (0, 1)]
    return Path(corners)
