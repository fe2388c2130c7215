"""The points of pairs of runs, with their times, and the decision to repeat a pair. No processes, no clocks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from fgbench.regress.request import RunGroup
from fgbench.regress.side_runs import Reading, Row, SideRun, TimedPoint, memory_bytes, point_of, reading


@dataclass(slots=True)
class _Entry:
    group: RunGroup
    point: TimedPoint


class PairResults:
    """Points by name, in the order in which they first came; each belongs to the group that first measured it."""

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        self.problems: list[str] = []
        self.unmeasured: dict[str, str] = {}  # groups that neither side can measure, and why
        self._batch_sizes = sorted(set(batch_sizes))
        self._entries: dict[str, _Entry] = {}
        self._without: set[RunGroup] = set()  # groups that turned out to have no points of their own

    @property
    def points(self) -> list[TimedPoint]:
        """All points so far."""
        return [entry.point for entry in self._entries.values()]

    def batches(self, group: RunGroup, wanted: Collection[str] | None = None) -> list[int]:
        """The batch sizes of a group that can still be measured; of the points of these names where they are given."""
        if not self.is_wanted(group):
            return []
        known = self._of(group)
        if not known:
            return self._batch_sizes if wanted is None else []
        left = {point.batch_size for point in known if not point.failed and (wanted is None or point.name in wanted)}
        return sorted(left)

    def is_wanted(self, group: RunGroup) -> bool:
        """Whether a group may have points of its own; a model that knows one implementation has them once."""
        if group in self._without:
            return False
        others = {entry.group for entry in self._entries.values() if entry.group.impl != group.impl}
        alike = [other for other in others if replace(other, impl=group.impl) == group]
        return not any(all(point.impl is None for point in self._of(other)) for other in alike)

    def take(
        self, group: RunGroup, batch_sizes: Sequence[int], base: SideRun, head: SideRun, pair: int, *, may_repeat: bool
    ) -> list[int]:
        """Add a pair of runs; the batch sizes whose pair is to be repeated, where it may be."""
        names = [point.name for point in self._of(group) if point.batch_size in batch_sizes and not point.failed]
        names = list(dict.fromkeys([*names, *base.rows, *head.rows]))
        if not names:
            return self._take_nothing(group, batch_sizes, base, head, may_repeat=may_repeat)
        again = set()
        for name in names:
            entry = self._entry(group, name, base.rows.get(name) or head.rows.get(name))
            if entry is None or entry.point.failed:
                continue
            before, after = reading(base, name), reading(head, name)
            if may_repeat and _worth_repeating(before, after):
                again.add(entry.point.batch_size)
            else:
                entry.point = self._with(entry.point, base, head, before, after, pair)
        if not self._of(group):
            self._without.add(group)
        return sorted(again)

    def _take_nothing(
        self, group: RunGroup, batch_sizes: Sequence[int], base: SideRun, head: SideRun, *, may_repeat: bool
    ) -> list[int]:
        if may_repeat and not (base.refused and head.refused):
            return list(batch_sizes)
        self._without.add(group)
        why = {side: run.failure or "it has no such point" for side, run in (("base", base), ("head", head))}
        said = (
            why["base"] if len(set(why.values())) == 1 else "; ".join(f"{side}: {text}" for side, text in why.items())
        )
        self.unmeasured[group.label] = said
        return []

    def _of(self, group: RunGroup) -> list[TimedPoint]:
        return [entry.point for entry in self._entries.values() if entry.group == group]

    def _entry(self, group: RunGroup, name: str, row: Row | None) -> _Entry | None:
        """The entry of a name, a new one where there is none; None where another group has it."""
        if name not in self._entries and row is not None and (point := point_of(row)) is not None:
            self._entries[name] = _Entry(group, point)
        entry = self._entries.get(name)
        return entry if entry is not None and entry.group == group else None

    def _with(
        self, point: TimedPoint, base: SideRun, head: SideRun, before: Reading, after: Reading, pair: int
    ) -> TimedPoint:
        """The point with a pair, or with the reason why there is none."""
        of_base, of_head = base.rows.get(point.name, {}), head.rows.get(point.name, {})
        point = replace(
            point,
            base_environment=of_base.get("environment") or point.base_environment,
            head_environment=of_head.get("environment") or point.head_environment,
        )
        if before.seconds is not None and after.seconds is not None:
            return replace(
                point,
                base=[*point.base, before.seconds],
                head=[*point.head, after.seconds],
                base_memory=point.base_memory + memory_bytes(of_base),
                head_memory=point.head_memory + memory_bytes(of_head),
            )
        if _fails(before) or _fails(after):
            return replace(
                point,
                base_failure=before.failure if _fails(before) else None,
                head_failure=after.failure if _fails(after) else None,
            )
        why = [f"{side} {one.failure}" for side, one in (("base", before), ("head", after)) if one.failure]
        self.problems.append(f"{point.name}: pair {pair + 1} was disturbed twice and left out, {'; '.join(why)}")
        return point


def _fails(one: Reading) -> bool:
    """Whether a side cannot measure a point; a disturbance is none of its doing."""
    return one.failure is not None and not one.disturbed


def _worth_repeating(before: Reading, after: Reading) -> bool:
    """Whether another attempt may say more: not where both sides fail, nor where one is sure of it."""
    own = [one for one in (before, after) if _fails(one)]
    missing = before.failure is not None or after.failure is not None
    return missing and len(own) < 2 and not any(one.final for one in own)
