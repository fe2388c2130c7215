"""Joules per image from the device's energy counter, between two of its ticks, while its queue is full."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fgbench.measure.nvml import NvmlUnavailable

SETTLE_S = 0.5  # of full queue before the first tick counts, for the power to rise to where it stays
QUEUED_S = 0.1  # of work that is kept in flight, and at least so many iterations, and at most
MIN_IN_FLIGHT, MAX_IN_FLIGHT = 2, 1024
PAUSE_S = 0.002  # between looks, while enough is in flight
SHARP_S = 0.005  # a tick is sharp if no more than this passed since the counter was read before it
PATIENCE_S = 3.0  # for a sharp tick; then one that a slow launch blurred will do


class Queue(Protocol):
    """Iterations on a device, each one batch."""

    def launch(self) -> None:
        """Enqueue one iteration without waiting for it."""

    def launched(self) -> int:
        """Iterations that were enqueued."""

    def completed(self) -> int:
        """Iterations that the device has finished."""

    def drain(self) -> None:
        """Wait for everything that was enqueued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """The energy of images. Its figures are null together, and then ``reason`` says why."""

    joules: float | None = None  # the counter's difference between two of its ticks
    images: float | None = None  # finished between these ticks; the broken iterations at both ends by proportion
    seconds: float | None = None  # between these ticks
    tick_s: float | None = None  # the counter's period: the median time between ticks, as often as it was looked at
    energy_j_per_image: float | None = None
    reason: str | None = None


def measure_energy(
    queue: Queue,
    read_j: Callable[[], float],
    now: Callable[[], float],
    batch_size: int,
    min_s: float = 5.0,
    cap_s: float = 20.0,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy:
    """Joules per image over at least ``min_s`` seconds of full queue; no figures where ``cap_s`` do not suffice.

    ``read_j`` gives the joules of a counter that only grows, now and then, and may raise :class:`NvmlUnavailable`;
    ``now`` gives seconds. What is in flight is finished when this returns.
    """
    energy = _measure(queue, read_j, now, batch_size, min_s, cap_s, sleep)
    queue.drain()
    return energy


@dataclass(slots=True)
class _Window:
    """From one tick to a later one, and the iterations seen to finish in between."""

    opened_s: float
    joules: float
    done: list[tuple[float, int]] = field(default_factory=list)  # (s, completed): the first and the last finish seen

    def note(self, time_s: float, completed: int) -> None:
        self.done = [*self.done[:1], (time_s, completed)]

    def images_per_s(self, batch_size: int) -> float | None:
        """None before a whole iteration was seen from end to end."""
        if len(self.done) < 2:
            return None
        (first_s, first), (last_s, last) = self.done
        return batch_size * (last - first) / (last_s - first_s)


def _measure(
    queue: Queue,
    read_j: Callable[[], float],
    now: Callable[[], float],
    batch_size: int,
    min_s: float,
    cap_s: float,
    sleep: Callable[[float], None],
) -> Energy:
    start_s = looked_s = now()
    wanted_s = start_s + SETTLE_S  # when the next edge of the window is due
    base = completed = queue.completed()
    window: _Window | None = None
    ticks_s: list[float] = []
    joules: float | None = None
    while True:
        try:
            read = read_j()
        except NvmlUnavailable as error:
            return Energy(reason=f"the energy counter cannot be read: {error}")
        time_s, finished = now(), queue.completed()
        if window is not None and finished > completed:
            window.note(time_s, finished)
        completed = finished

        if joules is not None and read < joules:
            return Energy(reason=f"the energy counter went backwards, from {joules:.3f} J to {read:.3f} J")
        if joules is not None and read > joules:
            ticks_s.append(time_s)
            sharp = time_s - looked_s <= SHARP_S or time_s - wanted_s > PATIENCE_S
            if window is None:
                if time_s >= wanted_s and sharp:
                    window, wanted_s = _Window(time_s, read), time_s + min_s
            elif time_s >= wanted_s and sharp and (rate := window.images_per_s(batch_size)) is not None:
                return _energy(read - window.joules, time_s - window.opened_s, rate, ticks_s)
        joules, looked_s = read, time_s

        if time_s - start_s > cap_s:
            return Energy(reason=_too_late(ticks_s, window, cap_s))
        enough = _enough(time_s - start_s, completed - base)
        while queue.launched() - completed < enough:
            queue.launch()
            if now() - time_s >= PAUSE_S:  # reading the counter is slow: not at every launch, and not too late
                break
        else:
            sleep(PAUSE_S)


def _enough(elapsed_s: float, completed: int) -> int:
    """Iterations to keep in flight: the queue holds work for longer than a pause, and no more than it needs."""
    if not completed:
        return MIN_IN_FLIGHT
    return min(MAX_IN_FLIGHT, max(MIN_IN_FLIGHT, math.ceil(QUEUED_S * completed / elapsed_s)))


def _energy(joules: float, seconds: float, images_per_s: float, ticks_s: list[float]) -> Energy:
    images = images_per_s * seconds
    return Energy(
        joules=joules,
        images=images,
        seconds=seconds,
        tick_s=statistics.median(b - a for a, b in itertools.pairwise(ticks_s)),
        energy_j_per_image=joules / images,
    )


def _too_late(ticks_s: list[float], window: _Window | None, cap_s: float) -> str:
    if not ticks_s:
        return f"the energy counter did not change in {cap_s:g} s"
    if window is not None and len(window.done) < 2:
        return f"no iteration was seen from end to end in {cap_s:g} s"
    return f"the energy counter changed too rarely: {len(ticks_s)} times in {cap_s:g} s"
