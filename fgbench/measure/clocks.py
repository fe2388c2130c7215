"""Iterations timed by the host's clock, or by events on the device's own stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import torch

Step = Callable[[], object]


class HostClock:
    """Every iteration between two readings of the host's clock: for work that is done when the call returns."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations; the seconds of each."""
        times = []
        for _ in range(iterations):
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return times


class EventClock:
    """Events between the iterations of a full queue; the host waits once, behind the last one."""

    def __init__(self, step: Step, glance: Callable[[], None] = lambda: None) -> None:
        self.step, self.glance = step, glance
        self._events: list[torch.cuda.Event] = []  # made once: making one takes the host's time between iterations

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations; the seconds of each on the device. ``glance`` is called while it works."""
        while len(self._events) <= iterations:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append(event)
        events = self._events[: iterations + 1]
        torch.cuda.synchronize()
        events[0].record()
        for event in events[1:]:
            self.step()
            event.record()
        self.glance()
        events[-1].synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]


class EventQueue:
    """Iterations that are launched without waiting, counted when the device has done them."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._waiting: deque[torch.cuda.Event] = deque()
        self._launched = 0

    def launch(self) -> None:
        """Enqueue one iteration."""
        self.step()
        event = torch.cuda.Event()
        event.record()
        self._waiting.append(event)
        self._launched += 1

    def launched(self) -> int:
        """Iterations that were enqueued."""
        return self._launched

    def completed(self) -> int:
        """Iterations that the device has finished."""
        while self._waiting and self._waiting[0].query():
            self._waiting.popleft()
        return self._launched - len(self._waiting)

    def drain(self) -> None:
        """Wait for everything that was enqueued."""
        torch.cuda.synchronize()
