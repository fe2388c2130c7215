"""A sweep on the nodes of a cluster: groups travel, rows come back, and the store is written here.

Nodes of one kind share the work on one grid; every kind has a grid of its own, since its rows are others.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fgbench.cluster.dispatch import LOOK_S, TRIES, Unit, dispatch
from fgbench.cluster.nodes import Nodes, open_nodes
from fgbench.cluster.request import ClusterOptions
from fgbench.cluster.travel import pack
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.measure.parts import END_TO_END, SUM
from fgbench.measure.points import PointGroup, RunMode
from fgbench.results.decoding import decode
from fgbench.results.records import Status, ThroughputRow
from fgbench.results.reduced_name import function_file
from fgbench.results.store import PATIENCE_S, Store
from fgbench.sweep.context import Platform, SweepContext
from fgbench.sweep.parts import read_by
from fgbench.sweep.request import SweepRequest
from fgbench.sweep.run import SweepResult, remarks_of
from fgbench.sweep.setup import key_facts
from fgbench.sweep.sweep import KIND, Event, Sweep
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, WorkerPool

TOTALS = (SUM, END_TO_END)  # parts whose rows end a division


@dataclass(slots=True, kw_only=True)
class _Sent:
    """A group under way, and its points that are not finished yet, in the order in which they are measured."""

    group: PointGroup
    open: list[int]


@dataclass(slots=True)
class ClusterSweep(Sweep):
    """The points of one kind of node. It is a source of units; each is a group with some batch sizes."""

    _sent: set[tuple[PointGroup, int]] = field(default_factory=set)
    _fresh: set[tuple[PointGroup, int]] = field(default_factory=set)  # measured by this sweep, but perhaps for parts
    _losses: Counter[tuple[PointGroup, int]] = field(default_factory=Counter)
    _looked: float = 0.0

    @property
    def left(self) -> int:
        """Groups with points that are not finished; none where the budget is spent."""
        return 0 if self._out_of_time() else self._agenda.groups_left

    @property
    def done_points(self) -> int:
        """How many points are finished."""
        return self.total - self._agenda.count_left

    def begin(self) -> None:
        """Note what needs no measuring."""
        for group in self.context.groups:
            self._infer(group)

    def end(self) -> None:
        """Give up what is under way, and note what a budget has left out."""
        with suppress(FgbenchError):  # the store may be gone, and what was measured is shown
            for group, size in list(self._sent):
                self._release(group, size)
        if self._out_of_time():
            self.left_out = self._agenda.left()

    def next(self) -> Unit | None:
        """The next group with those of its points that no other sweep has claimed."""
        while not self._out_of_time():
            visit = self._agenda.next()
            if visit is None:
                self._take_back()
                return None
            # When time is short, one point at a time: what has begun is finished.
            sizes = visit.batch_sizes[:1] if self._until is not None else visit.batch_sizes
            mine = [size for size in sizes if self._send(visit.group, size)]
            if mine:
                return self._unit(visit.group, mine)
        return None

    def _send(self, group: PointGroup, size: int) -> bool:
        """Claim a point; False where another sweep has it, or has just finished it."""
        key = self.context.key(group, size)
        if not self.store.claim(KIND, key):
            self._agenda.put_off(group, size)
            return False
        if (group, size) not in self._fresh and self._take_stored(group, size):
            self.store.release(KIND, key)
            return False
        self._agenda.put_off(group, size)  # nobody else takes it meanwhile
        self._sent.add((group, size))
        return True

    def _release(self, group: PointGroup, size: int) -> None:
        self._sent.discard((group, size))
        self.store.release(KIND, self.context.key(group, size))

    def _unit(self, group: PointGroup, sizes: list[int]) -> Unit:
        known: dict[str, Any] = {}
        for size in sizes:
            if (group, size) in self._finished and (group, size) not in self._outdated:  # its parts are wanted
                key = self.context.key(group, size)
                known[key] = self.store.get(KIND, key)
        fields = {"group": group, "batch_sizes": sizes, "known": known}
        return Unit(do="measure", fields=fields, label=group.label, about=_Sent(group=group, open=list(sizes)))

    def _take_back(self) -> None:
        """Look at points that another sweep is measuring, now and then; measure those that it gave up."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for group, size in self._agenda.waiting():
            if (group, size) in self._sent:
                continue
            if (group, size) not in self._fresh and self._take_stored(group, size):
                continue
            key = self.context.key(group, size)
            if self.store.claim(KIND, key):
                self.store.release(KIND, key)
                self._agenda.take_back(group, size)

    def told(self, unit: Unit, place: str, now: Message) -> None:
        """A row, or a figure so far."""
        if "row" not in now:
            self.say(f"{now['what']} on {place}", latency_s=now.get("latency_s"))
            return
        kind, key, fields, environment = now["row"]
        about: _Sent = unit.about
        group, size = about.group, int(fields["batch_size"])
        environment = {**environment, **function_file(group.case.model)}  # as it was named here
        row = decode(ThroughputRow, {**fields, "environment": environment})
        again = self.context.request.again or (group, size) in self._outdated
        if row.part is None:
            self._finished[group, size] = row  # it is shown even where it cannot be stored
        else:
            again = self.store.get(kind, key) is not None
        self.store.add(kind, key, fields, environment, again=again)
        row = self._stored_row(key) or row
        if row.part is None:
            self.measured += 1
            self._fresh.add((group, size))
            self._outdated.discard((group, size))
            self._note(group, size, row)
        elif row.part in TOTALS:
            self._parts.take(group, size, row.part)
            self._note(group, size, self._finished[group, size])
        else:
            return
        if not self._parts.missing(group, size, self._finished[group, size]):
            about.open = [each for each in about.open if each != size]
            self._release(group, size)
        self.say(f"{group.label} batch {size} on {place}", row=row)

    def done(self, unit: Unit, place: str, answer: Message) -> None:
        """A group is finished, or cannot be exported."""
        del place
        about: _Sent = unit.about
        for problem in answer["dropped"]:
            self.on_problem(FgbenchError(problem))
        self._give_back(about)
        if answer["dropped"]:
            self._agenda.drop(about.group)
        else:
            self._infer(about.group)

    def failed(self, unit: Unit, failure: WorkerFailed) -> bool:
        """A node could not measure a group for a reason that is none of its points: the node is to blame."""
        self._try_again(unit.about, failure.status, failure.reason)
        return True

    def lost(self, unit: Unit, why: str) -> None:
        """A node is gone, with what it was measuring."""
        self._try_again(unit.about, Status.CRASHED, why)

    def _try_again(self, about: _Sent, status: Status, why: str) -> None:
        """Give a group out again; its first open point, which was under way, not for ever."""
        if about.open:
            size = about.open[0]
            self._losses[about.group, size] += 1
            if self._losses[about.group, size] >= TRIES:
                reason = f"{why}; it was tried {TRIES} times, on other nodes where there were any"
                self._give_up(about.group, size, {"status": status, "reason": reason})
        self._give_back(about)

    def _give_up(self, group: PointGroup, size: int, result: dict[str, Any]) -> None:
        """Keep a row with the reason: of the point, or of those of its parts that are missing."""
        if (group, size) not in self._finished or (group, size) in self._outdated:
            self._keep(group, size, result)
            return
        whole = self._finished[group, size]
        for division in self._parts.missing(group, size, whole):
            self._parts.keep(group, size, division, [{"part": division.total, **result}])
        self._note(group, size, whole)

    def _give_back(self, about: _Sent) -> None:
        for size in about.open:
            self._agenda.take_back(about.group, size)
            self._release(about.group, size)

    def renew(self, units: Iterable[Unit]) -> None:
        """Hold on to the points under way."""
        for unit in units:
            for size in unit.about.open:
                self._stay(unit.about.group, size)

    def say(self, what: str, **more: Any) -> None:
        """Tell how far the sweep is."""
        self._say(what, **more)


def run_cluster_sweep(
    request: SweepRequest,
    store: Path,
    cluster: ClusterOptions,
    *,
    progress: Callable[[Event], None] = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> SweepResult:
    """Measure on a cluster what a request asks for and is not in the store.

    Args:
        request: The points, and how they are measured.
        store: The file of the store, which this process alone writes.
        cluster: Where.
        progress: Gets an event when something is measured or finished.
        on_problem: Gets what does not fit, nodes that cannot be used among it.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the sweep.

    Returns:
        All rows of the request that are finished, also after an interrupt or a failure.

    Raises:
        FgbenchError: Where nothing of the request can be measured.

    """
    failure: FgbenchError | None = None
    interrupted = False

    def wait(what: str) -> None:
        progress(Event(done=0, total=0, what=what))

    with (
        Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened,
        open_nodes(cluster, request.device, on_problem, wait) as nodes,
    ):
        wait("describing the nodes")
        sweeps = _Sweeps(progress)
        sweeps.open(request, nodes, opened, on_problem)
        try:
            sweeps.run(nodes, opened)
        except KeyboardInterrupt:
            on_interrupt()
            interrupted = True
        except FgbenchError as error:
            failure = error
        finally:
            nodes.close()
            sweeps.end()
        return SweepResult(
            rows=[row for sweep in sweeps.by_kind.values() for row in sweep.rows],
            total=sum(sweep.total for sweep in sweeps.by_kind.values()),
            remarks=list(
                dict.fromkeys(
                    remark for sweep in sweeps.by_kind.values() for remark in remarks_of(sweep, request, store)
                )
            ),
            interrupted=interrupted,
            failure=failure,
        )


class _Sweeps:
    """A sweep for every kind of node, and the progress of all."""

    def __init__(self, progress: Callable[[Event], None]) -> None:
        self.by_kind: dict[str, ClusterSweep] = {}
        self._progress = progress
        self._places = ""

    def open(self, request: SweepRequest, nodes: Nodes, store: Store, on_problem: OnProblem) -> None:
        """Have every node describe its engines; nodes of which the same keys come are of one kind.

        Raises:
            FgbenchError: No node can measure anything of the request; with the reason of the last one.

        """
        files = pack(request, request.models)
        answers = nodes.ask_all("open_sweep", {"request": request, "files": files}, on_problem)
        told: set[str] = set()
        for place, answer in answers.items():
            for problem in answer["problems"]:
                if problem["text"] not in told:
                    told.add(problem["text"])
                    on_problem((LeftOutNotice if problem["notice"] else FgbenchError)(problem["text"]))
            if request.end_to_end is not None and answer["read_by"] != read_by():
                do = "install the same versions there"
                raise FgbenchError(f"node {place} reads pictures by {answer['read_by']}, and this by", read_by(), do)
            kind = _kind(answer)
            nodes.kinds[place] = kind
            if kind not in self.by_kind:
                self.by_kind[kind] = ClusterSweep(
                    context=_context(request, answer),
                    store=store,
                    pool=WorkerPool(),  # none is started here
                    tell=self._tell,
                    on_problem=on_problem,
                )
        nodes.check_kinds(len(self.by_kind))

    def run(self, nodes: Nodes, store: Store) -> None:
        """Measure what is not stored yet."""
        for sweep in self.by_kind.values():
            sweep.begin()

        def tell(under_way: int, left: int) -> None:
            self._words(len(nodes.idle()), under_way, left)

        dispatch(nodes, self.by_kind, tell, store.together)

    def end(self) -> None:
        """Give up what is under way."""
        for sweep in self.by_kind.values():
            sweep.end()

    def _words(self, idle: int, under_way: int, left: int) -> None:
        nodes = idle + under_way
        self._places = (
            f"{nodes} {'place' if nodes == 1 else 'places'}, {under_way} at work, "
            f"{max(0, left - under_way)} groups left"
        )
        self._tell(Event(done=0, total=0, what=""))

    def _tell(self, event: Event) -> None:
        """Show an event with the numbers of all sweeps."""
        sweeps = self.by_kind.values()
        what = event.what if event.row is not None else " · ".join(filter(None, (self._places, event.what)))
        done, total = sum(sweep.done_points for sweep in sweeps), sum(sweep.total for sweep in sweeps)
        self._progress(replace(event, done=done, total=total, what=what))


def _context(request: SweepRequest, answer: Message) -> SweepContext:
    """The context of all nodes of a kind, out of what one of them has told."""
    platforms = {
        mode: replace(platform, facts={name: value for name, value in platform.facts.items() if name != "node"})
        for mode, platform in answer["platforms"].items()
    }
    repeats = range(1, request.repeats + 1) if request.repeats > 1 else [None]
    groups = [
        PointGroup(case=case, mode=mode, repeat=repeat)
        for case in answer["cases"]
        for mode in platforms
        for repeat in repeats
    ]
    return SweepContext(
        request=request,
        groups=groups,
        batch_sizes=answer["batch_sizes"],
        platforms=platforms,
        pictures=answer["pictures"],
    )


def _kind(answer: Message) -> str:
    """A digest of everything that is in the keys of a node's points."""
    platforms: Mapping[RunMode, Platform] = answer["platforms"]
    facts: list[Any] = [
        [asdict(mode), key_facts(platform.facts, "max_time_s", "engine")] for mode, platform in platforms.items()
    ]
    facts += [[asdict(case) for case in answer["cases"]], answer["batch_sizes"], answer["read_by"]]
    facts += [None if answer["pictures"] is None else answer["pictures"].digest]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
