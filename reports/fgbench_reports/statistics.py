"""Differences of accuracies with their uncertainty: over seeds and over images, in pairs. No torch.

The accuracy of a model depends on the seed that it was trained with and on the images that it is tested on; all seeds
of all models are tested on the same images. So a difference of two models has two sources of chance. Each is estimated
from the answers per image, and the interval holds both. ``docs/statistics.md`` says which interval, why, and how often
it holds the truth in simulations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from fgbench.results.predictions import UNREADABLE, PredictionsRow
from fgbench.results.proportions import wilson as wilson
from fgbench.results.records import AccuracyRow
from fgbench_reports.seed_intervals import (
    LEVEL,
    Variances,
    half_width,
    hierarchical_interval,
    of_images,
    of_seeds,
    p_value,
    seeds_for,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000  # of the bootstrap

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
    readable = (one >= 0) & (two >= 0)
    better, worse = int(((two > one) & readable).sum()), int(((two < one) & readable).sum())
    return _sign_test(better, better + worse)


@cache
def _sign_test(better: int, differing: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(better, differing).pvalue) if differing else 1.0


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
    seeds = of_seeds(shares, paired=paired) if several else ()
    variances = Variances(seeds, 0.0 if table is None else of_images(table, len(baseline), several, paired=paired))
    low = high = p = None
    if several or table is not None:
        half = half_width(variances, 1 - LEVEL)
        low, high = mean - half, mean + half
        if several and table is not None and low < high:
            low, high = hierarchical_interval(table, len(baseline), mean, half, paired=paired, resamples=resamples)
        p = p_value(abs(mean), variances)
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
