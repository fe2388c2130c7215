"""The runs of ``fgbench accuracy`` on the nodes of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbench.cluster.dispatch import TRIES, Unit, dispatch
from fgbench.cluster.nodes import open_nodes
from fgbench.cluster.request import ClusterOptions
from fgbench.cluster.training import (
    CLASSES,
    KIND,
    KnownRows,
    at_home,
    ending,
    planned_by,
    take_over,
    under_way_in_words,
)
from fgbench.cluster.travel import Files, pack
from fgbench.errors import CannotMeasureError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.decoding import decode
from fgbench.results.records import AccuracyRow, QualityRow, Status
from fgbench.results.store import PATIENCE_S, Store
from fgbench.study.run import OnEvent, StudyEvent
from fgbench.training.request import AccuracyRequest
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed

TRAINING = "fgbench.training.worker"  # the module of the process on a node


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A finished run, as :class:`fgbench.training.runs.Finished` without its configuration."""

    key: str
    row: AccuracyRow
    classes: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class RunsResult:
    """The runs of a request; as :class:`fgbench.training.run.TrainingResult`, without judged selectors."""

    quality: tuple[QualityRow, ...] = ()
    finished: list[FinishedRun] = field(default_factory=list)
    total: int = 0
    stored: int = 0
    interrupted: bool = False
    failure: FgbenchError | None = None

    @property
    def rows(self) -> list[AccuracyRow]:
        """A row per run."""
        return [run.row for run in self.finished]

    @property
    def summaries(self) -> list[AccuracyRow]:
        """Means over seeds."""
        from fgbench.training.rows import summaries  # it loads torch

        return summaries(self.rows)


@dataclass(slots=True, kw_only=True)
class _Runs:
    """The runs of a request as a source of units."""

    request: Message
    files: Files
    known: KnownRows
    store: Store
    waiting: list[Message]
    _together: Message
    progress: OnEvent
    total: int
    on_problem: OnProblem
    keys: list[str] = field(default_factory=list)  # of finished runs
    _losses: Counter[str] = field(default_factory=Counter)

    @property
    def left(self) -> int:
        """Units that wait."""
        return len(self.waiting)

    def next(self) -> Unit | None:
        """The next unit."""
        if not self.waiting:
            return None
        unit = self.waiting.pop(0)
        fields = {
            **{"module": TRAINING, "do": "train", "request": self.request, "files": self.files},
            **{"known": self.known.content, "fields": unit["fields"]},
        }
        return Unit(
            do="train_together" if self._together else "train",
            fields={**fields, **self._together},
            label=unit["label"],
            about=unit,
        )

    def told(self, unit: Unit, place: str, now: Message) -> None:
        """A step, or an epoch with the rows so far."""
        if (content := now.pop("store", None)) is not None:
            take_over(self.store, content)
        del place
        self._tell(str(now.get("label") or unit.label), told=now)

    def done(self, unit: Unit, place: str, answer: Message) -> None:
        """The runs of a unit are finished."""
        del place
        take_over(self.store, answer["store"])
        self.keys += answer["runs"]
        self.known.finished(answer["runs"])
        for key in answer["runs"]:
            if (row := self.store.get(AccuracyRow.kind, key)) is not None:
                kept = decode(AccuracyRow, {**row, "run": key})
                words = " ".join(filter(None, (kept.model, kept.selector, f"at {kept.image_size}")))
                self._tell(f"{words}, seed {kept.seed}", row=kept)
        for problem in answer["problems"]:
            self.on_problem(CannotMeasureError(f"{unit.label}: {problem}"))

    def failed(self, unit: Unit, failure: WorkerFailed) -> bool:
        """A unit failed by itself, or its process crashed: then it is tried elsewhere."""
        crashed = failure.status is Status.CRASHED and not failure.refused
        if crashed:
            self.lost(unit, failure.reason)
        else:
            self.on_problem(CannotMeasureError(f"{unit.label}: {failure.reason}"))
        return crashed

    def lost(self, unit: Unit, why: str) -> None:
        """A unit was lost with its node."""
        self._losses[unit.label] += 1
        self.known.learn(())
        if self._losses[unit.label] < TRIES:
            self.waiting.insert(0, unit.about)
        else:
            self.on_problem(CannotMeasureError(f"{unit.label}: {why}; it was tried {TRIES} times"))

    def renew(self, units: Iterable[Unit]) -> None:
        """A run belongs to its driver; nothing is claimed."""

    def count(self, under_way: int, left: int) -> None:
        """Tell how many runs are under way."""
        self._tell(under_way_in_words(under_way, left))

    def _tell(self, what: str, **more: Any) -> None:
        self.progress(StudyEvent(what=what, done=len(self.keys), total=self.total, **more))


def run_cluster_training(
    request: AccuracyRequest,
    store: Path,
    cluster: ClusterOptions,
    *,
    progress: OnEvent = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> RunsResult:
    """Train on a cluster what a request asks for and is not in the store.

    Args:
        request: The models, the data set and the recipe.
        store: The file of the store, which this process alone writes.
        cluster: Where.
        progress: Gets an event per step, epoch and run.
        on_problem: Gets what does not end the work.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the work.

    Returns:
        All runs that are finished.

    Raises:
        FgbenchError: Nothing of the request can be done.

    """

    def wait(what: str) -> None:
        progress(StudyEvent(what=what, done=0, total=0))

    with (
        Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened,
        open_nodes(cluster, request.device, on_problem, wait) as nodes,
    ):
        known, files = KnownRows(opened), pack(request, request.models)
        message = at_home(request.message())
        wait("planning on the nodes")
        planned = planned_by(nodes, TRAINING, message, files, known, on_problem)
        for problem in planned["problems"]:
            on_problem(LeftOutNotice(problem))
        finished, units = list(planned["finished"]), list(planned["units"])
        runs = _Runs(
            request=message,
            files=files,
            known=known,
            store=opened,
            waiting=units,
            _together=nodes.together(),
            progress=progress,
            total=len(finished) + sum(len(unit["fields"]["seeds"]) for unit in units),
            on_problem=on_problem,
            keys=finished,
        )
        result = RunsResult(stored=len(finished), total=runs.total)
        with ending(nodes, on_interrupt) as ended:
            dispatch(nodes, {KIND: runs}, runs.count)
        for key in runs.keys:
            if (row := opened.get(AccuracyRow.kind, key)) is not None:
                kept = decode(AccuracyRow, {**row, "run": key})
                result.finished.append(FinishedRun(key=key, row=kept, classes=opened.get(CLASSES, key) or {}))
        result.interrupted, result.failure = ended.interrupted, ended.failure
        return result
