"""The rule for times: a point is slower or faster only where the noise of the machine cannot explain it.

Base and head are measured in pairs that lie next to each other in time. Three pairs of a point clear it if the median
of their log ratios is within a bound δ. Otherwise there are four more, and it is slower only if the median of seven
exceeds δ **and** six of the seven exceed δ/2. δ comes from how far processes of one side lie apart. Where no more pairs
will follow, three to six of them are held against what so few can see. docs/regress.md has what simulated suites of 200
points make of both: fewer than one in 200 has a false alarm.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from fgbench_reports.regression.findings import FASTER, INCONCLUSIVE, SAME, SLOWER, TIME, Finding
from fgbench_reports.regression.wording import percent_text, roughly

FIRST_PAIRS = 3  # of every point
ALL_PAIRS = 7  # of those that three pairs do not clear
BOUNDS = ((0.008, 0.02), (0.010, 0.03))  # up to this spread, this bound
LARGEST = BOUNDS[-1][1]  # bound that clears a point
BEYOND_NOISE = 4.0  # spreads: on a noisier machine nothing is cleared, and only what exceeds them fails
FEW_BOUND, FEW_SPREADS = 0.10, 6.0  # what fewer than three pairs have to exceed, both; and seven that are not complete
ALARMS, SUITE = 0.005, 200  # suites with a false alarm by chance, and points of a suite
MEDIAN_ERROR = math.sqrt(math.pi / 2)  # standard error of a median over that of a mean; more than it is of few values
AGREE = 6 / 7  # of the pairs
MOST_APART = math.log(1e24)  # of two times, 1e-15 and 1e9 seconds
MEDIAN, UNUSUAL, WILD = 0.0, 1.0, 3.09  # of 2, 6 and 1000 estimates of a spread one is higher


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPoint:
    """Seconds of one point by base and head; ``base[i]`` and ``head[i]`` were measured one after the other."""

    name: str  # unique: "glsim gls fast vit_base_patch16_224 224 batch 4"
    base: Sequence[float]  # seconds: the median of one process each
    head: Sequence[float]
    batch_size: int | None = None  # images, where it is known

    def __post_init__(self) -> None:
        if len(self.base) != len(self.head):
            raise ValueError(f"{self.name}: {len(self.base)} times of the base, {len(self.head)} of the head")
        if not all(math.isfinite(value) and value > 0 for value in (*self.base, *self.head)):
            raise ValueError(f"{self.name}: times must be finite and positive")

    @property
    def log_ratios(self) -> list[float]:
        """log(head / base) of each pair: 0.05 is about 5 % slower."""
        return [math.log(after / before) for before, after in zip(self.base, self.head, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far processes of one side lie apart, as a standard deviation of the logarithm: 0.008 is 0.8 %."""

    value: float
    degrees: int  # of freedom behind it; 0 where it was not measured here

    @property
    def conclusive(self) -> bool:
        """Whether points can be cleared on this machine."""
        return self.value <= BOUNDS[-1][0]

    @property
    def bound(self) -> float:
        """What a change has to exceed, relative: δ where it is quiet enough, else what noise does not reach."""
        for most, bound in BOUNDS:
            if self.value <= most:
                return bound
        return _relative(max(BEYOND_NOISE * self.value, math.log1p(LARGEST)))


def pooled_spread(points: Collection[PairedPoint]) -> Spread | None:
    """The spread between processes of one side, over all points; None where none was measured twice.

    A point that is far noisier than the middle of them is left out: it has a spread of its own.
    """
    seen = [(own.value**2, own.degrees) for point in points if (own := own_spread(point))]
    if not seen:
        return None
    middle = statistics.median(square / _chi_square(degrees, MEDIAN) for square, degrees in seen)
    usual = [(square, degrees) for square, degrees in seen if square <= middle * _chi_square(degrees, WILD)]
    degrees = sum(degrees for _, degrees in usual)
    return Spread(value=math.sqrt(sum(square * each for square, each in usual) / degrees), degrees=degrees)


def own_spread(point: PairedPoint) -> Spread | None:
    """The spread between processes of one side at one point; None where it was measured once."""
    more = len(point.base) - 1
    if more < 1:
        return None
    return Spread(value=math.sqrt((_variance(point.base) + _variance(point.head)) / 2), degrees=2 * more)


def undecided(points: Collection[PairedPoint]) -> set[str]:
    """The names of points that three pairs do not clear, slower or faster."""
    spread = pooled_spread(points)
    if spread is None:
        return {point.name for point in points}
    bound = math.log1p(spread.bound)
    return {
        point.name
        for point in points
        if FIRST_PAIRS <= len(point.base) < ALL_PAIRS and abs(_first_median(point)) > bound
    }


def judge(points: Collection[PairedPoint], spread: Spread | None = None, *, final: bool = False) -> list[Finding]:
    """One finding per point; ``spread`` where it cannot be taken from the points themselves.

    What was measured seven times is what looked slower or faster, which noisy points do more often than others: these
    are held against their own spread too, where that is larger. ``final``: no more pairs follow, so that three to six
    are held against :func:`few_bound`.
    """
    spread = spread or pooled_spread(points)
    doubted = pooled_spread([_without_outlier(point) for point in points if len(point.base) >= ALL_PAIRS])
    seen = farthest_apart(points) if final else None
    return [_finding(point, spread, doubted, seen, len(points)) for point in points]


def farthest_apart(points: Collection[PairedPoint]) -> float:
    """How far two processes of one side lie apart at most, over all points, in logarithms; 0 where none ran twice."""
    sides = [side for point in points for side in (point.base, point.head) if len(side) > 1]
    return max((math.log(max(side) / min(side)) for side in sides), default=0.0)


def few_bound(noise: Spread, pairs: int, seen: float, points: int) -> float:
    """What a change has to exceed in three to six pairs, relative: the largest of three.

    The bound of the noisiest machine that clears anything, 3 %. What the median of so few pairs exceeds by chance in
    one of 200 suites, by Student's t with the degrees of freedom of the spread. And what two processes of one side
    already differ by somewhere among these points: something else that runs now and then slows a few pairs down as a
    change does, and nothing but such a difference shows it.
    """
    from scipy.special import stdtrit

    beyond = float(stdtrit(noise.degrees, 1 - ALARMS / max(SUITE, points)))
    chance = beyond * MEDIAN_ERROR * math.sqrt(2 / pairs) * noise.value
    return _relative(max(math.log1p(LARGEST), chance, seen))


def _finding(
    point: PairedPoint, spread: Spread | None, doubted: Spread | None, seen: float | None, points: int
) -> Finding:
    verdict, bound, reason = INCONCLUSIVE, None, "it was not measured"
    if spread is not None:
        verdict, bound, reason = _verdict(point, spread, doubted or spread, seen, points)
    ratios = point.log_ratios
    return Finding(
        check=TIME,
        point=point.name,
        figure="latency_s",
        verdict=verdict,
        before=statistics.median(point.base) if ratios else None,
        after=statistics.median(point.head) if ratios else None,
        reason=reason,
        change=math.expm1(statistics.median(ratios)) if ratios else None,
        bound=bound,
        before_samples=tuple(point.base),
        after_samples=tuple(point.head),
        batch_size=point.batch_size,
    )


def _verdict(
    point: PairedPoint, spread: Spread, doubted: Spread, seen: float | None, points: int
) -> tuple[str, float | None, str]:
    """The verdict of one point, the bound that it was held against, and why."""
    ratios = point.log_ratios
    if not ratios:
        return INCONCLUSIVE, None, "it was not measured"
    if len(ratios) < ALL_PAIRS and (len(ratios) < FIRST_PAIRS or abs(_first_median(point)) > math.log1p(spread.bound)):
        if seen is None or len(ratios) < FIRST_PAIRS or spread.degrees == 0:
            return _verdict_of_few(ratios, spread, max(FEW_BOUND, _relative(FEW_SPREADS * spread.value)))
        noise = Spread(value=max(spread.value, _noise_of(point, spread).value), degrees=spread.degrees)
        return _verdict_of_few(ratios, spread, few_bound(noise, len(ratios), seen, points))
    if abs(_first_median(point)) > math.log1p(spread.bound) and _agree(ratios, spread.bound):
        noise = max(spread, doubted, _noise_of(point, spread), key=lambda each: each.value)
        if _agree(ratios, noise.bound):
            return _direction(ratios, noise.bound)
        return INCONCLUSIVE, noise.bound, _too_noisy(noise)
    if spread.conclusive:
        return SAME, spread.bound, ""
    return INCONCLUSIVE, spread.bound, _too_noisy(spread)


def _verdict_of_few(ratios: Sequence[float], spread: Spread, bound: float) -> tuple[str, float, str]:
    if _agree(ratios, bound):
        return _direction(ratios, bound)
    if len(ratios) < FIRST_PAIRS and spread.conclusive and abs(statistics.median(ratios)) <= math.log1p(LARGEST):
        return SAME, LARGEST, ""
    if not spread.conclusive:
        return INCONCLUSIVE, bound, _too_noisy(spread)
    pairs = "1 pair tells" if len(ratios) == 1 else f"{len(ratios)} pairs tell"
    finest = roughly(min(spread.bound, bound))
    why = f"{pairs} no change below {roughly(bound)} from noise; {ALL_PAIRS} tell one above {finest}"
    return INCONCLUSIVE, bound, why


def _agree(ratios: Sequence[float], bound: float) -> bool:
    """Whether the median exceeds a bound, and nearly all exceed half of it, on the same side."""
    middle, most = statistics.median(ratios), math.log1p(bound)
    side = math.copysign(1.0, middle)
    return abs(middle) > most and sum(side * ratio > most / 2 for ratio in ratios) >= AGREE * len(ratios)


def _direction(ratios: Sequence[float], bound: float) -> tuple[str, float, str]:
    middle = statistics.median(ratios)
    side = math.copysign(1.0, middle)
    agree = sum(side * ratio > math.log1p(bound) / 2 for ratio in ratios)
    word = SLOWER if middle > 0 else FASTER
    pairs = "in 1 pair" if len(ratios) == 1 else f"in {agree} of {len(ratios)} pairs"
    return (
        word,
        bound,
        f"{word} {pairs}, by {percent_text(math.expm1(middle), signed=True)}; {roughly(bound)} is allowed",
    )


def _noise_of(point: PairedPoint, pooled: Spread) -> Spread:
    """The spread of all points, or the point's own where it is unusual even without its most different pair."""
    own = own_spread(_without_outlier(point))
    unusual = own is not None and own.value**2 > pooled.value**2 * _chi_square(own.degrees, UNUSUAL)
    return own if unusual and own is not None else pooled


def _without_outlier(point: PairedPoint) -> PairedPoint:
    """The point without its most different pair."""
    middle = statistics.median(point.log_ratios)
    pairs = sorted(zip(point.base, point.head, strict=True), key=lambda pair: abs(math.log(pair[1] / pair[0]) - middle))
    return PairedPoint(name=point.name, base=[a for a, _ in pairs[:-1]], head=[b for _, b in pairs[:-1]])


@cache
def _chi_square(degrees: int, quantile: float) -> float:
    """A quantile of χ² over its degrees of freedom, by Wilson and Hilferty (1931); which one in standard deviations."""
    part = 2 / (9 * degrees)
    return max(0.0, 1 - part + quantile * math.sqrt(part)) ** 3


def _too_noisy(spread: Spread) -> str:
    most = BOUNDS[-1][0]
    return f"too noisy: runs of one side differ by {roughly(spread.value)}; above {roughly(most)} no point is cleared"


def _relative(log_ratio: float) -> float:
    """A logarithm of a ratio as a relative change; that of noise may be more than any of times."""
    return math.expm1(min(log_ratio, MOST_APART))


def _first_median(point: PairedPoint) -> float:
    return statistics.median(point.log_ratios[:FIRST_PAIRS])


def _variance(values: Sequence[float]) -> float:
    logs = [math.log(value) for value in values]
    mean = math.fsum(logs) / len(logs)
    return math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
