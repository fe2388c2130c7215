"""Rates of false alarms and of found slowdowns of the rule for times, in randomly drawn suites."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench_reports.regression.findings import INCONCLUSIVE, SLOWER
from fgbench_reports.regression.rule import ALL_PAIRS, FIRST_PAIRS, PairedPoint, judge, undecided

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUITE_POINTS = 200

Draw = Callable[["np.random.Generator", "tuple[int, ...]"], "NDArray[np.float64]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The verdicts of the rule on suites whose true changes are known."""

    suites: int
    points: int  # of a suite
    alarmed: int  # suites with a false alarm: an unchanged point has the verdict "slower"
    planted: int  # slower points, over all suites
    found: int  # slower points with the verdict "slower"
    inconclusive: int  # points, over all suites

    @property
    def alarm_rate(self) -> float:
        """The share of suites with a false alarm."""
        return self.alarmed / self.suites

    @property
    def most_alarm_rate(self) -> float:
        """The upper end of the 95 % interval of that share: about 3/n without an alarm in n suites."""
        return upper_rate(self.alarmed, self.suites)


def simulate(
    draw: Draw,
    *,
    suites: int,
    points: int = SUITE_POINTS,
    seed: int = 0,
    slowdown: float = 0.0,
    planted: int = 0,
    pairs: int = ALL_PAIRS,
) -> Simulated:
    """Judge suites whose times are drawn by ``draw(generator, shape)``, as deviations of the logarithm.

    ``planted`` points of each suite are slower by the relative ``slowdown``. As in a real run, a point has seven pairs
    only if its first three exceed the bound. With fewer than seven ``pairs``, as in files, every point has so many.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    alarmed = found = inconclusive = 0
    for _ in range(suites):
        times = np.exp(draw(generator, (2, points, ALL_PAIRS)))
        times[1, :planted] *= 1 + slowdown
        base, head = times.tolist()
        first = [_point(at, base, head, min(pairs, FIRST_PAIRS)) for at in range(points)]
        more = undecided(first) if pairs >= ALL_PAIRS else {point.name for point in first}
        measured = [_point(at, base, head, pairs) if p.name in more else p for at, p in enumerate(first)]
        judged = judge(measured, final=pairs < ALL_PAIRS)
        slower = [int(finding.point) for finding in judged if finding.verdict == SLOWER]
        found += sum(at < planted for at in slower)
        alarmed += any(at >= planted for at in slower)
        inconclusive += sum(finding.verdict == INCONCLUSIVE for finding in judged)
    return Simulated(
        suites=suites,
        points=points,
        alarmed=alarmed,
        planted=planted * suites,
        found=found,
        inconclusive=inconclusive,
    )


def normal(spread: float) -> Draw:
    """Draw deviations from a normal distribution with this standard deviation."""
    return lambda generator, shape: generator.normal(0.0, spread, shape)


def as_seen(points: Collection[PairedPoint]) -> Draw:
    """Draw deviations as they were measured on a machine: each simulated point takes those of one measured point.

    A deviation is the distance from the mean of its side, times √(n / (n − 1)), since the mean comes from the same n
    values.
    """
    import numpy as np

    seen = [found for point in points if len(found := _deviations(point)) >= 2 * FIRST_PAIRS]
    if not seen:
        raise ValueError(f"no point was measured in {FIRST_PAIRS} pairs")

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        drawn, chosen = np.empty(shape), generator.integers(len(seen), size=shape[1])
        for which in np.unique(chosen):
            points = np.flatnonzero(chosen == which)
            drawn[:, points] = generator.choice(seen[which], (shape[0], len(points), shape[2]))
        return drawn

    return draw


def _deviations(point: PairedPoint) -> list[float]:
    found: list[float] = []
    for side in (point.base, point.head):
        if len(side) > 1:
            logs = [math.log(value) for value in side]
            mean, widen = statistics.fmean(logs), math.sqrt(len(logs) / (len(logs) - 1))
            found += [widen * (value - mean) for value in logs]
    return found


def upper_rate(met: int, tried: int, confidence: float = 0.95) -> float:
    """The upper confidence limit of a rate of ``met`` in ``tried`` (Clopper and Pearson 1934, one-sided)."""
    from scipy.special import betaincinv

    return 1.0 if met >= tried else float(betaincinv(met + 1, tried - met, confidence))


def _point(at: int, base: Sequence[Sequence[float]], head: Sequence[Sequence[float]], pairs: int) -> PairedPoint:
    return PairedPoint(name=str(at), base=base[at][:pairs], head=head[at][:pairs])
