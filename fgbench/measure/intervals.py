"""How far a mean can be trusted: Student's interval, widened where neighbouring values resemble each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

# The 97.5 % quantile of Student's t for 1…30 degrees of freedom; beyond, Cornish and Fisher's expansion is as good.
T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
MOST_CORRELATED = 0.9  # a larger estimate from a few blocks would say nothing


def t_975(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    if degrees <= len(T_975):
        return T_975[degrees - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def lag1_correlation(values: Sequence[float]) -> float:
    """How much each value resembles the one before, between −1 and 1; 0 where all are equal."""
    mean = statistics.fmean(values)
    spread = sum((value - mean) ** 2 for value in values)
    if spread == 0:
        return 0.0
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / spread


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean of a series, in the values' own unit; infinite for fewer than two.

    Corrected for lag-1 correlation ρ: an AR(1) series of n values tells as much about its mean as
    n·(1 − ρ)/(1 + ρ) independent ones. Negative correlation is not trusted to narrow the interval. The estimate of ρ is
    corrected for its bias (Kendall 1954, Note on bias in the estimation of autocorrelation).
    """
    if len(values) < 2:
        return math.inf
    found = lag1_correlation(values)
    unbiased = found + (1 + 4 * found) / len(values)  # in short series the estimate is too low by that much
    correlation = min(max(unbiased, 0.0), MOST_CORRELATED)
    inflation = (1 + correlation) / (1 - correlation)
    return t_975(len(values) - 1) * statistics.stdev(values) * math.sqrt(inflation / len(values))
