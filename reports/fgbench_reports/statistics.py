"""Differences of accuracies with their uncertainty: over seeds and over images, in pairs. No torch.

The accuracy of a model depends on the seed that it was trained with and on the images that it is tested on; all seeds
of all models are tested on the same images. So a difference of two models has two sources of chance. Each is estimated
from the answers per image, and the interval holds both. ``docs/statistics.md`` says which interval, why, and how often
it holds the truth in simulations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fgbench.results.predictions import UNREADABLE, PredictionsRow
from fgbench.results.proportions import wilson as wilson
from fgbench.results.records import AccuracyRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05  # of a verdict, over all comparisons of a table
POWER = 0.8  # with which a difference is to be found
MOST_SEEDS = 1000  # that are asked for
RESAMPLES = 2000  # of the bootstrap
SMALLEST_P = 1e-12

# What an interval is made from.
SEEDS_AND_IMAGES, SEEDS, IMAGES, NOTHING = "seeds and images", "seeds alone", "images alone", "nothing"
# Verdicts.
BETTER, WORSE = "better", "worse"
NONE_FOUND, ONE_SEED = "no difference found at this size", "one seed alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of one run on the test images.

    Attributes:
        seed: Of the training; None for weights that were only tested.
        top1_percent: The accuracy.
        marks: (images,) 1 for a right answer, 0 for a wrong one, -1 for an image that could not be read; None where
            the predictions of the run were not kept.
        test_set: A digest of the test images; None where predictions were not kept.

    """

    seed: int | None
    top1_percent: float
    marks: NDArray[np.int8] | None = field(default=None, repr=False)
    test_set: str | None = None


class Variances(NamedTuple):
    """The variance of a difference by its source, in squared shares of images."""

    seeds: tuple[tuple[float, int], ...]  # of each mean over seeds with its degrees of freedom; () for one seed
    images: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The accuracy of a model less that of the baseline, in points (percent of the test images).

    Attributes:
        mean_points: The difference of the means over seeds.
        low_points: The lower end of its 95 % interval; None where there is none.
        high_points: The upper end.
        p: Of the hypothesis that there is no difference; None where there is no interval.
        p_per_seed: McNemar's exact test of each pair of runs, by seed; empty where predictions were not kept.
        seeds: The number of seeds, or of pairs of seeds.
        paired: Whether runs of equal seeds are compared; otherwise means over different seeds are.
        basis: What the interval is made from: ``SEEDS_AND_IMAGES``, ``SEEDS`` (predictions were not kept), ``IMAGES``
            (one seed alone) or ``NOTHING``.
        images: The number of images that all runs could read; None where predictions were not kept.
        seeds_for_one_point: So many seeds of each model would find a difference of one point (power 80 %, level 5 %,
            one comparison); None where more than ``MOST_SEEDS`` would be needed, or it cannot be told.

    """

    mean_points: float
    low_points: float | None
    high_points: float | None
    p: float | None
    p_per_seed: Mapping[int | None, float]
    seeds: int
    paired: bool
    basis: str
    images: int | None
    seeds_for_one_point: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A difference as one of several in a table."""

    difference: Difference
    p_holm: float | None  # corrected for the number of comparisons
    verdict: str  # BETTER, WORSE, NONE_FOUND or ONE_SEED


def answers(run: AccuracyRow, predictions: PredictionsRow | None = None) -> Answers:
    """The answers of a run, with its predictions where they were kept.

    Args:
        run: The row of a run.
        predictions: The predictions of the same run.

    Raises:
        ValueError: Predictions that cannot be unpacked.

    """
    if predictions is None:
        return Answers(seed=run.seed, top1_percent=run.top1_percent)
    import numpy as np

    predicted, targets = predictions.classes()
    marks = np.where(predicted == UNREADABLE, -1, predicted == targets).astype(np.int8)
    return Answers(seed=run.seed, top1_percent=run.top1_percent, marks=marks, test_set=predictions.test_set)


def all_answers(runs: Sequence[AccuracyRow], predictions: Sequence[PredictionsRow]) -> list[Answers]:
    """The answers of runs, with the predictions that have the key of the run."""
    by_run = {row.run: row for row in predictions}
    return [answers(run, by_run.get(run.run) if run.run else None) for run in runs]


def differences(baseline: Sequence[Answers], other: Sequence[Answers], *, resamples: int = RESAMPLES) -> Difference:
    """Compare the runs of a model with those of a baseline.

    Runs of the same seed are pairs, and seeds that one of the two lacks are left out. Where fewer than two seeds are
    shared and both have several, the means over their seeds are compared. Images that a run could not read are left
    out.

    Args:
        baseline: The runs of the baseline, at least one, that differ by their seeds alone.
        other: The runs of the model.
        resamples: Of the bootstrap.

    Raises:
        ValueError: There is no run, or runs were tested on different images.

    """
    if not baseline or not other:
        raise ValueError("a comparison needs runs of both models")
    _check_test_sets([*baseline, *other])
    one, two = ({run.seed: run for run in runs} for runs in (baseline, other))  # the last run of a seed counts
    shared = [seed for seed in one if seed in two]
    paired = len(shared) > 1 or min(len(one), len(two)) == 1
    if paired and not shared:
        shared_runs = [(next(iter(one.values())), next(iter(two.values())))]
    elif paired:
        shared_runs = [(one[seed], two[seed]) for seed in shared]
    else:
        return _compared(list(one.values()), list(two.values()), paired=False, resamples=resamples)
    first, second = zip(*shared_runs, strict=True)
    return _compared(first, second, paired=True, resamples=resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of comparisons; their family-wise error stays below the level.

    Args:
        p_values: One per comparison.

    Returns:
        The corrected ones, in the same order.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def judged(compared: Sequence[Difference]) -> list[Judgement]:
    """The verdicts on the comparisons of one table.

    A model is better or worse where its interval leaves 0 out and its corrected p-value is below 5 %. One seed tells
    two trainings apart, not two models: it has no verdict, and is no comparison.

    Args:
        compared: The differences from one baseline.

    """
    told = [one for one in compared if _is_told(one)]
    corrected = dict(zip(map(id, told), holm([one.p for one in told if one.p is not None]), strict=True))
    judgements = []
    for one in compared:
        p_holm = corrected.get(id(one))
        verdict = ONE_SEED if p_holm is None else _verdict(one, p_holm)
        judgements.append(Judgement(difference=one, p_holm=p_holm, verdict=verdict))
    return judgements


def mcnemar(one: NDArray[np.int8], two: NDArray[np.int8]) -> float:
    """McNemar's exact test of two runs on the same images: the two-sided p-value.

    Args:
        one: (images,) marks of a run, as in :class:`Answers`.
        two: (images,) those of the other run.

    Source: McNemar 1947, Psychometrika 12; the exact form is a binomial test of the images on which the runs differ.

    """
    from scipy.stats import binomtest

    readable = (one >= 0) & (two >= 0)
    better, worse = int(((two > one) & readable).sum()), int(((two < one) & readable).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _is_told(one: Difference) -> bool:
    return one.p is not None and one.basis in (SEEDS, SEEDS_AND_IMAGES)


def _verdict(one: Difference, p_holm: float) -> str:
    if p_holm < LEVEL and one.low_points is not None and one.high_points is not None:
        if one.low_points > 0:
            return BETTER
        if one.high_points < 0:
            return WORSE
    return NONE_FOUND


def _check_test_sets(runs: Sequence[Answers]) -> None:
    kept = [run for run in runs if run.marks is not None]
    if len({run.test_set for run in kept}) > 1 or len({len(run.marks) for run in kept if run.marks is not None}) > 1:
        raise ValueError("the runs were tested on different images, which cannot be paired")


def _compared(baseline: Sequence[Answers], other: Sequence[Answers], *, paired: bool, resamples: int) -> Difference:
    import numpy as np

    marks = [run.marks for run in (*baseline, *other)]
    per_seed: dict[int | None, float] = {}
    images = None
    shares = [np.array([run.top1_percent / 100 for run in runs]) for runs in (baseline, other)]
    table: NDArray[np.float64] | None = None
    if all(mark is not None for mark in marks):
        whole = np.stack([mark for mark in marks if mark is not None])
        known = whole[:, (whole >= 0).all(axis=0)].astype(np.float64)
        images = known.shape[1]
        if images:
            if paired:
                per_seed = {run.seed: mcnemar(whole[at], whole[at + len(baseline)]) for at, run in enumerate(baseline)}
            shares = [known[: len(baseline)].mean(axis=1), known[len(baseline) :].mean(axis=1)]
            table = known
    mean = float(shares[1].mean() - shares[0].mean())
    several = min(len(baseline), len(other)) > 1
    seeds = _of_seeds(shares, paired=paired) if several else ()
    variances = Variances(seeds, 0.0 if table is None else _of_images(table, len(baseline), several, paired=paired))
    low = high = p = None
    if several or table is not None:
        half = partial(half_width, variances)
        low, high = mean - half(0.95), mean + half(0.95)
        if several and table is not None and low < high:
            low, high = _hierarchical(table, len(baseline), mean, half(0.95), paired=paired, resamples=resamples)
        p = _p_value(abs(mean), variances)
    return Difference(
        mean_points=100 * mean,
        low_points=None if low is None else max(-100.0, 100 * low),
        high_points=None if high is None else min(100.0, 100 * high),
        p=p,
        p_per_seed=per_seed,
        seeds=min(len(baseline), len(other)),
        paired=paired,
        basis=(SEEDS if table is None else SEEDS_AND_IMAGES) if several else NOTHING if table is None else IMAGES,
        images=images,
        seeds_for_one_point=seeds_for(variances, [len(baseline), len(other)], paired=paired) if several else None,
    )


def _of_seeds(shares: Sequence[NDArray[np.float64]], *, paired: bool) -> tuple[tuple[float, int], ...]:
    """The variance of the mean over seeds, of the pairs or of each model."""
    samples = [shares[1] - shares[0]] if paired else list(shares)
    return tuple((float(sample.var(ddof=1)) / len(sample), len(sample) - 1) for sample in samples)


def _of_images(known: NDArray[np.float64], first: int, several: bool, *, paired: bool) -> float:
    """The variance that other images would add, without the chance of single answers, which the seeds' has in it."""
    groups = [known[first:] - known[:first]] if paired else [known[:first], known[first:]]
    images = known.shape[1]
    if images < 2:
        return 0.0
    of_image = known[first:].mean(axis=0) - known[:first].mean(axis=0)
    whole = float(of_image.var(ddof=1)) / images
    if not several:
        return whole
    left = 0.0
    for group in groups:
        rest = group - group.mean(axis=1, keepdims=True) - group.mean(axis=0) + group.mean()
        left += float((rest**2).sum()) / ((len(group) - 1) * (images - 1)) / (len(group) * images)
    return max(whole - left, 0.0)


def half_width(variances: Variances, confidence: float) -> float:
    """Half of the interval of a difference, as a share of images: the mean of two approximations.

    Both are for a sum of chances of which one, that of the seeds, is estimated from few values. Hillis' takes Student's
    quantile with the degrees of freedom that the whole has; with three seeds it is somewhat too narrow. Howe's adds the
    squares of the half-widths of both; it is somewhat too wide. With one source of chance both are Student's.

    Args:
        variances: Of the difference.
        confidence: Such as 0.95.

    Sources: Hillis 2007, Statistics in Medicine 26 (several readers, several cases); Howe 1974, JASA 69.

    """
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + confidence / 2
    normal = float(ndtri(tail))
    of_seeds = sum(variance for variance, _ in variances.seeds)
    whole = of_seeds + variances.images
    spread = sum(variance**2 / freedom for variance, freedom in variances.seeds)
    if spread <= 0:
        return normal * math.sqrt(whole)
    hillis = float(stdtrit(whole**2 / spread, tail)) * math.sqrt(whole)
    student = float(stdtrit(of_seeds**2 / spread, tail))
    return (hillis + math.sqrt(student**2 * of_seeds + normal**2 * variances.images)) / 2


def _p_value(distance: float, variances: Variances) -> float:
    """The level at which the interval would just reach 0."""
    from scipy.optimize import brentq

    def beyond(level: float) -> float:
        return half_width(variances, 1 - level) - distance

    if distance == 0:
        return 1.0
    if beyond(SMALLEST_P) <= 0:
        return SMALLEST_P
    return float(brentq(beyond, SMALLEST_P, 1.0, xtol=1e-13, rtol=1e-9))


def _hierarchical(
    known: NDArray[np.float64], first: int, mean: float, half: float, *, paired: bool, resamples: int
) -> tuple[float, float]:
    """The interval by a hierarchical bootstrap (seeds, then images), whose width is that of :func:`half_width`.

    A plain bootstrap over so few seeds is too narrow in the seeds, and counts the chance of single answers twice. So
    the resamples give the shape of the interval alone, and are stretched around the mean.
    """
    import numpy as np
    from scipy.special import ndtri

    draw = np.random.default_rng(0)
    rows = known[first:] - known[:first] if paired else known
    kinds, counts = np.unique(rows, axis=1, return_counts=True)  # images with equal answers are drawn together
    of_images = draw.multinomial(known.shape[1], counts / known.shape[1], size=resamples) / known.shape[1]
    groups = [len(rows)] if paired else [first, len(rows) - first]
    weights = [draw.multinomial(size, [1 / size] * size, size=resamples) / size for size in groups]
    of_seeds = weights[0] if paired else np.concatenate([-weights[0], weights[1]], axis=1)
    drawn = ((of_images @ kinds.T) * of_seeds).sum(axis=1) - mean
    deviation = float(drawn.std())
    if deviation == 0:
        return mean - half, mean + half
    stretch = half / (float(ndtri(0.975)) * deviation)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean + stretch * float(low), mean + stretch * float(high)


def seeds_for(variances: Variances, seeds: Sequence[int], *, paired: bool, points: float = 1.0) -> int | None:
    """How many seeds of each model would find a difference with a power of 80 % at a level of 5 %.

    Half of the interval and the quantile of the power must not exceed the difference. The images are those at hand:
    where they alone leave too much open, no number of seeds is enough.

    Args:
        variances: Of the difference at hand.
        seeds: How many seeds of each model there are.
        paired: Whether seeds are paired.
        points: The difference, in percent of the images.

    Returns:
        The number; None for more than ``MOST_SEEDS``.

    """
    from bisect import bisect_left

    from scipy.special import stdtrit

    sizes = [seeds[0]] if paired else seeds
    single = [variance * size for (variance, _), size in zip(variances.seeds, sizes, strict=True)]

    def is_found(count: int) -> bool:
        scaled = Variances(tuple((variance / count, count - 1) for variance in single), variances.images)
        whole = sum(variance for variance, _ in scaled.seeds) + scaled.images
        spread = sum(variance**2 / freedom for variance, freedom in scaled.seeds)
        freedom = whole**2 / spread if spread > 0 else 1e6
        needed = half_width(scaled, 1 - LEVEL) + float(stdtrit(freedom, POWER)) * math.sqrt(whole)
        return needed <= points / 100

    count = bisect_left(range(2, MOST_SEEDS + 1), True, key=is_found) + 2
    return count if count <= MOST_SEEDS else None
