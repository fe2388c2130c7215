"""Percentiles of latencies, and their intervals by order statistics."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from helpers.fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from fgbench.measure.tail import (
    PERCENTS,
    SAMPLES,
    correlation_time,
    fewest_samples,
    interval_ranks,
    tail_of,
)
from fgbench.measure.timer import CPU_PLAN, time_iterations


@pytest.mark.parametrize(("percent", "fewest"), [(50, 6), (95, 72), (99, 368)])
def test_both_ends_lie_among_the_samples_from_the_fewest_on(percent, fewest):
    assert fewest_samples(percent) == fewest
    for samples in range(1, fewest + 50):
        assert (None not in interval_ranks(samples, percent)) == (samples >= fewest), samples


@given(st.integers(1, 3000), st.sampled_from(PERCENTS))
def test_ranks_are_the_narrowest_with_2_5_percent_beyond_each_end(samples, percent):
    low, high = interval_ranks(samples, percent)
    below = binom(samples, percent / 100)  # how many samples lie below the true quantile
    if low is not None:
        assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    else:
        assert below.cdf(0) > 0.025
    if high is not None:
        assert below.sf(high - 1) <= 0.025 < below.sf(high - 2)
    else:
        assert below.sf(samples - 1) > 0.025


def test_intervals_hold_the_true_percentile_95_times_of_100():
    generator, held = random.Random(0), 0
    for _ in range(400):
        tail = tail_of([generator.expovariate(1.0) for _ in range(400)])
        low, high = tail.seen["p95"]
        held += low <= 2.9957 <= high
    assert 0.93 <= held / 400 <= 0.99


def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed():
    tail = tail_of([float(value) for value in range(1000, 0, -1)])
    assert tail.figures == {"latency_p50_s": 500.0, "latency_p95_s": 950.0, "latency_p99_s": 990.0}
    assert tail.missing == {}
    assert tail.seen == {"samples": 1000, "asked_for": 0, "independent": 1000} | {
        f"p{percent}": [float(rank) for rank in interval_ranks(1000, percent)] for percent in PERCENTS
    }


@pytest.mark.parametrize(("asked_for", "more"), [(0, "--tail takes more"), (368, "a longer --max-time takes more")])
def test_a_percentile_without_enough_samples_is_missing_with_its_reason(asked_for, more):
    tail = tail_of([0.01] * 100, asked_for=asked_for)
    assert tail.figures == {"latency_p50_s": 0.01, "latency_p95_s": 0.01, "latency_p99_s": None}
    assert tail.missing == {"latency_p99_s": f"p99 needs 368 samples, and there are 100; {more}"}
    assert "p99" not in tail.seen
    assert set(tail_of([]).missing) == set(tail_of([]).figures) == {f"latency_p{percent}_s" for percent in PERCENTS}


def test_samples_that_resemble_each_other_widen_the_interval_and_leave_the_percentile():
    generator = random.Random(0)
    times = [generator.gauss(10, 1) for _ in range(4000)]
    plain, widened = tail_of(times), tail_of(times, correlation=5.0)
    assert plain.figures == widened.figures
    assert widened.seen["independent"] == 800
    for percent in PERCENTS:
        (low, high), (lower, higher) = plain.seen[f"p{percent}"], widened.seen[f"p{percent}"]
        assert lower < low < high < higher
    assert tail_of(times, correlation=20.0).seen["p99"][1] is None  # 200 independent ones have no upper end


def test_batch_means_tell_how_many_neighbours_resemble_each_other():
    generator = random.Random(0)
    independent = [generator.gauss(0, 1) for _ in range(20_000)]
    repeated = [value for value in independent[:2000] for _ in range(10)]

    assert correlation_time(independent) == pytest.approx(1.0, abs=0.7)
    assert correlation_time(repeated) == pytest.approx(10.0, rel=0.6)
    assert correlation_time([1.0] * 100) == correlation_time([1.0]) == 1.0


def test_too_few_requests_tell_nothing_of_their_neighbours():
    times = [random.Random(0).random() for _ in range(40)]
    assert correlation_time(times) == 40
    assert tail_of(times, correlation=40.0).seen["p50"] == [None, None]


def test_single_iterations_of_the_blocks_are_kept_and_those_of_the_warm_up_are_not():
    clock = FakeClock(lambda index: 0.010 + 1e-6 * index)
    timing = time_iterations(clock, CPU_PLAN)
    assert len(timing.times) == len(timing.blocks) * timing.iterations == clock.done - timing.warm_iterations
    assert timing.times[0] == 0.010 + 1e-6 * timing.warm_iterations


@pytest.mark.parametrize(("latency_s", "samples"), [(0.001, 1200), (0.025, 368), (0.5, 20)])
def test_a_tail_that_is_asked_for_takes_more_iterations_within_the_cap(latency_s, samples):
    plain = time_iterations(FakeClock(lambda _: latency_s), CPU_PLAN)
    longer = time_iterations(FakeClock(lambda _: latency_s), replace(CPU_PLAN, min_samples=SAMPLES))
    assert len(plain.blocks) == 8  # as before
    assert samples <= len(longer.times) < samples + longer.iterations
    assert longer.converged
    assert sum(longer.times) <= CPU_PLAN.cap_s + longer.iterations * latency_s
