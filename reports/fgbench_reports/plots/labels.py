"""Names beside lines and points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

from fgbench_reports.plots.legend import LINE
from fgbench_reports.plots.style import TEXT, fitting, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEADER = 12.0  # points between a line's end and its name
CROSSED = 1  # largest number of lines that cross a name
CLEARANCE, FOREIGN = 5.0, 8.0  # points between a name and its own point, and points of other series
LONGEST = 110.0  # points: largest width of a name
Box = tuple[float, float, float, float]  # left, bottom, right, top
Stroke = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a line in data coordinates, with the name and colour of the line."""

    x: float
    y: float
    label: str
    colour: str


def end_margin(labels: Sequence[str]) -> float:
    """The width of the names to the right of the axes, in points."""
    return LEADER + 6.0 + max((min(text_width(label), LONGEST) for label in labels), default=0.0)


def ends_fit(count: int, height: float) -> bool:
    """Whether ``count`` names, one below the other, fit into a height in points."""
    return count * LINE <= height + LINE


def name_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write names to the right of the axes without overlaps, each with a thin line from its end."""
    box = axes.get_window_extent()
    placed = sorted(ends, key=lambda end: float(axes.transData.transform((end.x, end.y))[1]))
    wanted = [float(axes.transData.transform((end.x, end.y))[1]) for end in placed]
    for end, height in zip(placed, spread(wanted, LINE, box.y0, box.y1), strict=True):
        x, y = axes.transData.transform((end.x, end.y))
        points = axes.transAxes.inverted().transform(
            [(x + 4, y), (box.x1 + LEADER - 5, height), (box.x1 + LEADER - 1.5, height)]
        )
        axes.plot(
            *zip(*points, strict=True),
            transform=axes.transAxes,
            color=end.colour,
            linewidth=0.5,
            clip_on=False,
            zorder=1.5,
        )
        x, y = axes.transAxes.inverted().transform((box.x1 + LEADER, height))
        axes.text(
            x, y, fitting(end.label, LONGEST, TEXT), transform=axes.transAxes, va="center_baseline", fontsize=TEXT
        )


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Ascending positions, ``apart`` from each other near the wanted ones; within ``low`` … ``high`` if they fit."""
    # After subtraction of ``index * apart`` the positions must ascend only: isotonic regression by pooling neighbours.
    pools: list[tuple[float, int]] = []  # mean of the wanted positions, and their number
    for index, place in enumerate(wanted):
        pool = (place - index * apart, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, members = pools.pop()
            pool = ((mean * members + pool[0] * pool[1]) / (members + pool[1]), members + pool[1])
        pools.append(pool)
    last = high - (len(wanted) - 1) * apart
    begins = [max(low, min(mean, last)) if low <= last else last for mean, members in pools for _ in range(members)]
    return [begin + index * apart for index, begin in enumerate(begins)]


def place_names(axes: Axes, names: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> bool:
    """Write each name beside one of its points, away from points of other series and, if possible, from lines.

    Points are in data coordinates. Returns False, and writes nothing, if a name has no place or several lines cross it.
    """
    box = axes.get_window_extent()
    inside = (box.x0, box.y0, box.x1 + 6, box.y1 + 4)
    strokes = list(_strokes(axes))
    places = [[(float(x), float(y)) for x, y in axes.transData.transform(list(points))] for _, points in names]
    found: list[tuple[str, Box]] = []
    for index, (name, _) in enumerate(names):
        text = fitting(name, LONGEST, TEXT)
        own = [_around(place, CLEARANCE) for place in places[index]]
        others = [_around(place, FOREIGN) for other, some in enumerate(places) if other != index for place in some]
        taken = [*own, *others, *(box for _, box in found)]
        candidates = [box for place in places[index] for box in _beside(*place, text_width(text, TEXT))]
        free = [box for box in candidates if _within(box, inside) and not any(_overlap(box, one) for one in taken)]
        crossed = [sum(_crosses(stroke, box) for stroke in strokes) for box in free]
        if min(crossed, default=CROSSED + 1) > CROSSED:
            return False
        found.append((text, free[crossed.index(min(crossed))]))  # the first candidate that the fewest lines cross
    for text, (left, bottom, _, _) in found:
        x, y = axes.transAxes.inverted().transform((left, bottom + 1.6))
        axes.text(x, y, text, transform=axes.transAxes, va="baseline", fontsize=TEXT, zorder=5)
    return True


def _strokes(axes: Axes) -> Iterator[Stroke]:
    """The segments of all lines and bars in the axes, in pixels."""
    from matplotlib.collections import LineCollection

    lines = [line for line in axes.get_lines() if line.get_linestyle() not in ("None", "none", "")]
    drawn = [(line.get_xydata(), line.get_transform()) for line in lines]
    bars = (bars for bars in axes.collections if isinstance(bars, LineCollection))
    drawn += [(piece, axes.transData) for some in bars for piece in some.get_segments()]
    for piece, transform in drawn:
        corners = [(float(x), float(y)) for x, y in transform.transform(piece)]
        yield from pairwise(corners)


def _crosses(stroke: Stroke, box: Box) -> bool:
    """Whether a segment crosses a box: some part of it lies on the inner side of every edge."""
    (x0, y0), (x1, y1) = stroke
    first, last = 0.0, 1.0
    for start, step, low, high in ((x0, x1 - x0, box[0], box[2]), (y0, y1 - y0, box[1], box[3])):
        if step == 0:
            if not low <= start <= high:
                return False
            continue
        shares = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, shares[0]), min(last, shares[1])
    return first <= last


def _around(place: tuple[float, float], far: float) -> Box:
    return (place[0] - far, place[1] - far, place[0] + far, place[1] + far)


def _beside(x: float, y: float, width: float) -> list[Box]:
    """Boxes for a name around a point in order of preference: right, left, above, below, then the corners."""
    gap = CLEARANCE + 0.5
    sides = [(x + gap, y - TEXT / 2), (x - gap - width, y - TEXT / 2)]
    sides += [(x - width / 2, y + gap), (x - width / 2, y - gap - TEXT)]
    sides += [(x + dx, y + dy) for dx, dy in product((2, -2 - width), (gap, -gap - TEXT))]
    return [(left, bottom, left + width, bottom + TEXT) for left, bottom in sides]


def _within(box: Box, outer: Box) -> bool:
    return box[0] >= outer[0] and box[1] >= outer[1] and box[2] <= outer[2] and box[3] <= outer[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
