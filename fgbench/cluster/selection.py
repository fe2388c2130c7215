"""Selectors by themselves on the nodes of a cluster: a point travels, its rows come back, the store is written here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbench.cluster.dispatch import LOOK_S, TRIES, Unit, dispatch
from fgbench.cluster.nodes import Nodes, open_nodes
from fgbench.cluster.request import ClusterOptions
from fgbench.cluster.travel import pack
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.decoding import RowError, read_row
from fgbench.results.records import BackendRow, SelectionRow
from fgbench.results.store import PATIENCE_S, Store
from fgbench.sweep.selector_request import SelectionRequest
from fgbench.sweep.selector_sweep import Point, Row, SelectorEvent, SelectorPoint
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed


@dataclass(slots=True, kw_only=True)
class ClusterSelection:
    """The points of one kind of node, as a source of units.

    Attributes:
        keyed: Points with their keys in the store.
        stored: Points that were in the store before.
    """

    request: SelectionRequest
    store: Store
    keyed: Sequence[tuple[Point, str]]
    on_problem: OnProblem
    on_event: Callable[[SelectorEvent], None]
    stored: int = 0
    _waiting: list[int] = field(default_factory=list)  # places in the list of points
    _outdated: set[int] = field(default_factory=set)
    _sent: set[int] = field(default_factory=set)
    _losses: Counter[int] = field(default_factory=Counter)
    _looked: float = 0.0

    def __post_init__(self) -> None:
        """Take what the store has."""
        for number in range(len(self.keyed)):
            try:
                rows = self._rows_of(number)
            except FgbenchError:  # it is replaced where that is asked for
                if not self.request.again:
                    raise
                rows = None
                self._outdated.add(number)
            if rows is not None and not self._wanted_again(rows):
                self.stored += 1
                continue
            self._waiting.append(number)
            if rows is not None:
                self._outdated.add(number)

    def _wanted_again(self, rows: Sequence[Row]) -> bool:
        return self.request.again or (self.request.retry and not all(row.status.is_ok for row in rows))

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished points, in the order of the request."""
        return [row for number in range(len(self.keyed)) for row in self._rows_of(number) or ()]

    @property
    def finished(self) -> int:
        """How many points are finished."""
        return len(self.keyed) - len(self._waiting) - len(self._sent)

    @property
    def left(self) -> int:
        """Points that wait."""
        return len(self._waiting)

    def next(self) -> Unit | None:
        """The next point that no other run has claimed."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:  # all that wait were claimed by others a moment ago
            return None
        for number in list(self._waiting):
            point, key = self.keyed[number]
            if not self.store.claim(point.kind, key):
                continue
            self._waiting.remove(number)
            if number not in self._outdated and self._rows_of(number) is not None:  # another run has just finished it
                self.store.release(point.kind, key)
                continue
            self._sent.add(number)
            return Unit(do="measure_selection", fields={"number": number}, label=point.label, about=number)
        self._looked = now
        return None

    def told(self, unit: Unit, place: str, now: Message) -> None:
        """The rows of a point."""
        if "row" not in now:
            return
        kind, key, content, environment = now["row"]
        again = self.request.again or unit.about in self._outdated
        self.store.add(kind, key, content, environment, again=again)
        self._outdated.discard(unit.about)
        self._say(f"{unit.label} on {place}", self._rows_of(unit.about) or ())

    def done(self, unit: Unit, place: str, answer: Message) -> None:
        """A point is finished, or cannot be measured."""
        del place
        for problem in answer["problems"]:
            self.on_problem(FgbenchError(problem))
        self._release(unit.about)

    def failed(self, unit: Unit, failure: WorkerFailed) -> bool:
        """A node could not measure a point: it is to blame."""
        self.lost(unit, failure.reason)
        return True

    def lost(self, unit: Unit, why: str) -> None:
        """A node is gone with its point."""
        self._release(unit.about)
        self._losses[unit.about] += 1
        if self._losses[unit.about] < TRIES:
            self._waiting.insert(0, unit.about)
        else:
            self.on_problem(FgbenchError(f"{unit.label} is left out:", f"{why}; it was tried {TRIES} times"))

    def renew(self, units: Iterable[Unit]) -> None:
        """Hold on to the points under way."""
        for unit in units:
            point, key = self.keyed[unit.about]
            self.store.renew(point.kind, key)

    def end(self) -> None:
        """Give up what is under way."""
        with suppress(FgbenchError):  # the store may be gone
            for number in list(self._sent):
                self._release(number)

    def count(self, under_way: int, left: int) -> None:
        """Tell how many points are under way."""
        self._say(f"{under_way} {'point' if under_way == 1 else 'points'} under way, {left} left")

    def _release(self, number: int) -> None:
        point, key = self.keyed[number]
        self._sent.discard(number)
        self.store.release(point.kind, key)

    def _rows_of(self, number: int) -> list[Row] | None:
        """The newest rows of a point; None where there are none."""
        point, key = self.keyed[number]
        stored = self.store.get(point.kind, key)
        if stored is None:
            return None
        environment = stored.pop("environment")
        contents = [stored] if isinstance(point, SelectorPoint) else stored["rows"]
        return [_row(point, content, environment) for content in contents]

    def _say(self, what: str, rows: Sequence[Row] = ()) -> None:
        self.on_event(SelectorEvent(done=self.finished, total=len(self.keyed), what=what, rows=rows))


def _row(point: Point, content: Message, environment: Message) -> Row:
    try:
        row = read_row(point.kind, content, environment)
    except RowError as error:
        raise FgbenchError(f"the row of {point.label} cannot be read: {error}") from error
    assert isinstance(row, (SelectionRow, BackendRow))
    return row


@dataclass(slots=True, kw_only=True)
class SelectionResult:
    """The rows of a request, and why there are not more of them."""

    rows: Sequence[Row]
    points: int  # that were asked for
    finished: int
    stored: int
    interrupted: bool = False
    failure: FgbenchError | None = None


def run_cluster_selection(
    request: SelectionRequest,
    store: Path,
    cluster: ClusterOptions,
    *,
    on_event: Callable[[SelectorEvent], None] = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> SelectionResult:
    """Measure on a cluster what a request asks for and is not in the store.

    Args:
        request: The selectors and sizes.
        store: The file of the store, which this process alone writes.
        cluster: Where.
        on_event: Gets an event when a point is finished.
        on_problem: Gets what does not fit, nodes that cannot be used among it.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the work.

    Returns:
        All rows that are finished, also after an interrupt or a failure.

    Raises:
        FgbenchError: Where nothing of the request can be measured.

    """

    def wait(what: str) -> None:
        on_event(SelectorEvent(done=0, total=0, what=what))

    with (
        Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened,
        open_nodes(cluster, request.device, on_problem, wait) as nodes,
    ):
        sources = _open(request, nodes, opened, on_event, on_problem)
        interrupted, failure = False, None
        try:
            dispatch(nodes, sources, next(iter(sources.values())).count, opened.together)
        except KeyboardInterrupt:
            on_interrupt()
            interrupted = True
        except FgbenchError as error:
            failure = error
        finally:
            nodes.close()
            for source in sources.values():
                source.end()
        every = sources.values()
        return SelectionResult(
            rows=[row for source in every for row in source.rows],
            points=sum(len(source.keyed) for source in every),
            finished=sum(source.finished for source in every),
            stored=sum(source.stored for source in every),
            interrupted=interrupted,
            failure=failure,
        )


def _open(
    request: SelectionRequest,
    nodes: Nodes,
    store: Store,
    on_event: Callable[[SelectorEvent], None],
    on_problem: OnProblem,
) -> dict[str, ClusterSelection]:
    """Have every node name its points; those of which the same keys come are of one kind."""
    fields: dict[str, Any] = {"request": request, "files": pack(request, ())}
    answers = nodes.ask_all("open_selection", fields, on_problem)
    sources: dict[str, ClusterSelection] = {}
    told: set[str] = set()
    for place, answer in answers.items():
        for problem in answer["problems"]:
            if problem["text"] not in told:
                told.add(problem["text"])
                on_problem((LeftOutNotice if problem["notice"] else FgbenchError)(problem["text"]))
        kind = " ".join(key for _, key in answer["points"])
        nodes.kinds[place] = kind
        if kind not in sources:
            sources[kind] = ClusterSelection(
                request=request, store=store, keyed=answer["points"], on_problem=on_problem, on_event=on_event
            )
    nodes.check_kinds(len(sources))
    return sources
