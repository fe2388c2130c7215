"""Figures of throughput and memory against batch size, with the batch sizes that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

from fgbench.results.image_size import ImageSize
from fgbench.results.records import Status, ThroughputRow
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import Data
from fgbench_reports.plots.bars import (
    Bar,
    Ends,
    arrow_entry,
    bars_go_on,
    draw_bars,
    draw_rings,
    draw_unknown,
    rate_ends,
    statuses_entry,
    unknown_entry,
    with_room,
)
from fgbench_reports.plots.legend import Entry, Legend, handle
from fgbench_reports.plots.looks import Look, Series, labels_of, series_looks, series_of
from fgbench_reports.plots.scales import as_log, as_powers, log_limits
from fgbench_reports.plots.style import DOUBLE, GRID, INK, PAPER, TEXT, Style, frame, in_style
from fgbench_reports.plots.sweeps import (
    by_series,
    file_names,
    first_figures,
    known_series,
    listed,
    measured,
    mode_names,
    most_points,
    no_sweep,
    points_not_drawn,
    sweep_notes,
    thinned,
    thinning_note,
    words_of,
)
from fgbench_reports.report import Drawing, Figure, Item, Point, Report
from fgbench_reports.sweep_rows import EnvironmentKey, as_text, by_environment, one_line
from fgbench_reports.tables.numbers import how_many, img_per_s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "throughput and memory against batch size"
HEIGHT, STEP = 140.0, 5.2  # points: height of a panel, and of a row of marks
HEAD = TEXT + 2.0  # points: height of the words above the marks
MAX_MARKED = 8  # series whose failed batch sizes are marked; more rows of marks would take the space of the lines
MARKS: dict[str, Style] = {  # marks of batch sizes without figures, by the reason
    "oom: out of memory": {"marker": "x", "markersize": 4.2, "markeredgewidth": 1.1},
    "oom_inferred: a smaller batch did not fit": {"marker": "x", "markersize": 2.6, "markeredgewidth": 0.8},
    "failed otherwise": {"marker": "|", "markersize": 5.0, "markeredgewidth": 1.6},
}
Site = tuple[EnvironmentKey, ImageSize]  # mode and image size of a figure
Read = Callable[[Configuration], float | None]  # reads a figure of a point; None if the point has none


class Batch(Report):
    """Throughput and memory against batch size, with the batch sizes that did not fit."""

    title = "Throughput and memory by batch size"

    name = "batch"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode and image size."""
        (sized, ended), timed = _by_site(data), _timed(data)
        if not sized:
            yield no_sweep(WHAT, data)
            return
        names, looks = mode_names(data), series_looks(data)
        where = {key: f"{names[key[0]]} · {key[1]} px" for key in [*sized, *ended]}
        ranks = {mode: rank for rank, mode in enumerate(names)}
        found, left = first_figures(sorted(sized, key=lambda key: (ranks[key[0]], key[1])), where.__getitem__)
        for key, name in zip(found, file_names(f"batch {where[key]}" for key in found), strict=True):
            notes = left if key == found[-1] else []
            yield _figure(name, where[key], sized[key], ended.get(key, []), looks, key[0].device, notes, timed[key])
        for key in first_figures([key for key in ended if key not in sized], where.__getitem__)[0]:
            met = listed(sorted({as_text(row.status) for row in ended[key]}))
            yield no_sweep(f"{WHAT}, {where[key]}", data, f"no batch of it has a time ({met})", ended[key])


def _by_site(data: Data) -> tuple[dict[Site, list[Configuration]], dict[Site, list[ThroughputRow]]]:
    """Points with figures, and rows without figures, by mode and image size."""
    sized: dict[Site, list[Configuration]] = {}
    for mode, some in measured(data, best_only=False, squares=False).items():
        for one in some:
            sized.setdefault((mode, one.row.image_size), []).append(one)
    ended: dict[Site, list[ThroughputRow]] = {}
    for mode, rows in by_environment(data.throughput).items():
        for row in rows:
            if not (row.throughput_img_s and row.latency_s):
                ended.setdefault((mode, row.image_size), []).append(row)
    return sized, ended


def _timed(data: Data) -> dict[Site, int]:
    """The number of rows with a time, repeats included."""
    counts: dict[Site, int] = {}
    for mode, rows in by_environment(data.throughput).items():
        for row in rows:
            if row.throughput_img_s and row.latency_s:
                counts[mode, row.image_size] = counts.get((mode, row.image_size), 0) + 1
    return counts


def _figure(
    name: str,
    where: str,
    points: Sequence[Configuration],
    ended: Sequence[ThroughputRow],
    looks: Mapping[Series, Look],
    device: str,
    left: Sequence[str],
    every: int,
) -> Figure:
    rows = [one.row for one in points]
    kept, many = known_series([*rows, *ended])
    series = by_series(points, kept)
    longest, most = max(map(len, series.values())), most_points(len(series))
    lines = {
        each: thinned(sorted(some, key=lambda one: int(one.row.batch_size)), lambda one: one.img_s, most)
        for each, some in series.items()
    }
    lost = [row for row in ended if series_of(row) in lines]
    failing = [each for each in lines if any(series_of(row) == each for row in lost)]
    marked = failing[:MAX_MARKED]
    repeats = _repeats(rows, every)
    left_out = [*_unmarked(failing, lines, lost), *many, *thinning_note(longest, most), *repeats]
    left_out += points_not_drawn([row for row in rows if not _memory(row)], rows, "memory is not known")
    return BatchFigure(
        name=name,
        title=f"Throughput and memory against batch size · {where}",
        alt=_alt(where, lines, lost),
        notes=(*left_out, *sweep_notes([*rows, *ended]), *left),
        lines=lines,
        ended=[row for each in marked for row in _few([row for row in lost if series_of(row) == each])],
        looks=looks,
        on_gpu=device == "cuda",
        left_out=left_out,
    )


def _repeats(rows: Sequence[ThroughputRow], every: int) -> list[str]:
    """A note on the repeats that are not drawn; of each point, the one with the median latency is drawn."""
    lost = every - len(rows)
    told = f"Not drawn: {how_many(lost, 'repeat')} of points that were measured several times"
    return [f"{told}; the one of the middle latency is drawn."] if lost > 0 else []


def _unmarked(
    failing: Sequence[Series], lines: Mapping[Series, Sequence[Configuration]], lost: Sequence[ThroughputRow]
) -> list[str]:
    """A note on the failed batch sizes of series that have no row of marks."""
    labels = labels_of(one.row for line in lines.values() for one in line)
    told = []
    for each in failing[MAX_MARKED:]:
        first = min((row for row in lost if series_of(row) == each), key=lambda row: int(row.batch_size))
        told.append(f"{labels[each]} from batch {first.batch_size} ({as_text(first.status)})")
    shown = f"Of {len(failing)} that did not run at every batch the first {MAX_MARKED} are marked."
    return [f"{shown} The others: {listed(told, len(told))}."] if told else []


def _few(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    return thinned(sorted(rows, key=lambda row: int(row.batch_size)), lambda row: float(row.batch_size))


def _alt(where: str, lines: Mapping[Series, Sequence[Configuration]], ended: Sequence[ThroughputRow]) -> str:
    shown = [one for line in lines.values() for one in line]
    labels = labels_of([*(one.row for one in shown), *ended])
    fastest = max(shown, key=lambda one: one.img_s)
    best = f"{labels[series_of(fastest.row)]} at batch {fastest.row.batch_size}, {img_per_s(fastest.img_s)} images/s"
    text = f"Two line plots with logarithmic axes, throughput and memory against batch size, on {where}, for "
    text += f"{listed(list(labels.values()))}. The fastest is {best}."
    batches: dict[str, int] = {}
    for row in ended:
        if row.status.is_oom:
            label = labels[series_of(row)]
            batches[label] = min(row.batch_size, batches.get(label, row.batch_size))
    full = [f"{label} from batch {batch}" for label, batch in batches.items()]
    others = sum(not row.status.is_oom for row in ended)
    text += f" Out of memory: {listed(full)}." if full else ""
    return text + (f" Failed in other ways: {how_many(others, 'point')}." if others else "")


def how_it_ended(row: ThroughputRow) -> str:
    """The reason why a point has no figures, a key of :data:`MARKS`."""
    if row.status.is_oom:
        return list(MARKS)[row.status is Status.OOM_INFERRED]
    return "failed otherwise"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFigure(Figure):
    """Two panels: throughput and memory against batch size."""

    lines: Mapping[Series, Sequence[Configuration]]
    ended: Sequence[ThroughputRow]
    looks: Mapping[Series, Look]
    on_gpu: bool
    left_out: Sequence[str] = ()  # notes on data that is not drawn, with the reason

    def draw(self) -> Drawing:
        """Draw a line per series, a ring if the status is not ok, and a cross in a separate row if a batch did not fit.

        Bars are 95 % intervals; an arrow marks a bar that exceeds the axis.
        """
        shown = [one for line in self.lines.values() for one in line]
        labels = labels_of([*(one.row for one in shown), *self.ended])
        with in_style():
            names = [(handle(self.looks[each]), labels[each]) for each in labels]
            notes = [*_bar_notes(shown), *self.left_out]
            legend = Legend(blocks=[names, self._kinds(shown)], width=DOUBLE - 40, notes=notes)
            heading = self.title.partition(" · ")[2]
            canvas, panels = frame(width=DOUBLE, height=HEIGHT, panels=2, below=legend.height, heading=heading)
            memory = "peak VRAM of tensors (GB)" if self.on_gpu else "peak resident set of the process (GB)"
            told = [(panels[0], _speed, "throughput (images/s)", False), (panels[1], _gigabytes, memory, True)]
            points = [point for panel in told for point in self._panel(*panel, labels)]
            legend.write(canvas)
        return Drawing(canvas=canvas, points=points)

    def _panel(self, axes: Axes, of: Read, name: str, at_top: bool, labels: Mapping[Series, str]) -> list[Point]:
        filled = {each: [one for one in line if of(one)] for each, line in self.lines.items()}
        shown = [one for line in filled.values() for one in line]
        values = [of(one) or 0.0 for one in shown]
        batches = [one.row.batch_size for line in self.lines.values() for one in line]
        as_powers(axes, "x", [*batches, *(row.batch_size for row in self.ended)])
        as_log(axes, "y", with_room(values, map(_interval, shown)) if of is _speed else values)
        axes.set_xlabel("batch size (images)")
        axes.set_ylabel(name)
        points, some_known = [], any(map(_interval, shown))
        for each, line in filled.items():
            _draw(axes, line, of, self.looks[each], some_known=some_known)
            texts = ("\n".join(words_of(one, labels[each])) for one in line)
            points += [
                Point(axes=axes, x=one.row.batch_size, y=of(one) or 0.0, text=text)
                for one, text in zip(line, texts, strict=True)
            ]
        return [*points, *self._endings(axes, labels, at_top=at_top)]

    def _endings(self, axes: Axes, labels: Mapping[Series, str], *, at_top: bool) -> list[Point]:
        """Draw the marks of batch sizes without figures in a band at the edge, a row per series."""
        rows = [each for each in labels if any(series_of(row) == each for row in self.ended)]
        if not rows:
            return []
        places = _band(axes, len(rows), at_top=at_top)
        points = []
        for row in self.ended:
            each = series_of(row)
            y = places[rows.index(each)]
            ended = how_it_ended(row)
            axes.plot([row.batch_size], [y], color=self.looks[each].colour, linestyle="none", **MARKS[ended], zorder=4)
            lines = [
                labels[each],
                f"{row.image_size} px, batch {row.batch_size}",
                f"{as_text(row.status)}: {one_line(row.reason)}",
            ]
            points.append(Point(axes=axes, x=row.batch_size, y=y, text="\n".join(lines)))
        return points

    def _kinds(self, shown: Sequence[Configuration]) -> list[Entry]:
        """Entries of the legend for the rings, arrows, question marks and crosses that are drawn."""
        met = {how_it_ended(row) for row in self.ended}
        found = [(handle(linestyle="none", **MARKS[name]), name) for name in MARKS if name in met]
        ends = [_interval(one) for one in shown]
        goes_on = bars_go_on(ends, log_limits(with_room([one.img_s for one in shown], ends)))
        some_unknown = None in ends and any(ends)
        return [
            *statuses_entry(one.row.status for one in shown),
            *([arrow_entry()] if goes_on else []),
            *([unknown_entry()] if some_unknown else []),
            *found,
        ]


def _bar_notes(shown: Sequence[Configuration]) -> list[str]:
    """A note on the bars."""
    known = any(_interval(one) for one in shown)
    speed = "Bars are 95 % intervals of the throughput" if known else "No interval of the throughput is known"
    return [f"{speed}; memory is a peak and has none."] if shown else []


def _memory(row: ThroughputRow) -> bool:
    return bool(row.peak_memory_allocated_bytes if row.device == "cuda" else row.device_memory_bytes)


def _speed(one: Configuration) -> float:
    return one.img_s


def _gigabytes(one: Configuration) -> float | None:
    return one.memory_bytes / 1e9 if one.memory_bytes else None


def _draw(axes: Axes, line: Sequence[Configuration], of: Read, look: Look, *, some_known: bool) -> None:
    x, y = [one.row.batch_size for one in line], [of(one) or 0.0 for one in line]
    axes.plot(x, y, **look.strokes())
    axes.plot(x, y, **look.marks(), zorder=3)
    rings = [(a, b) for a, b, one in zip(x, y, line, strict=True) if not one.row.status.is_ok]
    draw_rings(axes, rings, 4.5)
    if of is _speed:
        intervals = [(one.row.batch_size, one.img_s, _interval(one)) for one in line]
        draw_bars(axes, [Bar(x=a, y=b, ends=ends) for a, b, ends in intervals if ends], look.colour)
        draw_unknown(axes, [(a, b) for a, b, ends in intervals if some_known and not ends])


def _interval(one: Configuration) -> Ends | None:
    """The 95 % interval of the throughput; None if it is not known."""
    return rate_ends(one.row, float(one.row.batch_size))


def _band(axes: Axes, rows: int, *, at_top: bool) -> list[float]:
    """Add a band for a word and rows of marks to a log axis; returns the rows' positions in data coordinates."""
    share = (HEAD + rows * STEP + 2) / HEIGHT
    low, high = axes.get_ylim()
    wider = (high / low) ** (share / (1 - share))
    edges = (high, high * wider) if at_top else (low / wider, low)
    axes.set_ylim(low if at_top else edges[0], edges[1] if at_top else high)
    axes.axhline(edges[0] if at_top else edges[1], color=GRID, linewidth=0.8, zorder=1)
    point = log(edges[1] / edges[0]) / (share * HEIGHT)

    def below_top(points: float) -> float:
        return float(edges[1]) / exp(point * points)

    axes.text(
        0.01,
        below_top(HEAD / 2 + 0.5),
        "did not run",
        transform=axes.get_yaxis_transform(),
        va="center_baseline",
        fontsize=TEXT,
        color=INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.4},
        zorder=2.5,
    )
    return [below_top(HEAD + STEP * (index + 0.5)) for index in range(rows)]
