"""Every point measured once and stored at once, whatever happens to the workers."""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fgbench.errors import FgbenchError, OnProblem
from fgbench.measure.points import NOT_ASKED_FOR, PointGroup, Rates
from fgbench.measure.rows import make_row
from fgbench.results.decoding import decode
from fgbench.results.records import Status, ThroughputRow
from fgbench.results.rows import mark_best
from fgbench.results.store import Store
from fgbench.sweep.agenda import Agenda, Visit
from fgbench.sweep.context import SweepContext
from fgbench.sweep.device_lock import device_lock
from fgbench.sweep.parts import PartsOfPoints, had_as_much_time
from fgbench.sweep.preparations import CannotExportError
from fgbench.sweep.setup import LOOK_S
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool

KIND = ThroughputRow.kind
UNLOAD_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a running sweep, for who shows its progress."""

    done: int
    total: int
    what: str  # it is doing now
    row: ThroughputRow | None = None  # just finished
    latency_s: float | None = None  # so far, of what is being measured


@dataclass(slots=True)
class Sweep:
    """The points of a sweep, measured into a store. An interrupt or an error leaves :attr:`rows` as they are."""

    context: SweepContext
    store: Store
    pool: WorkerPool
    tell: Callable[[Event], None] = lambda _: None
    on_problem: OnProblem = lambda _: None  # hears of models that an engine cannot load
    left_out: list[tuple[PointGroup, int]] = field(default_factory=list)  # when a budget ran out
    measured: int = 0  # by this sweep
    stored: int = 0  # before it, or by another one meanwhile
    measuring_s: float = 0.0  # of the workers, warm-up included
    _finished: dict[tuple[PointGroup, int], ThroughputRow] = field(default_factory=dict)
    _outdated: set[tuple[PointGroup, int]] = field(default_factory=set)  # stored, and wanted again
    _agenda: Agenda = field(init=False)
    _parts: PartsOfPoints = field(init=False)
    _until: float | None = field(init=False)

    def __post_init__(self) -> None:
        request, context = self.context.request, self.context
        order = list(context.groups)
        if request.repeats > 1:
            random.shuffle(order)  # so that a drift of the machine is spread over the repeats
        self._agenda = Agenda(order, context.batch_sizes, informative_first=request.budget_s is not None)
        self._parts = PartsOfPoints(context=context, store=self.store)
        self._until = None if request.budget_s is None else time.monotonic() + request.budget_s
        for group, size in self._points():
            self._take_stored(group, size)

    @property
    def total(self) -> int:
        """Points that were asked for."""
        return len(self.context.groups) * len(self.context.batch_sizes)

    @property
    def rows(self) -> list[ThroughputRow]:
        """Rows of the finished points in the order of the request, the best batches marked; behind them, of parts."""
        finished = [point for point in self._points() if point in self._finished]
        parts = [row for point in finished for row in self._parts.rows(*point)]
        return [*mark_best([self._finished[point] for point in finished]), *parts]

    def run(self) -> None:
        """Measure what is not stored yet."""
        for group in self.context.groups:
            self._infer(group)
        while self._agenda.count_left:
            if self._out_of_time():
                self.left_out = self._agenda.left()
                return
            visit = self._agenda.next()
            if visit is None:
                self._look_again()
                continue
            platform = self.context.platforms[visit.group.mode]
            place = platform.uuid or platform.device
            tell = functools.partial(self._say, "waiting for another sweep on this device")
            with device_lock(place, tell, until=self._until or math.inf) as held:
                if held:
                    self._visit(visit)

    def _visit(self, visit: Visit) -> None:
        """Measure some batches of one group in one worker, or in a new one after each that was lost."""
        group = visit.group
        worker: Worker | None = None
        try:
            for size in visit.batch_sizes:
                if self._out_of_time() or self._infer(group):
                    return
                key = self.context.key(group, size)
                if not self.store.claim(KIND, key):
                    self._agenda.put_off(group, size)
                    continue
                try:
                    if not self._take_stored(group, size):
                        worker = self._measure(worker, group, size)
                        worker = self._measure_parts(worker, group, size)
                except CannotExportError as error:
                    self._agenda.drop(group)
                    self.on_problem(error)
                    return
                finally:
                    self.store.release(KIND, key)
            self._infer(group)
        finally:
            if worker is not None:
                self._end(worker, group)

    def _end(self, worker: Worker, group: PointGroup) -> None:
        """End a worker; what its engine has unpacked is taken away before."""
        if self.context.platforms[group.mode].exports:
            with suppress(WorkerFailed):
                worker.ask("unload", UNLOAD_S)
        worker.close()

    def _measure(self, worker: Worker | None, group: PointGroup, size: int) -> Worker | None:
        """Measure a point and keep its row, where there is none; the worker, where it can be asked again."""
        if (group, size) in self._finished and (group, size) not in self._outdated:  # its parts are wanted
            return worker
        what = f"{group.label} batch {size}"
        try:
            request = self.context.request
            wanted = {"batch_size": size, "energy": request.energy, "tail": request.tail}
            worker = self._worker(worker, group, size, what)
            result = self._ask(worker, group, size, what, "measure", **wanted)
        except WorkerFailed as failure:
            result = self._failed(failure)
            if worker is not None:
                worker.close()  # after an exception, too: what it kept would be in the way of the next batch
            worker = None
        self._keep(group, size, result)
        return worker

    def _measure_parts(self, worker: Worker | None, group: PointGroup, size: int) -> Worker | None:
        """Measure the parts of a point that are missing, and keep their rows."""
        whole = self._finished[group, size]
        for division in self._parts.missing(group, size, whole):
            what = f"{group.label} batch {size}, {division.total}"
            try:
                worker = self._worker(worker, group, size, what)
                wanted = {"batch_size": size, **division.arguments(group)}
                results = self._ask(worker, group, size, what, division.request, **wanted)["parts"]
            except WorkerFailed as failure:
                results = [{"part": division.total, **self._failed(failure)}]
                if worker is not None:
                    worker.close()
                worker = None
            row = self._parts.keep(group, size, division, results)
            self._say(what, row=row)
        self._note(group, size, whole)
        return worker

    def _failed(self, failure: WorkerFailed) -> dict[str, Any]:
        """The result of a point that has none."""
        seen = {"log": failure.log, "timeout_s": self.context.request.timeout_s}
        return {"status": failure.status, "reason": failure.reason, "seen": seen}

    def _worker(self, worker: Worker | None, group: PointGroup, size: int, what: str) -> Worker:
        """The worker of a group, a new one where there is none. Raises :class:`WorkerFailed`."""
        self._say(what)
        return worker or self.context.worker(self.pool, group, lambda: self._stay(group, size))

    def _ask(
        self, worker: Worker, group: PointGroup, size: int, what: str, request: str, **arguments: Any
    ) -> dict[str, Any]:
        """Ask the worker of a group. Raises :class:`WorkerFailed`."""

        def progress(now: dict[str, Any]) -> None:
            self._say(what, latency_s=now["latency_s"])

        start, limit_s = time.monotonic(), self.context.request.timeout_s
        try:
            return worker.ask(request, limit_s, progress, lambda: self._stay(group, size), **arguments)
        finally:
            self.measuring_s += time.monotonic() - start

    def _stay(self, group: PointGroup, size: int) -> None:
        """Hold on to a point, as long as it takes."""
        self.store.renew(KIND, self.context.key(group, size))

    def _infer(self, group: PointGroup) -> bool:
        """Note the batches that cannot fit since a smaller one did not; True where nothing is left of the group."""
        for size in self._agenda.too_large(group):
            if not self._take_stored(group, size):
                smaller = self._agenda.smallest_too_large(group)
                self._keep(group, size, {"status": Status.OOM_INFERRED, "reason": f"batch {smaller} did not fit"})
        return not self._agenda.left_of(group)

    def _keep(self, group: PointGroup, size: int, result: dict[str, Any]) -> None:
        """Store a finished point."""
        result = {**result, "missing": self.context.missing(group) | result.get("missing", {})}
        rates = self.context.rates.get(group.mode.unloaded, Rates())
        row = make_row(group, size, result, self.context.facts(group), rates)
        self._finished[group, size] = row  # it is shown even where it cannot be stored
        key = self.context.key(group, size)
        fields = {name: value for name, value in row.as_dict().items() if name != "environment"}
        self.store.add(KIND, key, fields, row.environment, again=(group, size) in self._outdated)
        self.measured += 1
        self._note(group, size, self._stored_row(key) or row)  # what another sweep stored meanwhile stands
        self._say(f"{group.label} batch {size}", row=self._finished[group, size])

    def _take_stored(self, group: PointGroup, size: int) -> bool:
        """Take a point from the store, where it is there with the parts that are wanted, and not wanted again."""
        try:
            row = self._stored_row(self.context.key(group, size))
        except FgbenchError:  # it is replaced where that is asked for
            if not self.context.request.again:
                raise
            self._outdated.add((group, size))
            return False
        if row is None:
            return False
        if self._wanted_again(row):
            self._finished.setdefault((group, size), row)  # shown until there is a newer one
            self._outdated.add((group, size))
            return False
        is_new = (group, size) not in self._finished
        self._note(group, size, row)
        if self._parts.missing(group, size, row):
            return False
        self.stored += is_new
        return True

    def _stored_row(self, key: str) -> ThroughputRow | None:
        """The newest row of a point, or None. Raises :class:`FgbenchError` for one that cannot be read."""
        row = self.store.get(KIND, key)
        return None if row is None else decode(ThroughputRow, row)

    def _wanted_again(self, row: ThroughputRow) -> bool:
        """Whether a stored row does not answer this request."""
        request, environment = self.context.request, row.environment
        if request.again or (request.retry and not row.status.is_ok):
            return True
        if row.status is Status.TIMEOUT:
            return not had_as_much_time(row, request.timeout_s)
        asked_for = environment["seen"].get("percentiles", {}).get("asked_for")
        if request.tail and not asked_for and row.latency_s is not None and row.latency_p99_s is None:
            return True
        return request.energy and environment["missing"].get("energy_j_per_image") == NOT_ASKED_FOR

    def _note(self, group: PointGroup, size: int, row: ThroughputRow) -> None:
        self._finished[group, size] = row
        if not self._parts.missing(group, size, row):
            self._agenda.finished(group, size, row.status, row.throughput_img_s)

    def _look_again(self) -> None:
        """Wait for points that another sweep is measuring; take back those that it gave up."""
        self._say("waiting for points that another sweep is measuring")
        time.sleep(LOOK_S)
        for group, size in self._agenda.waiting():
            key = self.context.key(group, size)
            if self._take_stored(group, size):
                continue
            if self.store.claim(KIND, key):
                self.store.release(KIND, key)
                self._agenda.take_back(group, size)

    def _points(self) -> Sequence[tuple[PointGroup, int]]:
        return [(group, size) for group in self.context.groups for size in self.context.batch_sizes]

    def _out_of_time(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _say(self, what: str, **more: Any) -> None:
        done = self.total - self._agenda.count_left
        self.tell(Event(done=done, total=self.total, what=what, **more))
