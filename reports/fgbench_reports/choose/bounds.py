"""How far a figure can be trusted: its value and the two ends that a limit and a Pareto front are judged by.

A latency has the 95 % interval of its row. An accuracy on n test images has Wilson's interval; over several seeds it is
at least Student's of their mean. Memory and energy have no interval, unless the point was measured repeatedly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fgbench.results.records import ThroughputRow
from fgbench_reports.choose.ends import INTERVAL, ONCE, REPEATED, UNKNOWN, Bounds, exact

__all__ = [
    "INTERVAL",
    "ONCE",
    "REPEATED",
    "UNKNOWN",
    "Z_975",
    "Bounds",
    "accuracy_bounds",
    "energy_bounds",
    "exact",
    "latency_bounds",
    "memory_bounds",
    "seed_half_width",
    "throughput_bounds",
    "time_bounds",
    "wilson",
]

if TYPE_CHECKING:
    from fgbench_reports.choose.configurations import Accuracy, Configuration

Z_975 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(top1_percent: float, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy on so many test images, in percent (Wilson 1927).

    Raises :class:`ValueError` where there are no images.
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


def throughput_bounds(point: Configuration) -> Bounds:
    """Images per second: as far from the figure, in relation, as the ends of the latency are from the latency."""
    found = latency_bounds(point)
    high = point.img_s * (found.value / found.low) if found.low > 0 else math.inf
    return Bounds(value=point.img_s, low=point.img_s * (found.value / found.high), high=high, basis=found.basis)


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
    values = [each for each in repeats if each is not None]
    if len(values) < 2:
        return exact(value)
    return Bounds(value=value, low=min(value, *values), high=max(value, *values), basis=REPEATED)


def _ends(row: ThroughputRow) -> Sequence[float]:
    low, high = row.latency_ci95_low_s, row.latency_ci95_high_s
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ()
    return low, high
