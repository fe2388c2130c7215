"""A figure and its two ends, by which limits and Pareto fronts judge it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

INTERVAL = "95 % interval"
REPEATED = "range of its repeats"
ONCE = "measured once"  # the figure is taken as it is
UNKNOWN = "no interval"  # the figure says nothing certain


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A figure and its ends, in one unit; ``low <= value <= high``."""

    value: float
    low: float
    high: float
    basis: str = INTERVAL  # what the ends are: INTERVAL, REPEATED, ONCE, UNKNOWN
    of: Hashable = None  # what was measured: two figures of the same thing are equal, however wide their interval

    @property
    def known(self) -> bool:
        """Whether the ends say where the figure lies."""
        return self.basis != UNKNOWN

    def mapped(self, change: Callable[[float], float]) -> Bounds:
        """The bounds of a monotone function of the figure, such as the cost that follows from a latency."""
        ends = sorted((change(self.low), change(self.high)))
        return Bounds(value=change(self.value), low=ends[0], high=ends[1], basis=self.basis, of=self.of)


def exact(value: float) -> Bounds:
    """A figure that is taken as it is."""
    return Bounds(value=value, low=value, high=value, basis=ONCE)
