"""Measure under load: several requests in flight in one process, or requests that arrive at random times. No torch.

A request is one batch. In a closed loop every server – a thread with inputs of its own – begins the next request when
it has finished one. In an open loop requests arrive as a Poisson process, whether or not the ones before are finished;
the servers take them in order, and a latency counts from the arrival that was scheduled (Tene 2013, How NOT to Measure
Latency: coordinated omission).
"""

from __future__ import annotations

import math
import random
import statistics
import threading
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Clock, Step, do_nothing
from fgbench.measure.intervals import half_width
from fgbench.measure.points import RunMode
from fgbench.measure.tail import SAMPLES, correlation_time
from fgbench.measure.timer import FEWEST_BLOCKS, Timing, TimingPlan, iterations_per_block, warm_up
from fgbench.values import MAX_IN_FLIGHT

SEED = 0  # of the arrivals
OPEN_TARGET = 0.1  # of an open loop: its latencies vary with the queue, and neighbours resemble each other
OPEN_BLOCKS = 20  # that the cap is divided into: long ones, as a queue is slow to forget
WARM_SHARE = 0.1  # of the cap, in which an open loop's requests are served and not counted: the queue begins empty
SURE = 20  # requests by which a queue is known to grow before the time is up, where
HOPELESS = 1.2  # times as many arrive as are served


def is_load(mode: RunMode) -> bool:
    """Whether a mode is measured under load."""
    return mode.concurrency is not None or mode.rate_per_s is not None


def check_load(mode: RunMode, engine: str, *, concurrent: bool) -> None:
    """Refuse a load that cannot be measured.

    Args:
        mode: The mode.
        engine: The name of its engine.
        concurrent: Whether the engine runs several batches at once.

    Raises:
        FgbenchError: For numbers that make no sense, a training step, or an engine that runs one batch at a time.

    """
    servers, rate = mode.concurrency, mode.rate_per_s
    if servers is not None and not 1 <= servers <= MAX_IN_FLIGHT:
        raise FgbenchError(f"requests in flight must be 1 to {MAX_IN_FLIGHT}, got", servers)
    if rate is not None and not 0 < rate < math.inf:
        raise FgbenchError("the rate of arrivals must be above 0 per second, got", rate)
    if mode.training and is_load(mode):
        raise FgbenchError("a training step answers no request, and has no", "--concurrency or --rate")
    if (servers or 1) > 1 and (not concurrent or mode.cuda_graph):
        what = "a CUDA graph runs one batch at a time" if mode.cuda_graph else _one_at_a_time(engine, mode.device)
        raise FgbenchError(f"{what}, got", f"--concurrency {servers}", "--concurrency 1 and --rate can be measured")


def _one_at_a_time(engine: str, device: str) -> str:
    return f"engine {engine!r} runs one batch at a time on {device}"


def load_plan(plan: TimingPlan, mode: RunMode) -> TimingPlan:
    """The plan of a mode: under load, requests enough for the 99th percentile, and the precision of an open loop."""
    if not is_load(mode):
        return plan
    return replace(plan, min_samples=SAMPLES, target=plan.target if mode.rate_per_s is None else OPEN_TARGET)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTiming(Timing):
    """Seconds per request; ``times`` has every request that counts, ``iterations`` are requests of a block."""

    per_s: float  # requests that were finished
    growing: str | None = None  # the queue grows: why there is no figure
    correlation: float = 1.0  # neighbouring requests that tell as much as one independent request
    facts: dict[str, Any] = field(default_factory=dict)  # kept beside the row

    @property
    def latency_s(self) -> float:
        """The median of the requests."""
        return statistics.median(self.times)


class RequestLoop(ABC):
    """Requests that servers work on until their latency is known well enough, or the time is up.

    Args:
        plan: When that is.
        servers: How many.
        per_block: Requests of a block.
        warm_s: Requests from before are not counted.
        progress: Hears the median so far and the number of blocks.
        glance: Called after every block.
        enter: Called in every thread of a server, before its first request.
        now: The time in seconds.
        sleep: Waits for so many seconds; by default until the loop is stopped, at most.

    """

    def __init__(
        self,
        plan: TimingPlan,
        servers: int,
        *,
        per_block: int,
        warm_s: float,
        progress: Callable[[float, int], None] = lambda *_: None,
        glance: Callable[[], None] = do_nothing,
        enter: Callable[[], None] = do_nothing,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.plan, self.servers, self.per_block = plan, servers, per_block
        self.progress, self.glance, self.enter, self.now = progress, glance, enter, now
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.sleep = sleep or self.stopped.wait
        self.start = now()
        self.counts_from = self.start + warm_s
        self.until = math.inf  # requests that begin or arrive later are not served
        self.times, self.blocks = array("d"), list[float]()
        self.converged = False
        self.growing: str | None = None  # why, in words

    @abstractmethod
    def work(self, server: int, step: Step) -> None:
        """Serve requests in this thread until the loop ends."""

    @abstractmethod
    def per_s(self) -> float:
        """Requests that were finished per second."""

    def grows(self, *, sure: bool) -> str | None:
        """Why the queue grows without end, in words; None where it does not. Unless ``sure``, it is early to tell."""
        return None

    def correlation(self) -> float:
        """Neighbouring requests that tell as much as one independent request."""
        return 1.0

    def facts(self) -> dict[str, Any]:
        """What is kept beside the row, ready for JSON."""
        return {}

    def stop(self, *, until: float = -math.inf) -> None:
        """End the loop; what has begun or arrived until then is still served."""
        self.until = min(self.until, until)
        self.stopped.set()

    def count(self, latency_s: float) -> None:
        """Count a request. The caller holds the lock."""
        self.times.append(latency_s)
        if len(self.times) % self.per_block == 0:
            block = self.times[-self.per_block :]
            self.blocks.append(statistics.median(block))
            self.glance()
            self.progress(statistics.median(self.blocks), len(self.blocks))

    def judge(self) -> None:
        """End the loop where enough is known, its time is up, or its queue grows. The caller holds the lock."""
        if self.stopped.is_set():
            return
        now, plan = self.now(), self.plan
        if self.blocks and len(self.times) % self.per_block == 0:
            self.converged = half_width(self.blocks) <= plan.target * statistics.fmean(self.blocks)
        enough = len(self.blocks) >= plan.min_blocks and len(self.times) >= plan.min_samples
        known, time_is_up = self.converged and enough, now - self.counts_from >= plan.cap_s
        if why := self.grows(sure=known or time_is_up):
            self.growing = why
            self.stop()
        elif known or (time_is_up and len(self.blocks) >= FEWEST_BLOCKS):
            self.stop(until=now)

    def run(self, steps: Sequence[Step]) -> None:
        """Work with one thread per step; with one step in this thread. Raises what a step raises."""
        errors: list[BaseException] = []

        def work(server: int, step: Step) -> None:
            try:
                self.enter()
                self.work(server, step)
            except BaseException as error:
                errors.append(error)
                self.stop()

        if len(steps) == 1:
            self.work(0, steps[0])
            return
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(steps)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # Ctrl-C
            self.stop()
            raise
        if errors:
            raise errors[0]


class ClosedLoop(RequestLoop):
    """As many requests in flight as there are servers."""

    def __init__(self, plan: TimingPlan, servers: int, latency_s: float, **more: Any) -> None:
        per_block = max(servers, iterations_per_block(latency_s / servers, plan))
        super().__init__(plan, servers, per_block=per_block, warm_s=plan.warm_s, **more)
        self._windows: dict[int, tuple[float, float, int]] = {}  # by server: first begin, last finish, requests

    def work(self, server: int, step: Step) -> None:
        """One request after the other."""
        while (begun := self.now()) < self.until:
            step()
            finished = self.now()
            with self.lock:
                if begun >= self.counts_from:
                    first, _, requests = self._windows.get(server, (begun, 0.0, 0))
                    self._windows[server] = (first, finished, requests + 1)
                    self.count(finished - begun)
                self.judge()

    def per_s(self) -> float:
        """The sum over servers, each over its own time: what is under way at the end counts for nothing."""
        return sum(requests / (last - first) for first, last, requests in self._windows.values())


class OpenLoop(RequestLoop):
    """Requests that arrive at random times."""

    def __init__(self, plan: TimingPlan, servers: int, rate_per_s: float, **more: Any) -> None:
        block_s = max(plan.block_s, plan.cap_s / OPEN_BLOCKS)
        per_block = max(1, min(math.ceil(rate_per_s * block_s), int(rate_per_s * plan.cap_s / plan.min_blocks)))
        super().__init__(plan, servers, per_block=per_block, warm_s=WARM_SHARE * plan.cap_s, **more)
        self.rate_per_s = rate_per_s
        self._arrivals = arrivals(rate_per_s)
        self.served, self.service_s, self.waking_s = 0, 0.0, 0.0  # of all requests, the first ones included
        self._in_window = 0

    def work(self, server: int, step: Step) -> None:
        """Take the next request, wait until it arrives, and serve it."""
        free = self.start
        while (arrival := self._next()) is not None:
            if (left := arrival - self.now()) > 0:
                self.sleep(left)
            if arrival > self.until:
                return
            begun = self.now()
            step()
            finished = self.now()
            with self.lock:
                self.served += 1
                self.service_s += finished - (free if free > arrival else begun)
                self.waking_s += max(0.0, begun - max(arrival, free))
                self._in_window += self.counts_from <= finished <= self.until
                if arrival >= self.counts_from:
                    self.count(finished - arrival)
                self.judge()
            free = self.now()

    def _next(self) -> float | None:
        with self.lock:
            arrival = self.start + next(self._arrivals)
        return arrival if arrival <= self.until else None

    def grows(self, *, sure: bool) -> str | None:
        """More requests arrive than all servers together can finish, by the mean time of service."""
        possible = self.servers * self.served / self.service_s
        sure = sure or (self.served >= SURE and self.rate_per_s > HOPELESS * possible)
        if sure and self.rate_per_s >= possible:
            return f"the queue grows: {self.rate_per_s:g}/s arrive and {possible:.4g}/s are served"
        return None

    def per_s(self) -> float:
        """Requests that were finished between the warm-up and the last arrival, over that time."""
        return self._in_window / (self.until - self.counts_from)

    def correlation(self) -> float:
        """Requests that share a queue resemble each other."""
        return correlation_time(self.times)

    def facts(self) -> dict[str, Any]:
        """Of the arrivals and the servers, ready for JSON."""
        return {
            "seed_of_arrivals": SEED,
            "utilization": self.rate_per_s * self.service_s / self.served / self.servers,
            "service_s": self.service_s / self.served,  # the mean
            "waking_s": self.waking_s / self.served,  # the mean delay of an idle server, which latencies include
        }


def arrivals(rate_per_s: float, seed: int = SEED) -> Iterator[float]:
    """The times of arrivals of a Poisson process in seconds, from 0 on, without end."""
    gaps, at = random.Random(seed), 0.0
    while True:
        at += gaps.expovariate(rate_per_s)
        yield at


def time_requests(
    steps: Sequence[Step],
    clock: Clock,
    mode: RunMode,
    plan: TimingPlan,
    *,
    warmed: Callable[[], None] = do_nothing,
    **more: Any,
) -> LoadTiming:
    """Warm up, call ``warmed``, and serve requests.

    Args:
        steps: One request of every server; each returns when its request is finished.
        clock: Runs the first one, to warm up.
        mode: With the requests in flight, or the rate of arrivals.
        plan: As :func:`load_plan` makes it.
        warmed: Called between the two.
        **more: ``progress``, ``glance``, ``enter``, ``now``, ``sleep`` of :class:`RequestLoop`.

    Returns:
        The latencies of requests. Where the queue grows there is no figure, and ``growing`` says so.

    """
    done, spent, latency_s = warm_up(clock, plan)
    for step in steps[1:]:
        step()
    half_width((1.0, 2.0))  # imports what it needs
    warmed()
    loop: RequestLoop
    if mode.rate_per_s is None:
        loop = ClosedLoop(plan, len(steps), latency_s, **more)
    else:
        loop = OpenLoop(plan, len(steps), mode.rate_per_s, **more)
    loop.run(steps)
    known = loop.growing is None
    return LoadTiming(
        blocks=loop.blocks,
        times=loop.times,
        iterations=loop.per_block,
        converged=loop.converged,
        warm_iterations=done,
        warm_s=spent,
        per_s=loop.per_s() if known else 0.0,
        growing=loop.growing,
        correlation=loop.correlation(),
        facts={"requests": len(loop.times), "servers": len(steps), **loop.facts()},
    )
