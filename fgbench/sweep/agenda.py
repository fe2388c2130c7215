"""In which order points are measured: what a worker does on each visit, and what comes first when time is short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fgbench.measure.points import PointGroup
from fgbench.results.records import Status


@dataclass(frozen=True, slots=True)
class Visit:
    """The batches of one group that one worker measures, ascending."""

    group: PointGroup
    batch_sizes: tuple[int, ...]


@dataclass(slots=True)
class _Open:
    """The finished and the open batches of a group."""

    batch_sizes: list[int]  # ascending
    rates: dict[int, float | None] = field(default_factory=dict)  # img/s of finished batches; None where there is none
    too_large: float = float("inf")  # the smallest batch that did not fit

    def left(self) -> list[int]:
        return [size for size in self.batch_sizes if size not in self.rates]

    def around_best(self) -> list[int]:
        """Unmeasured neighbours of the best batch so far; the middle, or what is nearest to it, where none is known."""
        left, known = self.left(), {size: rate for size, rate in self.rates.items() if rate is not None}
        if not known:
            fits = [size for size in left if size < self.too_large]
            middle = len(self.batch_sizes) // 2
            return sorted(fits, key=lambda size: abs(self.batch_sizes.index(size) - middle))[:1]
        best = max(known, key=lambda size: known[size] or 0.0)
        at = self.batch_sizes.index(best)
        near = self.batch_sizes[at + 1 : at + 2] + self.batch_sizes[max(0, at - 1) : at]
        return [size for size in near if size in left and size < self.too_large][:1]


class Agenda:
    """Hands out visits until every point is finished.

    Thorough, it visits each group once, batches ascending, in the order in which groups are given. With
    ``informative_first`` it measures one batch of every group, then around the best of each until it has a worse
    one on both sides, then the rest – so that whenever time runs out, the best batches are known as well as can be.
    """

    def __init__(
        self, groups: Sequence[PointGroup], batch_sizes: Iterable[int], *, informative_first: bool = False
    ) -> None:
        sizes = sorted(set(batch_sizes))
        self.informative_first = informative_first
        self._groups = {group: _Open(list(sizes)) for group in groups}
        self._open = dict(self._groups) if sizes else {}  # those of which something is left
        self._put_off: set[tuple[PointGroup, int]] = set()
        self.count_left = len(self._open) * len(sizes)  # points that are not finished

    @property
    def groups_left(self) -> int:
        """How many groups have points that are not finished."""
        return len(self._open)

    def finished(self, group: PointGroup, batch_size: int, status: Status, throughput: float | None) -> None:
        """Take note of a finished point."""
        known = self._groups.get(group)
        if known is None:  # it was dropped meanwhile
            return
        self.count_left -= batch_size not in known.rates
        known.rates[batch_size] = throughput if status.has_figures else None
        if status.is_oom:
            known.too_large = min(known.too_large, batch_size)
        self._put_off.discard((group, batch_size))
        if group in self._open and not known.left():
            del self._open[group]

    def put_off(self, group: PointGroup, batch_size: int) -> None:
        """Leave a point that another sweep is measuring; :meth:`waiting` has it."""
        self._put_off.add((group, batch_size))

    def take_back(self, group: PointGroup, batch_size: int) -> None:
        """Measure a point here after all; of a dropped group nothing is."""
        self._put_off.discard((group, batch_size))

    def drop(self, group: PointGroup) -> None:
        """Leave out what is left of a group."""
        if group not in self._groups:
            return
        left = self._groups[group].left()
        self._put_off -= {(group, size) for size in left}
        self.count_left -= len(left)
        del self._groups[group]
        self._open.pop(group, None)

    def too_large(self, group: PointGroup) -> list[int]:
        """Batches that need not be tried, since a smaller one did not fit."""
        known = self._groups.get(group)
        return [] if known is None else [size for size in known.left() if size > known.too_large]

    def smallest_too_large(self, group: PointGroup) -> int:
        """The smallest batch that did not fit; only where there is one."""
        return int(self._groups[group].too_large)

    def left_of(self, group: PointGroup) -> list[int]:
        """Batches of a group that are not finished."""
        return self._groups[group].left() if group in self._groups else []

    def waiting(self) -> list[tuple[PointGroup, int]]:
        """Points that were put off, in order."""
        return [(group, size) for group in self._open for size in self._open[group].left() if self._is_off(group, size)]

    def left(self) -> list[tuple[PointGroup, int]]:
        """Every point that is not finished, in order."""
        return [(group, size) for group, known in self._open.items() for size in known.left()]

    def next(self) -> Visit | None:
        """The next visit; None where nothing is left but what was put off."""
        if self.informative_first:
            for group in sorted(self._open, key=lambda group: len(self._open[group].rates)):  # stable: in their order
                wanted = [size for size in self._open[group].around_best() if not self._is_off(group, size)]
                if wanted:
                    return Visit(group, tuple(wanted))
        for group, known in self._open.items():
            wanted = [size for size in known.left() if not self._is_off(group, size)]
            if wanted:
                return Visit(group, tuple(wanted))
        return None

    def _is_off(self, group: PointGroup, size: int) -> bool:
        return (group, size) in self._put_off
