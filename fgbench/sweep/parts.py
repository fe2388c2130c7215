"""The parts of points: which ones are wanted beside a point, their rows in the store, and what is missing there."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from fgbench.measure.parts import END_TO_END, SUM
from fgbench.measure.points import PointGroup, Rates
from fgbench.measure.rows import make_row
from fgbench.results.decoding import decode
from fgbench.results.environment import digest_of_code, installed_version
from fgbench.results.records import Status, ThroughputRow
from fgbench.results.store import Store
from fgbench.sweep.context import SweepContext
from fgbench.sweep.picture_files import Pictures

KIND = ThroughputRow.kind
NO_ENERGY = "energy is measured of whole runs"
PACKAGE = Path(__file__).parents[1]
WAY = ("sweep/pictures.py", "datasets/images.py", "datasets/transforms.py", "results/recipe.py")
_Divided: TypeAlias = tuple[PointGroup, int, str]  # a point, and the total of its division


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A run that is divided into parts."""

    total: str  # the part that holds the others; its row is stored behind theirs
    request: str  # of the worker
    pictures: Pictures | None = None

    def arguments(self, group: PointGroup) -> dict[str, Any]:
        """What the worker is asked with, beside the batch size."""
        if self.pictures is None:
            return {}
        return {"image_size": group.case.image_size, "files": list(self.pictures.files)}

    @property
    def session(self) -> dict[str, Any]:
        """More facts that could change a figure."""
        if self.pictures is None:
            return {}
        return {"pictures": self.pictures.digest, "read_by": read_by(), "way": _way_digest()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the environment of its rows says beside that of a whole run."""
        if self.pictures is None:
            return {}
        return {"pictures": {"count": len(self.pictures.files), "digest": self.pictures.digest, "reading_threads": 1}}


def had_as_much_time(row: ThroughputRow, timeout_s: float) -> bool:
    """Whether a row that timed out had as many seconds as are asked for now."""
    return bool(row.environment["seen"].get("timeout_s", 0) >= timeout_s)


def read_by() -> dict[str, str | None]:
    """The versions of the packages that read pictures."""
    return {name: installed_version(name) for name in ("pillow", "torchvision")}


@functools.cache
def _way_digest() -> str:
    """A digest of the code that reads pictures."""
    return digest_of_code(PACKAGE / place for place in WAY)


@dataclass(slots=True, kw_only=True)
class PartsOfPoints:
    """The parts of a sweep's points, kept in a store: a row for each part, behind them one for their total."""

    context: SweepContext
    store: Store
    _measured: set[_Divided] = field(default_factory=set)  # by this sweep
    _rows: dict[_Divided, list[ThroughputRow]] = field(default_factory=dict)  # that are known

    def missing(self, group: PointGroup, batch_size: int, whole: ThroughputRow) -> list[Division]:
        """The divisions of a point that are wanted and still to be measured; none where it has no figures."""
        if not whole.status.has_figures:
            return []
        return [division for division in self._wanted(group) if not self._is_done(group, batch_size, division)]

    def keep(
        self, group: PointGroup, batch_size: int, division: Division, results: Sequence[Mapping[str, Any]]
    ) -> ThroughputRow:
        """Store the rows of a division, the total last.

        Returns:
            The row of the total.

        """
        facts = {**self.context.facts(group), **division.facts}
        rates = self.context.rates.get(group.mode.unloaded, Rates())
        point = (group, batch_size, division.total)
        self._rows[point] = []
        for result in results:
            missing = {**result.get("missing", {}), "energy_j_per_image": NO_ENERGY}
            made = make_row(group, batch_size, {**result, "missing": missing}, facts, rates)
            row = replace(made, part=result["part"], added_memory_bytes=result.get("added_memory_bytes"))
            self._rows[point].append(row)  # it is shown even where it cannot be stored
            fields = {name: value for name, value in row.as_dict().items() if name != "environment"}
            key = self._key(group, batch_size, division, result["part"])
            self.store.add(KIND, key, fields, row.environment, again=self.store.get(KIND, key) is not None)
        self._measured.add(point)
        self._rows[point] = self._stored(group, batch_size, division) or self._rows[point]
        return self._rows[point][-1]

    def take(self, group: PointGroup, batch_size: int, total: str) -> None:
        """Take the rows of a division that was measured elsewhere, and is in the store."""
        for division in self._wanted(group):
            if division.total == total:
                self._measured.add((group, batch_size, total))
                self._rows[group, batch_size, total] = self._stored(group, batch_size, division)

    def rows(self, group: PointGroup, batch_size: int) -> list[ThroughputRow]:
        """The rows of the divisions that are wanted and known: each part, then the total."""
        points = [(group, batch_size, division.total) for division in self._wanted(group)]
        return [row for point in points for row in self._rows.get(point, ())]

    def _wanted(self, group: PointGroup) -> list[Division]:
        request, platform = self.context.request, self.context.platforms[group.mode]
        wanted = []
        if request.by_part and platform.runs_in_parts:
            wanted.append(Division(total=SUM, request="measure_stages"))
        if self.context.pictures is not None and platform.takes_pictures:
            wanted.append(Division(total=END_TO_END, request="measure_end_to_end", pictures=self.context.pictures))
        return wanted

    def _is_done(self, group: PointGroup, batch_size: int, division: Division) -> bool:
        point = (group, batch_size, division.total)
        if point in self._measured:
            return True
        if self.context.request.again:
            return False
        if point not in self._rows and (stored := self._stored(group, batch_size, division)):
            self._rows[point] = stored
        rows = self._rows.get(point, [])
        if not rows or (self.context.request.retry and not rows[-1].status.is_ok):
            return False
        return rows[-1].status is not Status.TIMEOUT or had_as_much_time(rows[-1], self.context.request.timeout_s)

    def _stored(self, group: PointGroup, batch_size: int, division: Division) -> list[ThroughputRow]:
        """The stored rows of a division, the total last; none where there is no total."""
        total = self._row(group, batch_size, division, division.total)
        if total is None:
            return []
        parts = total.environment["seen"].get("parts") or []
        rows = [self._row(group, batch_size, division, part) for part in parts]
        return [*(row for row in rows if row is not None), total]

    def _row(self, group: PointGroup, batch_size: int, division: Division, part: str) -> ThroughputRow | None:
        row = self.store.get(KIND, self._key(group, batch_size, division, part))
        return None if row is None else decode(ThroughputRow, row)

    def _key(self, group: PointGroup, batch_size: int, division: Division, part: str) -> str:
        return self.context.key(group, batch_size, part, **division.session)
