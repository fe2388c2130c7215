"""The stopping rule of the timer, on a fake clock."""

from __future__ import annotations

import random
import statistics

import pytest
from helpers.fakes import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.measure.intervals import half_width
from fgbench.measure.timer import CPU_PLAN, FEWEST_BLOCKS, GPU_PLAN, TimingPlan, time_iterations, warm_up


def noisy(latency_s: float, spread: float, seed: int = 0):
    generator = random.Random(seed)
    return lambda _: latency_s * (1 + spread * generator.gauss(0, 1))


def test_a_quiet_device_is_done_after_eight_blocks_of_150_ms():
    clock = FakeClock(noisy(0.0101, 0.001))
    timing = time_iterations(clock, GPU_PLAN)
    assert timing.converged
    assert (len(timing.blocks), timing.iterations) == (8, 15)
    assert timing.latency_s == pytest.approx(0.0101, rel=0.003)
    assert clock.done == timing.warm_iterations + 8 * 15


def test_blocks_are_medians_and_a_hiccup_does_not_move_them():
    def seconds(index: int) -> float:
        return 0.5 if index % 15 == 7 else 0.010

    timing = time_iterations(FakeClock(seconds), GPU_PLAN)
    assert set(timing.blocks) == {0.010}
    assert timing.interval_s == (pytest.approx(0.010), pytest.approx(0.010))


def test_a_restless_device_is_cut_off_at_the_cap_and_said_to_be_unconverged():
    timing = time_iterations(FakeClock(noisy(0.010, 0.5)), GPU_PLAN)
    assert not timing.converged
    assert sum(timing.blocks) * timing.iterations == pytest.approx(GPU_PLAN.cap_s, rel=0.1)
    assert half_width(timing.blocks) / statistics.fmean(timing.blocks) > GPU_PLAN.target


def test_a_drifting_device_does_not_pass_for_a_quiet_one():
    """Neighbouring blocks resemble each other: eight of them say less than eight independent ones."""
    timing = time_iterations(FakeClock(lambda index: 0.010 * (1 + 0.0001 * index)), GPU_PLAN)
    assert len(timing.blocks) > 8


def test_the_warm_up_waits_until_the_clocks_have_settled():
    def seconds(index: int) -> float:
        return 0.001 if index else 2.0  # the first iteration compiles

    done, spent, latency_s = warm_up(FakeClock(seconds), GPU_PLAN)
    assert latency_s == 0.001
    assert spent >= 2.0 + GPU_PLAN.warm_s
    assert done > 100

    def ramp(index: int) -> float:
        return 0.020 - min(index, 100) * 0.0001  # clocks rise until the hundredth iteration

    done, _, latency_s = warm_up(FakeClock(ramp), GPU_PLAN)
    assert done > 60
    assert latency_s < 0.0125


def test_the_warm_up_ends_though_nothing_settles():
    clock = FakeClock(lambda index: 0.010 if index % 2 else 0.015)
    warm_up(clock, TimingPlan(warm_spread=1e-9, warm_cap_s=1.0))
    assert clock.done * 0.0125 < 2.0


def test_iterations_longer_than_the_cap_are_run_no_more_than_it_takes():
    clock = FakeClock(noisy(20.0, 0.0001))
    timing = time_iterations(clock, CPU_PLAN)
    assert len(timing.blocks) == FEWEST_BLOCKS
    assert clock.done == 2 + FEWEST_BLOCKS  # the first, one more to warm up, and three that count
    assert timing.converged  # three equal values are an answer


def test_what_is_warmed_is_not_timed():
    events: list[str] = []
    clock = FakeClock(lambda _: 0.01)
    run = clock.run
    clock.run = lambda n: (events.append("run"), run(n))[1]  # type: ignore[method-assign]
    timing = time_iterations(clock, GPU_PLAN, warmed=lambda: events.append("warmed"))
    assert events.count("warmed") == 1
    assert len(events) - events.index("warmed") - 1 == len(timing.blocks)


def test_progress_hears_the_median_so_far():
    heard: list[tuple[float, int]] = []
    timing = time_iterations(FakeClock(noisy(0.01, 0.1)), GPU_PLAN, progress=lambda *now: heard.append(now))
    assert [number for _, number in heard] == list(range(1, len(timing.blocks) + 1))
    assert heard[-1][0] == timing.latency_s


@settings(deadline=None)
@given(st.floats(1e-5, 30), st.floats(0, 0.3), st.integers(0, 2**31), st.sampled_from([CPU_PLAN, GPU_PLAN]))
def test_any_device_is_measured_within_bounds(latency_s, spread, seed, plan):
    generator = random.Random(seed)
    clock = FakeClock(lambda _: latency_s * (1 + spread * generator.random()))
    timing = time_iterations(clock, plan)
    low, high = timing.interval_s
    assert low <= timing.latency_s <= high
    assert latency_s * 0.999 <= timing.latency_s <= latency_s * (1 + spread) * 1.001
    assert len(timing.blocks) >= FEWEST_BLOCKS
    assert timing.iterations >= min(plan.min_iterations, max(1, int(plan.cap_s / 3 / (latency_s * (1 + spread)))))
    spent = sum(timing.blocks) * timing.iterations
    longest = max(FEWEST_BLOCKS * timing.iterations * latency_s, plan.cap_s + timing.iterations * latency_s)
    assert spent <= 1.5 * longest
    if timing.converged:
        assert half_width(timing.blocks) / statistics.fmean(timing.blocks) <= plan.target
    assert timing.latency_s == statistics.median(timing.blocks)
