"""How far a mean can be trusted: Student's interval, widened where neighbouring values resemble each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

MOST_CORRELATED = 0.9  # a larger estimate from a few blocks would say nothing


def t_975(degrees: int) -> float:
    """The 97.5 % quantile of Student's t for so many degrees of freedom."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls; scipy.stats takes six times as long to import

    return float(stdtrit(degrees, 0.975))


def lag1_correlation(values: Sequence[float]) -> float:
    """How much each value resembles the one before, between −1 and 1; 0 where all are equal."""
    mean = statistics.fmean(values)
    spread = sum((value - mean) ** 2 for value in values)
    if spread == 0:
        return 0.0
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / spread


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean of a series, corrected for lag-1 correlation ρ.

    An AR(1) series of n values tells as much about its mean as n·(1 − ρ)/(1 + ρ) independent ones. Negative correlation
    is not trusted to narrow the interval. The estimate of ρ is corrected for its bias (Kendall 1954, Note on bias in
    the estimation of autocorrelation).

    Args:
        values: The series, in its order.

    Returns:
        The half width in the values' own unit; infinite for fewer than two values.

    """
    if len(values) < 2:
        return math.inf
    biased = lag1_correlation(values)
    unbiased = biased + (1 + 4 * biased) / len(values)  # in short series the estimate is too low by that much
    correlation = min(max(unbiased, 0.0), MOST_CORRELATED)
    inflation = (1 + correlation) / (1 - correlation)
    return t_975(len(values) - 1) * statistics.stdev(values) * math.sqrt(inflation / len(values))
