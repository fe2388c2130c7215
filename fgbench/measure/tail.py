"""The tail of latencies: percentiles of single iterations, with their intervals by order statistics. No torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fgbench.results.rows import PERCENTS, percentile_field

OUTSIDE = 0.025  # the chance that the percentile lies beyond one end of its interval, for each end


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Percentiles of latencies.

    Attributes:
        figures: By field of a row, such as ``latency_p99_s``: seconds; None where there are too few samples.
        missing: By field why it is None.
        seen: ``samples``, ``asked_for``, ``independent``: how many samples they count for; by ``p50``, ``p95``,
            ``p99`` both ends of the 95 % interval in seconds, None where an end lies outside the samples.

    """

    figures: dict[str, float | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)


def fewest_samples(percent: int) -> int:
    """The fewest samples among which both ends of the 95 % interval of a percentile lie.

    All n samples lie below the quantile of share p with a chance of pⁿ, and all above with (1 − p)ⁿ; each must be at
    most 2.5 %, as the interval is two-sided with equal tails: 6 samples for p50, 72 for p95, 368 for p99.
    """
    rarest = max(percent, 100 - percent) / 100
    return math.ceil(math.log(OUTSIDE) / math.log(rarest))


SAMPLES = max(map(fewest_samples, PERCENTS))  # that --tail asks for
BATCHES, LEAST_BATCH = 20, 10  # of consecutive samples; samples of a batch
FEWEST_BATCHES = 5  # that can tell anything


def interval_ranks(samples: int, percent: int) -> tuple[int | None, int | None]:
    """The ranks of the samples that are the ends of the 95 % interval of a percentile.

    The number of samples below the true quantile is binomial. The interval is two-sided with equal tails: the true
    quantile lies below the low end, or above the high end, with a chance of at most 2.5 % each. Samples are taken to be
    independent (David and Nagaraja 2003, Order Statistics, section 7.1).

    Args:
        samples: How many there are.
        percent: Of the percentile, between 0 and 100.

    Returns:
        Both ranks, from 1; None for an end that lies outside the samples.

    """
    from scipy.special import bdtr  # what scipy.stats.binom.cdf calls; scipy.stats takes six times as long to import

    share = percent / 100

    def at_most(count: int) -> float:
        return float(bdtr(count, samples, share)) if count >= 0 else 0.0

    low = _first(lambda rank: at_most(rank - 1) > OUTSIDE, samples) - 1
    high = _first(lambda rank: at_most(rank - 1) >= 1 - OUTSIDE, samples)
    return (low if low >= 1 else None), (high if high <= samples else None)


def _first(holds: Any, samples: int) -> int:
    """The first rank from 1 from which on a condition holds; one past the last where it never does."""
    low, high = 1, samples + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def correlation_time(times: Sequence[float]) -> float:
    """How many neighbouring samples count as one independent sample, by the method of batch means.

    Args:
        times: Consecutive samples. They are divided into 20 batches, of ten samples at least: shorter ones resemble
            their neighbours as single samples do.

    Returns:
        At least 1; as many as there are, where they are too few to tell.

    """
    size = max(LEAST_BATCH, len(times) // BATCHES)
    means = [statistics.fmean(times[start : start + size]) for start in range(0, len(times) - size + 1, size)]
    if len(means) < FEWEST_BATCHES:
        return float(max(1, len(times)))
    mean = statistics.fmean(times)
    variance = statistics.fmean((time - mean) ** 2 for time in times)
    return max(1.0, size * statistics.variance(means) / variance) if variance > 0 else 1.0


def tail_of(times: Sequence[float], *, asked_for: int = 0, correlation: float = 1.0) -> Tail:
    """Percentiles of latencies with their 95 % intervals.

    A percentile is the smallest sample at or below which so many percent of the samples lie: a measured latency.

    Args:
        times: Seconds of single iterations, in any order.
        asked_for: Samples that were asked for; 0: as many as the timing takes anyway.
        correlation: How many neighbours count as one independent sample, see :func:`correlation_time`. It widens the
            intervals, and leaves the percentiles as they are.

    Returns:
        The percentiles. One that has too few samples is None, with the reason; so is an end of an interval that would
        lie outside of so many independent samples.

    """
    ordered, count = sorted(times), len(times)
    independent = max(1, int(count / correlation)) if count else 0
    tail = Tail(seen={"samples": count, "asked_for": asked_for, "independent": independent})
    for percent in PERCENTS:
        name, needed = percentile_field(percent), fewest_samples(percent)
        if count < needed:
            tail.figures[name] = None
            more = "a longer --max-time" if asked_for else "--tail"
            tail.missing[name] = f"p{percent} needs {needed} samples, and there are {count}; {more} takes more"
            continue
        tail.figures[name] = ordered[math.ceil(count * percent / 100) - 1]
        ends = interval_ranks(independent, percent)
        tail.seen[f"p{percent}"] = [
            None if rank is None else ordered[min(max(round(count * rank / independent), 1), count) - 1]
            for rank in ends
        ]
    return tail
