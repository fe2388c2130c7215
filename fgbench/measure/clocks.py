"""Time iterations by the host's clock, and launch them while energy is counted. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

Step = Callable[[], object]


def do_nothing() -> None:
    """Stand in for what a device does not need."""


class Clock(Protocol):
    """Runs iterations and times them."""

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations and wait for them.

        Args:
            iterations: How many, at least 1.

        Returns:
            The seconds of each.

        """
        ...


class HostClock:
    """Every iteration between two readings of the host's clock.

    Args:
        step: One iteration.
        synchronize: Waits until the device has done it, where ``step`` returns before.
        glance: Called behind the iterations of a run.

    """

    def __init__(
        self, step: Step, synchronize: Callable[[], None] = do_nothing, glance: Callable[[], None] = do_nothing
    ) -> None:
        self.step, self.synchronize, self.glance = step, synchronize, glance

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations; the seconds of each."""
        times = []
        for _ in range(iterations):
            start = time.perf_counter()
            self.step()
            self.synchronize()
            times.append(time.perf_counter() - start)
        self.glance()
        return times


class WaitingQueue:
    """Iterations of which each is finished before the next one begins.

    Args:
        step: One iteration.
        synchronize: Waits until the device has done it, where ``step`` returns before.

    """

    def __init__(self, step: Step, synchronize: Callable[[], None] = do_nothing) -> None:
        self.step, self.synchronize = step, synchronize
        self._finished = 0

    def launch(self) -> None:
        """Run one iteration."""
        self.step()
        self.synchronize()
        self._finished += 1

    def launched(self) -> int:
        """Iterations that were run."""
        return self._finished

    completed = launched

    def drain(self) -> None:
        """Nothing is left to wait for."""
