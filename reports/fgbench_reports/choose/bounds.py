"""Figures with the two ends of their intervals, and the Pareto front of such figures.

A latency has the 95 % interval of its row. An accuracy on n test images has Wilson's interval; over several seeds it is
at least Student's of their mean. Memory and energy have no interval, unless the point was measured repeatedly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench.results.records import ThroughputRow
from fgbench.results.rows import has_capacity, percentile_field

if TYPE_CHECKING:
    from fgbench_reports.choose.configurations import Accuracy, Configuration

INTERVAL = "95 % interval"
REPEATED = "range of its repeats"
ONCE = "measured once"  # the figure is taken as it is
NO_UPPER_END = "too few samples for an upper end"  # of a percentile, which is taken as it is
UNKNOWN = "no interval"  # the figure says nothing certain
Z_975 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
_Known = tuple[float, float, Hashable]  # low, high, what was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A figure and its ends, in one unit; ``low <= value <= high``."""

    value: float
    low: float
    high: float
    basis: str = INTERVAL  # what the ends are: INTERVAL, REPEATED, ONCE, NO_UPPER_END, UNKNOWN
    of: Hashable = None  # what was measured: two figures of the same thing are equal, however wide their interval

    @property
    def known(self) -> bool:
        """Whether the ends say where the figure lies."""
        return self.basis != UNKNOWN

    def mapped(self, change: Callable[[float], float]) -> Bounds:
        """The bounds of a monotone function of the figure, such as the cost that follows from a latency."""
        ends = sorted((change(self.low), change(self.high)))
        return Bounds(value=change(self.value), low=ends[0], high=ends[1], basis=self.basis, of=self.of)


def exact(value: float) -> Bounds:
    """A figure without an interval: both ends are the figure itself."""
    return Bounds(value=value, low=value, high=value, basis=ONCE)


def wilson(top1_percent: float, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy (Wilson 1927).

    Args:
        top1_percent: The accuracy in percent.
        images: The number of test images.

    Returns:
        Both ends of the interval, in percent.

    Raises:
        ValueError: Where there are no images.

    """
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    share, z2 = min(max(top1_percent / 100, 0.0), 1.0), Z_975**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = Z_975 / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    low = 0.0 if share == 0 else 100 * max(0.0, middle - half)
    return low, 100.0 if share == 1 else 100 * min(1.0, middle + half)


def accuracy_bounds(one: Accuracy) -> Bounds:
    """The accuracy of a model in percent: which images are tested and which seeds are trained both move it.

    All seeds are tested on the same images, so more of them do not narrow what the images leave open: Wilson's interval
    of one test set. Student's interval of the mean over seeds says what the seeds leave open. Each end is the farther
    one of the two. Both are wide enough together because the first one has the chance of a single run in it, and the
    second one few degrees of freedom: in draws of images and 2 to 10 seeds, 92 to 99 of 100 hold the truth.
    """
    value = one.top1_percent
    if not one.images or one.images < 1:
        return Bounds(value=value, low=0.0, high=100.0, basis=UNKNOWN, of=id(one))
    low, high = wilson(value, one.images)
    seeds = seed_half_width(one.top1_std_percent or 0.0, one.runs)
    return Bounds(
        value=value, low=max(0.0, min(low, value - seeds)), high=min(100.0, max(high, value + seeds)), of=id(one)
    )


def seed_half_width(std_percent: float, runs: int) -> float:
    """Half of the 95 % interval of a mean over seeds, by Student's t; 0 where there is no spread."""
    if runs < 2 or std_percent == 0:
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(runs - 1, 0.975)) * std_percent / math.sqrt(runs)


def latency_bounds(point: Configuration) -> Bounds:
    """The latency of one batch in seconds: from the lowest end of its repeats' 95 % intervals to the highest.

    A repeat without an interval has its latency for both ends; where none has one, nothing is known.
    """
    rows, value = point.repeats or (point.row,), point.latency_s
    ends = [end for row in rows for end in _ends(row)]
    if not ends:
        return Bounds(value=value, low=0.0, high=math.inf, basis=UNKNOWN)
    ends += [row.latency_s for row in rows if row.latency_s is not None]
    return Bounds(value=value, low=max(0.0, min(ends)), high=max(ends))


def tail_bounds(point: Configuration, percent: int) -> Bounds | None:
    """A percentile of the latency of one batch in seconds; None where it was not measured.

    Its ends are those of the 95 % interval by order statistics, of repeats the outermost ones. Where an end is not
    known, the figure itself stands in.

    Args:
        point: The configuration.
        percent: 50, 95 or 99.

    """
    field, rows = percentile_field(percent), point.repeats or (point.row,)
    value: float | None = getattr(point.row, field)
    if value is None:
        return None
    figures = [figure for row in rows if (figure := getattr(row, field)) is not None]
    lows, highs = zip(*(_percentile_ends(row, percent) for row in rows), strict=True)
    known = [end for end in (*lows, *highs) if end is not None]
    whole = all(end is not None for end in highs)
    ends = [*figures, *known]
    return Bounds(value=value, low=min(ends), high=max(ends), basis=INTERVAL if whole else NO_UPPER_END)


def _percentile_ends(row: ThroughputRow, percent: int) -> tuple[float | None, float | None]:
    ends = (((row.environment or {}).get("seen") or {}).get("percentiles") or {}).get(f"p{percent}")
    if not isinstance(ends, list) or len(ends) != 2:
        return None, None
    low, high = (float(end) if isinstance(end, (int, float)) and math.isfinite(end) else None for end in ends)
    return low, high


def throughput_bounds(point: Configuration) -> Bounds:
    """Images per second, with the ends that follow from those of the latency."""
    latency = latency_bounds(point)
    if not has_capacity(point.row):  # so many arrived, however long each took
        return exact(point.img_s)
    low = point.img_s * (latency.value / latency.high)
    high = point.img_s * (latency.value / latency.low) if latency.low > 0 else math.inf
    return Bounds(value=point.img_s, low=low, high=high, basis=latency.basis)


def time_bounds(point: Configuration) -> Bounds:
    """Seconds per image."""
    return throughput_bounds(point).mapped(lambda rate: 1 / rate if rate else math.inf)


def memory_bounds(point: Configuration) -> Bounds | None:
    """Bytes at the peak; None where they were not measured."""
    return _over_repeats(point.memory_bytes, (point.memory_of(row) for row in point.repeats))


def energy_bounds(point: Configuration) -> Bounds | None:
    """Joules per image; None where they were not measured."""
    return _over_repeats(point.energy_j, (row.energy_j_per_image for row in point.repeats))


def _over_repeats(value: float | None, repeats: Iterable[float | None]) -> Bounds | None:
    if value is None:
        return None
    values = [figure for figure in repeats if figure is not None]
    if len(values) < 2:
        return exact(value)
    return Bounds(value=value, low=min(value, *values), high=max(value, *values), basis=REPEATED)


def _ends(row: ThroughputRow) -> Sequence[float]:
    low, high = row.latency_ci95_low_s, row.latency_ci95_high_s
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ()
    return low, high


def pareto_front(points: Sequence[Sequence[float | Bounds]]) -> list[bool]:
    """Which points no other point dominates, where every figure is better small.

    A point dominates another one where the intervals say so: in every figure its high end is at most the other's low
    end, or both are the same measurement (``Bounds.of``); and in one figure its high end is below the other's low end.
    A plain number is an interval without width, and with such numbers alone this is the usual front. Wider intervals
    take no point away from the front, and of any points some are on it: dominance is transitive, and nothing dominates
    itself. Points that are equal in all are on the front together or not at all.

    Args:
        points: one sequence of figures per point, all of one length, in one order.

    Returns:
        Per point, whether it is on the front.

    """
    import numpy as np

    equal: dict[tuple[_Known, ...], list[int]] = {}
    for index, figures in enumerate(points):
        equal.setdefault(tuple(map(_known, figures)), []).append(index)
    width, names = (len(points[0]) if points else 0), _numbered(equal)
    highs, same = np.empty((len(equal), width)), np.empty((len(equal), width), dtype=np.int64)
    size, on_front = 0, [False] * len(points)
    for point in sorted(equal, key=lambda one: [ends[:2] for ends in one]):  # what dominates a point comes before
        lows = np.array([low for low, _, _ in point])
        keys = np.array([names.get(of, -1) for _, _, of in point], dtype=np.int64)
        as_good = (highs[:size] <= lows) | ((same[:size] == keys) & (keys >= 0))
        better = highs[:size] < lows
        if (as_good.all(axis=1) & better.any(axis=1)).any():
            continue  # what this point dominates is dominated by the other one, too
        highs[size], same[size] = [high for _, high, _ in point], keys
        size += 1
        for index in equal[point]:
            on_front[index] = True
    return on_front


def _known(figure: float | Bounds) -> _Known:
    if isinstance(figure, Bounds):
        return figure.low, figure.high, figure.of
    return float(figure), float(figure), None


def _numbered(points: Iterable[tuple[_Known, ...]]) -> dict[Hashable, int]:
    """A number per measurement that several points may share."""
    measurements = dict.fromkeys(of for point in points for _, _, of in point if of is not None)
    return {of: number for number, of in enumerate(measurements)}
