"""Every selector by itself beside its backbone, and the kernels of v·A: measured in fresh processes, stored at once.

No torch is loaded here.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fgbench.errors import BrokenPluginError, FgbenchError, OnProblem
from fgbench.measure.points import RunMode
from fgbench.measure.rows import environment_facts, no_figures
from fgbench.measure.timer import timing_plan
from fgbench.options import IMPLS
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.trial import try_files
from fgbench.results.decoding import RowError, read_row
from fgbench.results.records import BackendRow, SelectionRow
from fgbench.results.store import Store
from fgbench.sweep.device_lock import device_lock
from fgbench.sweep.selector_request import SelectionRequest
from fgbench.sweep.setup import LOOK_S, SETUP_S, ask, first_worker, key_facts, measure_rates, usable_names
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool
from fgbench_selectors.plugins import existing_file

CPU_CAP_S = 3.0  # seconds of timed blocks; a point whose first run takes longer is run once
KERNELS_CAP_S = 0.6
LIMIT_S = 1800.0  # for one point

Row = SelectionRow | BackendRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorPoint:
    """One selector in one implementation at one size; without a selector the backbone."""

    selector: str | None
    impl: str | None
    image_size: int

    kind = SelectionRow.kind

    @property
    def label(self) -> str:
        """The point in a few words."""
        return " ".join(filter(None, (self.selector or "backbone", self.impl, f"at {self.image_size}")))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPoint:
    """``v A`` of so many maps and tokens, by every back end."""

    maps: int  # B·H
    num_tokens: int  # N

    kind = BackendRow.kind

    @property
    def label(self) -> str:
        """The point in a few words."""
        return f"v·A of {self.maps} maps, N = {self.num_tokens}"


Point = SelectorPoint | KernelPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorEvent:
    """What a sweep reports while it runs."""

    done: int
    total: int
    what: str  # what is measured now
    rows: Sequence[Row] = ()  # of the point that is just finished


@dataclass(frozen=True, slots=True, kw_only=True)
class _Roof:
    """The rates of a device, as the environment of rows has them."""

    rates: Mapping[str, float | None]  # product_flop_s and copy_bytes_s; None where one could not be measured
    missing: Mapping[str, str] = field(default_factory=dict)  # by rate, why it is None

    @property
    def environment(self) -> dict[str, Any]:
        """The part of an environment that says the rates, and why some are missing."""
        return {"roof": dict(self.rates), **({"missing": dict(self.missing)} if self.missing else {})}


@dataclass(slots=True)
class SelectorSweep:
    """The points of a request, measured into a store. An interrupt leaves :attr:`rows` as they are.

    Args:
        request: What to measure.
        store: Where every finished point is kept at once, and taken from.
        pool: Workers: every point is measured in a fresh process.
        on_problem: Called with every part of the request that cannot be measured.
        on_event: Called when a point begins and when it ends.

    Raises:
        FgbenchError: Nothing of the request can be measured.

    """

    request: SelectionRequest
    store: Store
    pool: WorkerPool
    on_problem: OnProblem
    on_event: Callable[[SelectorEvent], None] = lambda _: None
    device: str = field(init=False)
    points: list[Point] = field(init=False)
    stored: int = 0  # points that were in the store before
    _mode: RunMode = field(init=False)
    _facts: dict[str, Any] = field(init=False)
    _uuid: str | None = field(init=False)
    _plugins: list[str] = field(init=False)
    _codes: dict[str, str | None] = field(init=False)
    _roof: _Roof | None = None
    _finished: dict[Point, list[Row]] = field(default_factory=dict)
    _outdated: set[Point] = field(default_factory=set)  # stored, and wanted again
    _lost: set[Point] = field(default_factory=set)  # points that have no row

    def __post_init__(self) -> None:
        request = self.request
        selectors, self._plugins = self._usable()
        with first_worker(self.pool) as worker:
            for problem in ask(worker, "plugins", files=self._plugins)["problems"] if self._plugins else ():
                self.on_problem(FgbenchError(problem))
            mode = RunMode(dtype=request.dtype, threads=request.threads)
            described = ask(worker, "describe", device=request.device, modes=[asdict(mode)])
            self._codes = ask(worker, "selector_codes", names=selectors)["codes"]
        self.device, self._uuid = described["device"], described["uuid"]
        self._mode = RunMode(**described["modes"][0]["mode"])
        self._facts = {**environment_facts(described), "threads": self._mode.threads}
        kinds = [(None, None), *((name, impl) for name in selectors for impl in IMPLS)]
        self.points = [
            SelectorPoint(selector=selector, impl=impl, image_size=size)
            for size in request.image_sizes
            for selector, impl in kinds
        ]
        if request.kernels:
            self.points += [
                KernelPoint(maps=maps, num_tokens=tokens) for maps in request.maps for tokens in request.tokens
            ]
        for point in self.points:
            if self._take_stored(point):
                self.stored += 1

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished points, in the order of the request."""
        return [row for point in self.points for row in self._finished.get(point, ())]

    @property
    def finished(self) -> int:
        """How many points have rows."""
        return len(self._finished)

    def keys(self) -> list[tuple[Point, str]]:
        """Every point with its key in the store."""
        return [(point, self._key(point)) for point in self.points]

    def measure(self, point: Point) -> None:
        """Measure one point, whose claim is held elsewhere."""
        self._visit(point)

    def run(self) -> None:
        """Measure what is not stored yet, or wanted again."""
        left = [point for point in self.points if point not in self._finished or point in self._outdated]
        while left:
            others = [point for point in left if not self._visit(point)]
            if len(others) == len(left):
                self._say("waiting for points that another run measures")
                time.sleep(LOOK_S)
            left = [point for point in others if not self._take_stored(point)]

    def _visit(self, point: Point) -> bool:
        """Measure a point; False where another run measures it now."""
        key = self._key(point)
        waiting = functools.partial(self._say, "waiting for another run on this device")
        with device_lock(self._uuid or self.device, waiting):
            if not self.store.claim(point.kind, key):
                return False
            try:
                if not self._take_stored(point):
                    self._measure(point, key)
            finally:
                self.store.release(point.kind, key)
        return True

    def _measure(self, point: Point, key: str) -> None:
        self._say(point.label)
        stay = functools.partial(self.store.renew, point.kind, key)  # as long as it takes
        if self._roof is None:
            self._roof = self._measure_roof(stay)
        environment = {**self._facts, "max_time_s": self._cap_s(point), **self._roof.environment}
        try:
            if isinstance(point, SelectorPoint):
                rows = self._selection(point, environment, stay)
            else:
                rows = self._kernels(point, environment, stay)
        except WorkerFailed as failure:
            self._lost.add(point)
            self.on_problem(FgbenchError(f"{point.label} is left out:", failure.reason))
            return
        self._finished[point] = rows  # shown even if it cannot be stored
        contents = [row.as_dict() for row in rows]
        content = contents[0] if isinstance(point, SelectorPoint) else {"rows": contents}
        again = self.request.again or point in self._outdated
        self.store.add(point.kind, key, content, environment, again=again)
        self._finished[point] = self._stored_rows(point) or rows  # what another run stored meanwhile stands
        self._outdated.discard(point)
        self._say(point.label, self._finished[point])

    def _measure_roof(self, stay: Callable[[], None]) -> _Roof:
        """The rates of the device. One that cannot be measured is told, and no reason to measure nothing."""
        rates = measure_rates(self.pool, self._mode, self._uuid, stay)
        reasons = {"product_flop_s": rates.why, "copy_bytes_s": rates.why_no_copies}
        missing = {name: reason for name, reason in reasons.items() if reason is not None}
        for reason in missing.values():
            self.on_problem(FgbenchError(reason))
        return _Roof(rates={"product_flop_s": rates.flop_s, "copy_bytes_s": rates.bytes_s}, missing=missing)

    def _selection(self, point: SelectorPoint, environment: dict[str, Any], stay: Callable[[], None]) -> list[Row]:
        """The row of a selector. Raises WorkerFailed where its work cannot be counted."""
        place = {**asdict(point), "batch_size": self.request.batch_size}
        with self._worker(stay) as worker:
            count = worker.ask("count_selection", SETUP_S, tick=stay, **place, dtype=self._mode.dtype)
        measured: dict[str, Any] = {"backends": {}, "added_memory_bytes": None}
        try:
            with self._worker(stay) as worker:
                measured |= worker.ask("measure_selection", LIMIT_S, tick=stay, **place, **self._how(point))
        except WorkerFailed as failure:
            measured |= no_figures(failure.status, failure.reason)
        return [self._row(point, {**place, **count, **measured}, environment)]

    def _kernels(self, point: KernelPoint, environment: dict[str, Any], stay: Callable[[], None]) -> list[Row]:
        """The rows of the back ends. Raises WorkerFailed."""
        place = asdict(point)
        with self._worker(stay) as worker:
            answer = worker.ask("measure_backends", LIMIT_S, tick=stay, **place, **self._how(point))
        return [
            self._row(point, {"backend": name, **place, **fields}, environment)
            for name, fields in answer["backends"].items()
        ]

    def _how(self, point: Point) -> dict[str, Any]:
        """The fields of a request to measure that say how."""
        return {"mode": asdict(self._mode), "uuid": self._uuid, "cap_s": self._cap_s(point)}

    def _cap_s(self, point: Point) -> float:
        """The limit of the timed blocks of a point in seconds."""
        if self.request.cap_s is not None:
            return self.request.cap_s
        if isinstance(point, KernelPoint):
            return KERNELS_CAP_S
        return CPU_CAP_S if self.device == "cpu" else timing_plan(self.device, None).cap_s

    def _row(self, point: Point, fields: Mapping[str, Any], environment: dict[str, Any]) -> Row:
        """A record of what a worker, or the store, says. Raises FgbenchError for what is no row."""
        given = {"device": self.device, "dtype": self._mode.dtype, **fields}
        try:
            row = read_row(point.kind, given, environment)
        except RowError as error:
            raise FgbenchError(f"the row of {point.label} cannot be read: {error}") from error
        assert isinstance(row, (SelectionRow, BackendRow))
        return row

    def _worker(self, stay: Callable[[], None]) -> Worker:
        worker = self.pool.fork()
        try:
            if self._plugins:
                worker.ask("plugins", SETUP_S, tick=stay, files=self._plugins)
        except BaseException:
            worker.close()
            raise
        return worker

    def _take_stored(self, point: Point) -> bool:
        """Take a point from the store, where it is there and not wanted again."""
        if self.request.again:
            return False
        rows = self._stored_rows(point)
        if rows is None:
            return False
        if self.request.retry and not all(row.status.is_ok for row in rows):
            self._finished.setdefault(point, rows)  # shown until there are newer ones
            self._outdated.add(point)
            return False
        self._finished[point] = rows
        self._outdated.discard(point)
        roof = rows[0].environment.get("roof") if rows else None
        if self._roof is None and roof and None not in roof.values():
            self._roof = _Roof(rates=roof)  # one for the rows of an interrupted run
        return True

    def _stored_rows(self, point: Point) -> list[Row] | None:
        """The newest rows of a point, or None. Raises :class:`FgbenchError` for what cannot be read."""
        stored = self.store.get(point.kind, self._key(point))
        if stored is None:
            return None
        environment = stored.pop("environment")
        contents = [stored] if isinstance(point, SelectorPoint) else stored["rows"]
        return [self._row(point, content, environment) for content in contents]

    def _key(self, point: Point) -> str:
        """A digest of the point and of everything that could change its figures."""
        identity: dict[str, Any] = {
            **{"kind": point.kind, "point": asdict(point), "mode": asdict(self._mode)},
            **{"max_time_s": self._cap_s(point), "session": key_facts(self._facts)},
        }
        if isinstance(point, SelectorPoint):
            identity["batch_size"] = self.request.batch_size
            identity["foreign_code"] = self._codes.get(point.selector or "")
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _usable(self) -> tuple[list[str], list[str]]:
        """The selectors and the plug-in files that can be loaded; each is tried in a process of its own first."""
        request, kind = self.request, kind_of("fgbench.selectors")
        for file in request.plugins:
            existing_file(Path(file))
        plugins: list[str] = []
        known = list(kind.registry.names())
        for file, outcome in try_files(request.plugins, self.pool).items():
            if isinstance(outcome, BrokenPluginError):
                self.on_problem(outcome)
                continue
            plugins.append(file)
            known += [name for (group, name), found in outcome.items() if group == kind.group and not found.why]
        names = list(dict.fromkeys(known if request.selectors is None else request.selectors))
        usable, broken = usable_names(self.pool, kind, names)
        if broken and not usable:
            raise broken[0]
        for problem in broken:
            self.on_problem(problem)
        return usable, plugins

    def _say(self, what: str, rows: Sequence[Row] = ()) -> None:
        done = len(self._finished.keys() - self._outdated | self._lost)
        self.on_event(SelectorEvent(done=done, total=len(self.points), what=what, rows=rows))
