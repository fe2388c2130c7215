"""A study on the nodes of a cluster: a run travels, its rows come back after every epoch, the store is written here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fgbench.cluster.dispatch import TRIES, Unit, dispatch
from fgbench.cluster.nodes import open_nodes
from fgbench.cluster.request import ClusterOptions
from fgbench.cluster.training import KIND, KnownRows, at_home, ending, planned_by, take_over, under_way_in_words
from fgbench.cluster.travel import Files, pack
from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.records import Status
from fgbench.results.store import PATIENCE_S, Store
from fgbench.study.plan import Planned
from fgbench.study.published import study_of
from fgbench.study.request import StudyRequest
from fgbench.study.run import OnEvent, RunsUnderWay, StudyEvent, StudyResult, plan_of
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed

STUDY = "fgbench.study.worker"  # the module of the process on a node


class ClusterStudy(RunsUnderWay):
    """The runs of a study as a source of units."""

    def __init__(self, *arguments: Any, files: Files, known: KnownRows, together: Message) -> None:
        super().__init__(*arguments)
        self._together = together
        self._files, self._known = files, known
        self._losses: Counter[tuple[int, int]] = Counter()
        self._under_way: set[str] = set()  # what is trained, whatever its conditions are called

    @property
    def left(self) -> int:
        """Runs that wait."""
        return len(self._waiting)

    def next(self) -> Unit | None:
        """The next run that can begin."""
        held = [unit for unit in self._waiting if _signature(*unit) in self._under_way]
        self._waiting = [unit for unit in self._waiting if unit not in held]
        found = self._next()
        self._waiting += held
        if found is None:
            return None
        planned, seed = found
        self._under_way.add(_signature(planned, seed))
        if planned.lr is None:
            self._searching.add(id(planned))
        fields = {
            **{"module": STUDY, "do": "train", "request": at_home(self.plan.request.message()), "files": self._files},
            **{"known": self._known.content, "unit": planned.unit(seed)},
        }
        return Unit(
            do="train_together" if self._together else "train",
            fields={**fields, **self._together},
            label=f"{planned.name}, seed {seed}",
            about=(planned, seed),
        )

    def told(self, unit: Unit, place: str, now: Message) -> None:
        """A step, or an epoch with the rows so far."""
        if (content := now.pop("store", None)) is not None:
            take_over(self.store, content)
        del place
        self._tell(unit.label, told=now)

    def done(self, unit: Unit, place: str, answer: Message) -> None:
        """A run is finished."""
        del place
        planned, seed = unit.about
        self._searching.discard(id(planned))
        self._under_way.discard(_signature(planned, seed))
        take_over(self.store, answer["store"])
        self._known.finished(str(run["run"]) for run in answer["runs"])
        try:
            self._take(planned, seed, answer)
        except FgbenchError as error:
            self._fail(planned, seed, error)

    def failed(self, unit: Unit, failure: WorkerFailed) -> bool:
        """A run failed by itself, or its process crashed: then it is trained elsewhere."""
        if failure.status is Status.CRASHED and not failure.refused:
            self.lost(unit, failure.reason)
            return True
        planned, seed = unit.about
        self._searching.discard(id(planned))
        self._under_way.discard(_signature(planned, seed))
        self._fail(planned, seed, failure)
        return False

    def lost(self, unit: Unit, why: str) -> None:
        """A run was lost with its node; it is trained elsewhere, from its last state where nodes share the folder."""
        planned, seed = unit.about
        self._searching.discard(id(planned))
        self._under_way.discard(_signature(planned, seed))
        self._known.learn(())
        self._losses[id(planned), seed] += 1
        if self._losses[id(planned), seed] < TRIES:
            self._waiting.insert(0, (planned, seed))
        else:
            self._fail(planned, seed, WorkerFailed(Status.CRASHED, f"{why}; it was tried {TRIES} times"))

    def renew(self, units: Iterable[Unit]) -> None:
        """A run belongs to its driver; nothing is claimed."""

    def count(self, under_way: int, left: int) -> None:
        """Tell how many runs are under way."""
        self._tell(under_way_in_words(under_way, left))


def _signature(planned: Planned, seed: int) -> str:
    """What is trained: the same for two conditions that differ in their names alone."""
    unit = planned.unit(seed)
    fields = {name: value for name, value in unit["fields"].items() if name not in ("name", "against")}
    return json.dumps({**unit, "fields": fields}, sort_keys=True, default=str)


def run_cluster_study(
    request: StudyRequest,
    store: Path,
    cluster: ClusterOptions,
    *,
    progress: OnEvent = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> StudyResult:
    """Train on a cluster what a study asks for and is not in the store; as :func:`fgbench.study.run.run_study`."""
    study = study_of(request.study, request.plugins)
    request.check_for(study)

    def wait(what: str) -> None:
        progress(StudyEvent(what=what, done=0, total=0))

    with (
        Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened,
        open_nodes(cluster, request.device, on_problem, wait) as nodes,
    ):
        known, files = KnownRows(opened), pack(request, request.models or (), request.study)
        wait("planning on the nodes")
        plan = plan_of(
            request, study.name, planned_by(nodes, STUDY, at_home(request.message()), files, known, on_problem)
        )
        for problem in plan.problems:
            on_problem(LeftOutNotice(problem))
        running = ClusterStudy(
            plan, opened, store, progress, on_problem, files=files, known=known, together=nodes.together()
        )
        running.take_finished()
        with ending(nodes, on_interrupt) as ended:
            dispatch(nodes, {KIND: running}, running.count)
        running.result.interrupted = ended.interrupted
        if ended.failure is not None:
            on_problem(ended.failure)
        return running.result.in_order()
