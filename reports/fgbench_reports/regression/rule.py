"""The rule for times: a point is slower or faster only if the noise of the machine does not explain the change.

Base and head are measured in pairs, one after the other. A point is the same if the median log ratio of its first three
pairs is within a bound δ. Otherwise four more pairs are measured, and the point is slower only if the median of seven
exceeds δ **and** six of the seven exceed δ/2. δ depends on how much processes of one side differ. If no more pairs
follow, three to six pairs are compared with a larger bound, :func:`few_bound`. docs/regress.md has the error rates of
both in simulated suites of 200 points: fewer than one suite in 200 has a false alarm.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from fgbench_reports.regression.findings import FASTER, INCONCLUSIVE, SAME, SLOWER, TIME, Finding
from fgbench_reports.regression.wording import percent_text, roughly

FIRST_PAIRS = 3  # pairs of every point
ALL_PAIRS = 7  # pairs of a point that is not the same after three
BOUNDS = ((0.008, 0.02), (0.010, 0.03))  # (largest spread, bound δ for it)
LARGEST = BOUNDS[-1][1]  # largest bound δ
BEYOND_NOISE = 4.0  # on a noisier machine no point is the same, and a change must exceed so many spreads
FEW_BOUND, FEW_SPREADS = 0.10, 6.0  # a change must exceed both with one or two pairs, or if seven are incomplete
ALARMS, SUITE = 0.005, 200  # share of suites with a false alarm by chance, and points of a suite
MEDIAN_ERROR = math.sqrt(math.pi / 2)  # standard error of a median over that of a mean, for many values: an upper limit
AGREE = 6 / 7  # share of the pairs
MOST_APART = math.log(1e24)  # log ratio of the longest and the shortest time, 1e9 and 1e-15 seconds
MEDIAN, UNUSUAL, WILD = 0.0, 1.0, 3.09  # standard deviations that 1 of 2, 6 and 1000 estimates of a spread exceeds


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPoint:
    """Seconds of one point by base and head; ``base[i]`` and ``head[i]`` were measured one after the other."""

    name: str  # unique: "glsim gls fast vit_base_patch16_224 224 batch 4"
    base: Sequence[float]  # seconds: one median per process
    head: Sequence[float]
    batch_size: int | None = None  # images; None if unknown

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
    """How much processes of one side differ: the standard deviation of the logarithm of their times, 0.008 is 0.8 %."""

    value: float
    degrees: int  # degrees of freedom of the estimate; 0 if it was not measured here

    @property
    def conclusive(self) -> bool:
        """Whether the machine is quiet enough for the verdict "same"."""
        return self.value <= BOUNDS[-1][0]

    @property
    def bound(self) -> float:
        """The relative change that must be exceeded: δ on a quiet machine, else a multiple of the spread."""
        for most, bound in BOUNDS:
            if self.value <= most:
                return bound
        return _relative(max(BEYOND_NOISE * self.value, math.log1p(LARGEST)))


def pooled_spread(points: Collection[PairedPoint]) -> Spread | None:
    """The spread between processes of one side, over all points; None if no point was measured twice.

    A point that is far noisier than the median point is left out: :func:`judge` uses its own spread.
    """
    seen = [(own.value**2, own.degrees) for point in points if (own := own_spread(point))]
    if not seen:
        return None
    middle = statistics.median(square / _chi_square(degrees, MEDIAN) for square, degrees in seen)
    usual = [(square, degrees) for square, degrees in seen if square <= middle * _chi_square(degrees, WILD)]
    degrees = sum(degrees for _, degrees in usual)
    return Spread(value=math.sqrt(sum(square * each for square, each in usual) / degrees), degrees=degrees)


def own_spread(point: PairedPoint) -> Spread | None:
    """The spread between processes of one side at one point; None if it was measured once."""
    more = len(point.base) - 1
    if more < 1:
        return None
    return Spread(value=math.sqrt((_variance(point.base) + _variance(point.head)) / 2), degrees=2 * more)


def undecided(points: Collection[PairedPoint]) -> set[str]:
    """The names of points whose first three pairs differ by more than the bound, in either direction."""
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
    """One finding per point; ``spread`` is given if the points themselves do not tell it.

    A point has seven pairs because it looked slower or faster after three, which happens to noisy points more often
    than to others. So its bound comes from the spread of all such points, or from its own, if that is larger.
    ``final`` says that no more pairs follow: three to six pairs are compared with :func:`few_bound`.
    """
    spread = spread or pooled_spread(points)
    doubted = pooled_spread([_without_outlier(point) for point in points if len(point.base) >= ALL_PAIRS])
    seen = farthest_apart(points) if final else None
    return [_finding(point, spread, doubted, seen, len(points)) for point in points]


def farthest_apart(points: Collection[PairedPoint]) -> float:
    """The largest log ratio of two processes of one side, over all points; 0 if no point was measured twice."""
    sides = [side for point in points for side in (point.base, point.head) if len(side) > 1]
    return max((math.log(max(side) / min(side)) for side in sides), default=0.0)


def few_bound(noise: Spread, pairs: int, seen: float, points: int) -> float:
    """The relative change that three to six pairs must exceed: the largest of three values.

    1. The largest bound δ, 3 %.
    2. What the median of so few pairs exceeds by chance in one of 200 suites, by Student's t with the degrees of
       freedom of the spread.
    3. The largest difference of two processes of one side, over all points. A program that runs now and then slows
       a few pairs as a change does; only such a difference shows it.
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
    """The verdict of one point, the bound that its change was compared with, and the reason."""
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
    """Whether the median exceeds a bound, and six of seven ratios exceed half of it in the same direction."""
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
    """The spread of all points, or the point's own if that is unusually large even without its most different pair."""
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
    """χ² over its degrees of freedom at a quantile in standard deviations, by Wilson and Hilferty (1931)."""
    part = 2 / (9 * degrees)
    return max(0.0, 1 - part + quantile * math.sqrt(part)) ** 3


def _too_noisy(spread: Spread) -> str:
    most = BOUNDS[-1][0]
    return f"too noisy: runs of one side differ by {roughly(spread.value)}; above {roughly(most)} no point is cleared"


def _relative(log_ratio: float) -> float:
    """A log ratio as a relative change, limited: the exponential of a log ratio of noise could overflow."""
    return math.expm1(min(log_ratio, MOST_APART))


def _first_median(point: PairedPoint) -> float:
    return statistics.median(point.log_ratios[:FIRST_PAIRS])


def _variance(values: Sequence[float]) -> float:
    logs = [math.log(value) for value in values]
    mean = math.fsum(logs) / len(logs)
    return math.fsum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
