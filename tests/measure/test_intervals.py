"""The interval against SciPy, and its coverage: it contains the true value 95 times of 100."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fgbench.measure.intervals import half_width, lag1_correlation, t_975


@pytest.mark.parametrize("degrees", [*range(1, 31), 31, 40, 100, 1000])
def test_the_quantile_is_students(degrees):
    assert t_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-4)


def test_without_a_spread_there_is_no_doubt_and_with_one_value_no_knowledge():
    assert half_width([2.0, 2.0, 2.0]) == 0
    assert half_width([2.0]) == half_width([]) == math.inf


def test_independent_values_have_students_interval():
    values = [1.0, 3.0, 1.5, 2.5, 0.5, 2.75]  # neighbours differ: their correlation is negative, and not trusted
    assert lag1_correlation(values) < 0
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2, rel=1e-4)


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=40))
def test_the_correlation_is_numpys_sum_over_the_whole_spread(values):
    centred = np.array(values) - np.mean(values)
    spread = float((centred**2).sum())
    if spread > 1e-12:
        expected = float((centred[1:] * centred[:-1]).sum()) / spread
        assert lag1_correlation(values) == pytest.approx(expected, abs=1e-6)


def coverage(correlation: float, length: int = 40, rounds: int = 2000) -> float:
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(rounds):
        noise = generator.normal(size=length + 50)
        series = [0.0]
        for value in noise:
            series.append(correlation * series[-1] + value)
        kept = [value + 100 for value in series[-length:]]
        hits += abs(np.mean(kept) - 100) <= half_width(kept)
    return hits / rounds


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.94), (0.5, 0.88)])
def test_the_interval_holds_the_truth_also_where_neighbours_resemble_each_other(correlation, least):
    assert coverage(correlation) >= least


def test_the_correction_is_what_keeps_that_promise(monkeypatch):
    corrected = coverage(0.5)
    monkeypatch.setattr("fgbench.measure.intervals.MOST_CORRELATED", 0.0)
    assert coverage(0.5) < corrected - 0.05
