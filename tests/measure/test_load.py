"""Requests under load: a fake clock and engines of a fixed time, and threads whose order is forced."""

from __future__ import annotations

import math
import statistics
import threading
from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from helpers.fakes import FakeClock

from fgbench.errors import FgbenchError
from fgbench.measure.engine_registry import describe_engine, open_engine
from fgbench.measure.load import (
    OPEN_TARGET,
    WARM_SHARE,
    ClosedLoop,
    arrivals,
    check_load,
    load_plan,
    time_requests,
)
from fgbench.measure.point import LoadedSubject
from fgbench.measure.points import RunMode
from fgbench.measure.subjects.module import ModuleSubject
from fgbench.measure.tail import SAMPLES, tail_of
from fgbench.measure.timer import CPU_PLAN, TimingPlan

SERVICE_S = 0.005
LONG = TimingPlan(min_iterations=1, target=0.0, cap_s=400.0)  # of fake time; a target that is never reached


class FakeTime:
    """Time that passes while something sleeps or is served."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def server(self, seconds=lambda _: SERVICE_S):
        served = iter(range(10**9))
        return lambda: self.sleep(seconds(next(served)))


def served(rate_per_s: float | None, plan: TimingPlan = LONG, seconds=lambda _: SERVICE_S):
    """Requests to one server, in fake time; the figures, and the time that passed."""
    clock = FakeTime()
    mode = RunMode(rate_per_s=rate_per_s, concurrency=None if rate_per_s else 1)
    step = clock.server(seconds)
    timing = time_requests([step], FakeClock(lambda _: SERVICE_S), mode, plan, now=clock.now, sleep=clock.sleep)
    return timing, clock.time - 100.0


def lindley(rate_per_s: float, until_s: float, service_s: float = SERVICE_S) -> list[tuple[float, float]]:
    """A queue with one server by Lindley's recursion (1952): arrivals, and the latencies of their requests."""
    times, waiting = [], 0.0
    for arrival, following in pairwise(arrivals(rate_per_s)):
        if arrival > until_s:
            return times
        times.append((arrival, waiting + service_s))
        waiting = max(0.0, waiting + service_s - (following - arrival))
    raise AssertionError


def test_the_open_loop_is_an_m_d_1_queue_at_70_percent_load():
    rate, load = 0.7 / SERVICE_S, 0.7
    timing, _ = served(rate)
    warm_s, end_s = WARM_SHARE * LONG.cap_s, (1 + WARM_SHARE) * LONG.cap_s
    simulated = [latency for arrival, latency in lindley(rate, end_s) if arrival >= warm_s]
    measured, expected = tail_of(timing.times), tail_of(simulated)
    assert len(timing.times) == pytest.approx(rate * LONG.cap_s, rel=0.02)
    for name, figure in expected.figures.items():
        assert measured.figures[name] == pytest.approx(figure, rel=0.01), name
    pollaczek_khinchine = SERVICE_S + load * SERVICE_S / (2 * (1 - load))
    assert statistics.fmean(timing.times) == pytest.approx(pollaczek_khinchine, rel=0.1)
    assert timing.per_s == pytest.approx(rate, rel=0.02)
    assert timing.facts["utilization"] == pytest.approx(load)
    assert timing.growing is None


def test_latency_counts_from_the_scheduled_arrival():
    """One request takes a second: those that arrive meanwhile wait, though the generator is late itself."""
    plan = replace(LONG, cap_s=20.0)
    timing, _ = served(20.0, plan, lambda index: 1.0 if index == 100 else SERVICE_S)
    late = [time for time in timing.times if time > 0.1]
    assert len(late) == pytest.approx(20 * 0.9, abs=8)  # Poisson
    assert statistics.fmean(late) == pytest.approx(0.55, abs=0.15)
    assert max(late) >= 1.0


@pytest.mark.parametrize(("rate", "at_most_s"), [(201.0, 450.0), (10_000.0, 1.0)])
def test_a_queue_that_grows_gives_no_figure(rate, at_most_s):
    timing, seconds = served(rate)
    assert timing.growing == f"the queue grows: {rate:g}/s arrive and 200/s are served"
    assert seconds <= at_most_s  # hopeless: nobody waits until the time is up


def test_a_slow_server_has_as_few_requests_as_it_takes():
    plan = replace(CPU_PLAN, cap_s=10.0)
    timing, seconds = served(0.5, plan, lambda _: 1.0)
    assert timing.growing is None
    assert 3 <= len(timing.times) <= 8
    assert seconds < 30
    timing, _ = served(2.0, plan, lambda _: 30.0)
    assert timing.growing == "the queue grows: 2/s arrive and 0.03333/s are served"


def test_an_open_loop_ends_early_where_it_is_known_well_enough():
    plan = load_plan(CPU_PLAN, RunMode(rate_per_s=100.0))
    assert (plan.target, plan.min_samples) == (OPEN_TARGET, SAMPLES)
    timing, seconds = served(100.0, replace(plan, cap_s=1000.0), lambda _: 0.0001)
    assert timing.converged
    assert len(timing.times) >= SAMPLES
    assert seconds < 1000


def test_a_closed_loop_of_one_is_one_batch_after_the_other():
    timing, _ = served(None, CPU_PLAN)
    assert timing.latency_s == pytest.approx(SERVICE_S)
    assert timing.per_s == pytest.approx(1 / SERVICE_S)
    assert timing.converged
    assert len(timing.blocks) == 8


def test_so_many_requests_are_in_flight_at_once():
    """Every step waits for three others: fewer threads would never pass."""
    meeting = threading.Barrier(4, timeout=20)
    numbers, clock = iter(range(4000)), iter(range(10**9))
    plan = TimingPlan(cap_s=1e9, target=-1.0, warm_s=0.0)
    loop = ClosedLoop(plan, 4, 1.0, now=lambda: float(next(clock)))

    def step() -> None:
        if next(numbers) >= 400:
            meeting.abort()
        meeting.wait()

    with pytest.raises(threading.BrokenBarrierError):
        loop.run([step] * 4)
    assert len(loop.times) > 300
    assert set(loop._windows) == {0, 1, 2, 3}


def test_an_error_in_a_thread_ends_all_and_is_raised():
    def broken() -> None:
        raise MemoryError("no memory")

    with pytest.raises(MemoryError, match="no memory"):
        ClosedLoop(CPU_PLAN, 3, 0.01).run([lambda: None, broken, lambda: None])


def test_throughput_of_a_closed_loop_is_the_sum_over_its_servers():
    loop = ClosedLoop(CPU_PLAN, 2, 0.01)
    loop._windows = {0: (0.0, 2.0, 20), 1: (1.0, 2.0, 5)}
    assert loop.per_s() == 15.0


def test_arrivals_are_the_same_in_every_run_and_exponential():
    times = list(islice(arrivals(50.0), 20_000))
    assert times == list(islice(arrivals(50.0), 20_000))
    gaps = [following - time for time, following in pairwise(times)]
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), rel=0.03)


@pytest.mark.parametrize(
    ("mode", "concurrent", "message"),
    [
        (RunMode(concurrency=2), False, "engine 'mine' runs one batch at a time on cpu, got '--concurrency 2'"),
        (RunMode(concurrency=2, cuda_graph=True), True, "a CUDA graph runs one batch at a time"),
        (RunMode(concurrency=0), True, "requests in flight must be 1 to 1024, got 0"),
        (RunMode(rate_per_s=-1.0), True, "the rate of arrivals must be above 0 per second, got -1"),
        (RunMode(rate_per_s=1.0, training=True), True, "a training step answers no request"),
    ],
)
def test_a_load_that_cannot_be_measured_is_refused(mode, concurrent, message):
    with pytest.raises(FgbenchError) as caught:
        check_load(mode, "mine", concurrent=concurrent)
    assert message in str(caught.value)


@pytest.mark.parametrize("mode", [RunMode(), RunMode(concurrency=1), RunMode(rate_per_s=5.0), RunMode(training=True)])
def test_one_server_is_never_refused(mode):
    check_load(mode, "mine", concurrent=False)


seen: dict[int, set[float]] = {}  # thread → sums of the images that it was given


class Noting(torch.nn.Module):
    """Notes the threads that run it and the images that they have."""

    def forward(self, images):
        seen.setdefault(threading.get_ident(), set()).add(float(images.sum()))
        return images.mean((2, 3))


def measured(*, tail: bool = False, cap_s: float = 0.2, **mode):
    engine = open_engine(RunMode(threads=1, **mode))
    try:
        return LoadedSubject(ModuleSubject(Noting(), 8, None), engine, cap_s).measure(2, tail=tail)
    finally:
        engine.close()


def test_each_thread_has_inputs_of_its_own():
    seen.clear()
    result = measured(concurrency=3)
    images = [values for thread, values in seen.items() if thread != threading.get_ident()]
    assert [len(values) for values in images] == [1, 1, 1]
    assert len(set.union(*images)) == 3
    assert result["seen"]["load"]["servers"] == 3
    assert result["latency_p50_s"] > 0
    assert result["throughput_img_s"] > 0
    assert result["missing"]["energy_j_per_image"]


def test_a_queue_that_grows_has_a_reason_and_no_figure():
    result = measured(rate_per_s=1e6)
    assert result["status"] == "unconverged"
    assert result["reason"].startswith("the queue grows: 1e+06/s arrive and ")
    fields = ("throughput_img_s", "latency_s", "latency_ci95_high_s", "latency_p50_s", "latency_p99_s")
    assert {result.get(field) for field in fields} == {None}


def test_a_tail_that_is_asked_for_has_its_percentiles():
    result = measured(tail=True)
    assert 0 < result["latency_p50_s"] <= result["latency_p95_s"] <= result["latency_p99_s"]
    percentiles = result["seen"]["percentiles"]
    assert percentiles["samples"] >= percentiles["asked_for"] == SAMPLES
    assert percentiles["p99"][0] <= result["latency_p99_s"] <= percentiles["p99"][1]


def test_an_engine_says_whether_several_batches_run_at_once():
    described = describe_engine("torch", "cpu", [RunMode(concurrency=2), RunMode(rate_per_s=5.0)])
    assert [mode["mode"]["concurrency"] for mode in described["modes"]] == [2, None]
    with pytest.raises(FgbenchError, match="requests in flight must be 1 to 1024"):
        describe_engine("torch", "cpu", [RunMode(concurrency=5000)])
