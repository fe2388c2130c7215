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

from fgbench.errors import BrokenPluginError, CannotMeasureError, FgbenchError, OnProblem
from fgbench.measure.points import RunMode
from fgbench.measure.timer import timing_plan
from fgbench.options import IMPLS
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.trial import try_files
from fgbench.results.decoding import RowError, read_row
from fgbench.results.environment import code_digest, processor, software
from fgbench.results.records import BackendRow, SelectionRow
from fgbench.results.store import Store
from fgbench.sweep.context import usable_names
from fgbench.sweep.device_lock import device_lock
from fgbench.sweep.selector_request import SelectionRequest
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool
from fgbench_selectors.plugins import existing_file

CPU_CAP_S = 3.0  # of timed blocks; a point whose first run takes longer is run once
KERNELS_CAP_S = 0.6
SETUP_S, LIMIT_S = 300.0, 1800.0
LOOK_S = 1.0  # between looks at a point that another run measures
# Facts about the device and the software that could change a figure. They are a part of a point's key.
IN_KEY = ("device_name", "cpu", "cpus", "torch", "cuda", "timm", "python", "code")

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
    _roof: dict[str, float | None] | None = None
    _finished: dict[Point, list[Row]] = field(default_factory=dict)
    _lost: set[Point] = field(default_factory=set)  # points that have no row

    def __post_init__(self) -> None:
        request = self.request
        selectors, self._plugins = self._usable()
        with _first_worker(self.pool) as worker:
            for problem in _ask(worker, "plugins", files=self._plugins)["problems"] if self._plugins else ():
                self.on_problem(FgbenchError(problem))
            mode = RunMode(dtype=request.dtype, threads=request.threads)
            described = _ask(worker, "describe", device=request.device, modes=[asdict(mode)])
            self._codes = _ask(worker, "selector_codes", names=selectors)["codes"]
        self.device, self._uuid = described["device"], described["uuid"]
        self._mode = RunMode(**described["modes"][0]["mode"])
        host = processor()
        facts = {"device_name": described["device_name"] or host["cpu"], "threads": self._mode.threads}
        facts |= {name: described[name] for name in ("torch", "cuda")}
        self._facts = {**facts, **software(), **host, "code": code_digest()}
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
            if not request.again and self._take_stored(point):
                self.stored += 1

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished points, in the order of the request."""
        return [row for point in self.points for row in self._finished.get(point, ())]

    @property
    def finished(self) -> int:
        """How many points have rows."""
        return len(self._finished)

    def run(self) -> None:
        """Measure what is not stored yet."""
        left = [point for point in self.points if point not in self._finished]
        while left:
            others = [point for point in left if not self._visit(point)]
            if len(others) == len(left):
                self._say("waiting for points that another run measures")
                time.sleep(LOOK_S)
            left = others

    def _visit(self, point: Point) -> bool:
        """Measure a point; False where another run measures it now."""
        key = self._key(point)
        if not self.store.claim(point.kind, key):
            return False
        try:
            if self.request.again or not self._take_stored(point):
                waiting = functools.partial(self._say, "waiting for another run on this device")
                with device_lock(self._uuid or self.device, waiting):
                    self._measure(point, key)
        finally:
            self.store.release(point.kind, key)
        return True

    def _measure(self, point: Point, key: str) -> None:
        self._say(point.label)
        if self._roof is None:
            self._roof = {
                "product_flop_s": self._answer("rate", mode=asdict(self._mode)).get("flop_s"),
                "copy_bytes_s": self._answer("copies", mode=asdict(self._mode)).get("bytes_s"),
            }
        environment = {**self._facts, "roof": self._roof}
        try:
            if isinstance(point, SelectorPoint):
                rows = self._selection(point, environment)
            else:
                rows = self._kernels(point, environment)
        except WorkerFailed as failure:
            self._lost.add(point)
            self.on_problem(FgbenchError(f"{point.label} is left out:", failure.reason))
            return
        self._finished[point] = rows  # shown even if it cannot be stored
        contents = [row.as_dict() for row in rows]
        content = contents[0] if isinstance(point, SelectorPoint) else {"rows": contents}
        self.store.add(point.kind, key, content, environment, again=self.request.again)
        self._take_stored(point)
        self._say(point.label, self._finished[point])

    def _selection(self, point: SelectorPoint, environment: dict[str, Any]) -> list[Row]:
        """The row of a selector. Raises WorkerFailed where its work cannot be counted."""
        place = {**asdict(point), "batch_size": self.request.batch_size}
        with self._worker() as worker:
            count = worker.ask("count_selection", SETUP_S, **place, dtype=self._mode.dtype)
        cap_s = self.request.cap_s or (CPU_CAP_S if self.device == "cpu" else timing_plan(self.device, None).cap_s)
        measured: dict[str, Any] = {"backends": {}, "added_memory_bytes": None}
        measured |= self._answer("measure_selection", **place, mode=asdict(self._mode), cap_s=cap_s)
        return [self._row(point, {**place, **count, **measured}, environment)]

    def _kernels(self, point: KernelPoint, environment: dict[str, Any]) -> list[Row]:
        """The rows of the back ends. Raises WorkerFailed."""
        cap_s = self.request.cap_s or KERNELS_CAP_S
        place = asdict(point)
        with self._worker() as worker:
            answer = worker.ask("measure_backends", LIMIT_S, **place, mode=asdict(self._mode), cap_s=cap_s)
        return [
            self._row(point, {"backend": name, **place, **fields}, environment)
            for name, fields in answer["backends"].items()
        ]

    def _row(self, point: Point, fields: Mapping[str, Any], environment: dict[str, Any]) -> Row:
        """A record of what a worker, or the store, says. Raises FgbenchError for what is no row."""
        given = {"device": self.device, "dtype": self._mode.dtype, **fields}
        try:
            row = read_row(point.kind, given, environment)
        except RowError as error:
            raise FgbenchError(f"the row of {point.label} cannot be read: {error}") from error
        assert isinstance(row, (SelectionRow, BackendRow))
        return row

    def _answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a fresh process, or the fields of a row that say why there is none."""
        try:
            with self._worker() as worker:
                return worker.ask(do, LIMIT_S, **arguments)
        except WorkerFailed as failure:
            times = ("latency_s", "latency_ci95_low_s", "latency_ci95_high_s")
            return {"status": failure.status, "reason": failure.reason, **dict.fromkeys(times), "blocks": []}

    def _worker(self) -> Worker:
        worker = self.pool.fork()
        try:
            if self._plugins:
                worker.ask("plugins", SETUP_S, files=self._plugins)
        except BaseException:
            worker.close()
            raise
        return worker

    def _take_stored(self, point: Point) -> bool:
        """Take a point from the store, where it is there."""
        stored = self.store.get(point.kind, self._key(point))
        if stored is None:
            return False
        environment = stored.pop("environment")
        rows = [stored] if isinstance(point, SelectorPoint) else stored["rows"]
        self._finished[point] = [self._row(point, row, environment) for row in rows]
        self._roof = self._roof or environment.get("roof")  # one roof for the rows of an interrupted run
        return True

    def _key(self, point: Point) -> str:
        """A digest of the point and of everything that could change its figures."""
        request = self.request
        identity: dict[str, Any] = {
            **{"kind": point.kind, "point": asdict(point), "mode": asdict(self._mode), "max_time_s": request.cap_s},
            "session": {name: self._facts.get(name) for name in IN_KEY},
        }
        if isinstance(point, SelectorPoint):
            identity["batch_size"] = request.batch_size
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
        done = len(self._finished) + len(self._lost)
        self.on_event(SelectorEvent(done=done, total=len(self.points), what=what, rows=rows))


def _first_worker(pool: WorkerPool) -> Worker:
    try:
        return pool.fork()
    except WorkerFailed as failure:
        raise CannotMeasureError(f"nothing can be measured: {failure.reason}") from failure


def _ask(worker: Worker, do: str, **arguments: Any) -> Mapping[str, Any]:
    """Ask before anything is measured: a refusal is an error of the request."""
    try:
        return worker.ask(do, SETUP_S, **arguments)
    except WorkerFailed as failure:
        if failure.refused:
            raise FgbenchError(failure.reason) from failure
        raise CannotMeasureError(f"nothing can be measured, '{do}' failed: {failure.reason}") from failure
