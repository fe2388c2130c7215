"""The interval of a difference whose chance comes from few seeds and from many images. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05  # of a verdict, over all comparisons of a table
POWER = 0.8  # with which a difference is to be found
MOST_SEEDS = 1000  # that are asked for
SMALLEST_P = 1e-12
ROUNDING = 1e-20  # a variance of shares below it is the error of sums of equal numbers


class Variances(NamedTuple):
    """The variance of a difference by its source, in squared shares of images."""

    seeds: tuple[tuple[float, int], ...]  # of each mean over seeds with its degrees of freedom; () for one seed
    images: float


def of_seeds(shares: Sequence[NDArray[np.float64]], *, paired: bool) -> tuple[tuple[float, int], ...]:
    """The variance of the mean over seeds, of the pairs or of each model."""
    samples = [shares[1] - shares[0]] if paired else list(shares)
    variances = [float(sample.var(ddof=1)) for sample in samples]
    return tuple(
        (variance / len(sample) if variance > ROUNDING else 0.0, len(sample) - 1)
        for variance, sample in zip(variances, samples, strict=True)
    )


def of_images(known: NDArray[np.float64], first: int, several: bool, *, paired: bool) -> float:
    """The variance that other images would add, without the chance of single answers, which the seeds' has in it."""
    groups = [known[first:] - known[:first]] if paired else [known[:first], known[first:]]
    images = int(known.shape[1])
    if images < 2:
        return 0.0
    of_image = known[first:].mean(axis=0) - known[:first].mean(axis=0)
    whole: float = float(of_image.var(ddof=1)) / images
    if not several:
        return float(whole)
    left = 0.0
    for group in groups:
        rest = group - group.mean(axis=1, keepdims=True) - group.mean(axis=0) + group.mean()
        left += float((rest**2).sum()) / ((len(group) - 1) * (images - 1)) / (len(group) * images)
    return max(float(whole - left), 0.0)


def half_width(variances: Variances, confidence: float) -> float:
    """Half of the interval of a difference, as a share of images: the mean of two approximations.

    Both are for a sum of chances of which one, that of the seeds, is estimated from few values. Hillis' takes Student's
    quantile with the degrees of freedom that the whole has; with three seeds it is too narrow. Howe's is too wide. With
    one source of chance both are Student's.

    Args:
        variances: Of the difference.
        confidence: Such as 0.95.

    Source: Hillis 2007, Statistics in Medicine 26 (several readers, several cases); :func:`cautious_half_width`.

    """
    from scipy.special import stdtrit

    whole, spread = _whole(variances), _spread(variances)
    cautious = cautious_half_width(variances, confidence)
    if spread <= 0:
        return cautious
    return (float(stdtrit(whole**2 / spread, 0.5 + confidence / 2)) * math.sqrt(whole) + cautious) / 2


def cautious_half_width(variances: Variances, confidence: float) -> float:
    """Half of Howe's interval: the squares of the half-widths of both sources of chance are added.

    It is too narrow for no number of seeds, also far out, where p-values that are corrected for several comparisons
    are judged.

    Args:
        variances: Of the difference.
        confidence: Such as 0.95.

    Source: Howe 1974, Approximate confidence limits on the mean of X + Y, JASA 69.

    """
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + confidence / 2
    normal, spread = float(ndtri(tail)), _spread(variances)
    if spread <= 0:
        return normal * math.sqrt(_whole(variances))
    of_seeds_alone = sum(variance for variance, _ in variances.seeds)
    student = float(stdtrit(of_seeds_alone**2 / spread, tail))  # with Welch's degrees of freedom
    return math.sqrt(student**2 * of_seeds_alone + normal**2 * variances.images)


def _whole(variances: Variances) -> float:
    return sum((variance for variance, _ in variances.seeds), variances.images)


def _spread(variances: Variances) -> float:
    """Of the variance over seeds: twice this is the variance of its estimate."""
    return sum(variance**2 / freedom for variance, freedom in variances.seeds)


def p_value(distance: float, variances: Variances) -> float:
    """The level at which the cautious interval would just reach 0."""
    from scipy.optimize import brentq

    def beyond(level: float) -> float:
        return cautious_half_width(variances, 1 - level) - distance

    if distance == 0:
        return 1.0
    if beyond(SMALLEST_P) <= 0:
        return SMALLEST_P
    return float(brentq(beyond, SMALLEST_P, 1.0, xtol=1e-13, rtol=1e-9))


def hierarchical_interval(
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
    image_weights = draw.multinomial(known.shape[1], counts / known.shape[1], size=resamples) / known.shape[1]
    groups = [len(rows)] if paired else [first, len(rows) - first]
    weights = [draw.multinomial(size, [1 / size] * size, size=resamples) / size for size in groups]
    seed_weights = weights[0] if paired else np.concatenate([-weights[0], weights[1]], axis=1)
    drawn = ((image_weights @ kinds.T) * seed_weights).sum(axis=1) - mean
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
        whole, spread = _whole(scaled), _spread(scaled)
        freedom = whole**2 / spread if spread > 0 else 1e6
        needed = cautious_half_width(scaled, 1 - LEVEL) + float(stdtrit(freedom, POWER)) * math.sqrt(whole)
        return needed <= points / 100

    count = bisect_left(range(2, MOST_SEEDS + 1), True, key=is_found) + 2
    return count if count <= MOST_SEEDS else None
