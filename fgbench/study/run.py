"""Plan, estimate and run a study: processes train its runs, and this one keeps what belongs together. No torch.

A run that is in the store is not trained again, and one that was killed goes on after its last whole epoch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fgbench.errors import CannotMeasureError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.decoding import decode
from fgbench.results.predictions import PredictionsRow
from fgbench.results.records import AccuracyRow, StudyRow
from fgbench.results.store import PATIENCE_S, Store
from fgbench.study.plan import Plan, Planned
from fgbench.study.published import study_of
from fgbench.study.request import StudyRequest
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed
from fgbench.workers.process import Process

WORKER = "fgbench.study.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvent:
    """How far a study is."""

    what: str  # is done now
    done: int  # finished runs, with those of the store
    total: int
    told: Message = field(default_factory=dict)  # by the process of a run: a step or an epoch
    row: AccuracyRow | None = None  # of a run that has just finished


OnEvent = Callable[[StudyEvent], None]


@dataclass(slots=True, kw_only=True)
class StudyResult:
    """The runs of a study, and why there are not more of them."""

    plan: Plan
    runs: list[AccuracyRow] = field(default_factory=list)
    places: list[StudyRow] = field(default_factory=list)  # of the runs in the study
    predictions: list[PredictionsRow] = field(default_factory=list)  # of the runs, as far as they were kept
    stored: int = 0  # runs that were in the store already
    interrupted: bool = False

    def in_order(self) -> StudyResult:
        """The result in the order of the study, whichever runs were finished first."""
        names = [(planned.told["dataset"], planned.told["condition"]) for planned in self.plan.conditions]
        pairs = list(zip(self.places, self.runs, strict=True))
        pairs.sort(key=lambda pair: (names.index((pair[0].dataset, pair[0].condition)), pair[0].seed))
        order = {place.run: number for number, (place, _) in enumerate(pairs)}
        return replace(
            self,
            runs=[run for _, run in pairs],
            places=[place for place, _ in pairs],
            predictions=sorted(self.predictions, key=lambda row: order[row.run]),
        )


def plan_study(request: StudyRequest, store: Path, process: Process, progress: OnEvent = lambda _: None) -> Plan:
    """Plan a study, in another process.

    Args:
        request: The request.
        store: The file of the store.
        process: The process, which :func:`start_process` makes.
        progress: Receives what is looked at.

    Raises:
        FgbenchError: The study, a data set or a model is not there, or they do not fit.
        CannotMeasureError: The process ended.

    """
    study = study_of(request.study, request.plugins)
    request.check_for(study)
    began = time.monotonic()

    def tell(now: Message) -> None:
        progress(StudyEvent(what=str(now["what"]), done=0, total=0))

    with _refusals("the study cannot be planned"):
        told = process.ask("plan", tell, request=request.message(), store=str(store.absolute()))
    return plan_of(request, study.name, told, planning_s=time.monotonic() - began)


def plan_of(request: StudyRequest, study: str, told: Message, planning_s: float = 0.0) -> Plan:
    """The plan out of what a process has told of it."""
    return Plan(
        study=study,
        title=told["title"],
        request=request,
        conditions=[Planned.of(one) for one in told["conditions"]],
        problems=told["problems"],
        planning_s=planning_s,
    )


def start_process() -> Process:
    """A process that plans, times and trains; it is started with its first request."""
    return Process(WORKER)


def estimate_study(plan: Plan, process: Process, on_problem: OnProblem, progress: OnEvent = lambda _: None) -> None:
    """Time two short epochs of every condition that has runs left, as many at once as will be trained at once.

    Args:
        plan: The plan, which gets the times.
        process: The process that planned it.
        on_problem: Receives a problem for a condition that cannot be trained.
        progress: Receives every step.

    """
    timed = [planned for planned in plan.conditions if planned.left]
    done = 0

    def time_one(process: Process, planned: Planned) -> Message:
        def tell(now: Message) -> None:
            progress(StudyEvent(what=f"timing {planned.name}", done=done, total=len(timed), told=now))

        unit = planned.unit(planned.seeds[0])
        return process.ask("estimate", tell, request=plan.request.message(), unit=unit)

    with _Crew(process, min(plan.request.jobs, max(1, len(timed)))) as crew:
        for planned in timed:
            crew.start(planned, time_one, planned)
        while crew.busy:
            for planned, future in crew.finished():
                done += 1
                try:
                    planned.timing = future.result()
                except (WorkerFailed, FgbenchError) as error:
                    on_problem(_problem(planned.name, error))


def run_study(
    request: StudyRequest,
    store: Path,
    *,
    progress: OnEvent = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> StudyResult:
    """Train what a study asks for and is not in the store.

    Args:
        request: The request.
        store: The file of the store, which every process of a run writes to.
        progress: Gets an event per step, epoch and run, from several threads, one at a time.
        on_problem: Gets what does not end the work: runs that failed, notices of data sets.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the work.

    Returns:
        All runs that are finished, also after an interrupt.

    Raises:
        FgbenchError: Nothing of the study can be done.

    """
    with start_process() as process:
        plan = plan_study(request, store, process, progress)
        for problem in plan.problems:
            on_problem(LeftOutNotice(problem))
        return _train(plan, store, process, progress, on_problem, on_wait, on_interrupt)


def _train(
    plan: Plan,
    store: Path,
    process: Process,
    progress: OnEvent,
    on_problem: OnProblem,
    on_wait: Callable[[str], None],
    on_interrupt: Callable[[], None],
) -> StudyResult:
    with Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened:
        running = RunsUnderWay(plan, opened, store, progress, on_problem)
        running.take_finished()
        try:
            running.train(process)
        except KeyboardInterrupt:
            on_interrupt()
            running.result.interrupted = True
    return running.result.in_order()


class RunsUnderWay:
    """The runs of a study that are under way."""

    def __init__(self, plan: Plan, opened: Store, store: Path, progress: OnEvent, on_problem: OnProblem) -> None:
        self.plan, self.store, self.path, self.on_problem = plan, opened, store.absolute(), on_problem
        self.progress = progress
        self.result = StudyResult(plan=plan)
        self._lock = threading.Lock()
        # One seed of all conditions before the next: a study that is ended early compares all of them.
        self._waiting = [
            (planned, seed)
            for number in range(max((len(one.seeds) for one in plan.conditions), default=0))
            for planned in plan.conditions
            for seed in planned.seeds[number : number + 1]
            if seed in planned.left
        ]
        self._searching: set[int] = set()  # conditions whose learning rate is searched now, by identity

    def take_finished(self) -> None:
        """Take the runs that the store has."""
        for planned in self.plan.conditions:
            for seed, key in planned.finished.items():
                row = self.store.get(AccuracyRow.kind, key)
                if row is not None:
                    self.result.stored += 1
                    self._keep(planned, seed, key, decode(AccuracyRow, {**row, "run": key}))

    def train(self, process: Process) -> None:
        """Train the others, several at once, the first of them in the process that planned them."""
        jobs = min(self.plan.request.jobs, max(1, len(self._waiting)))
        with _Crew(process, jobs) as crew:
            while self._waiting or crew.busy:
                while crew.free and (unit := self._next()):
                    planned, seed = unit
                    if planned.lr is None:
                        self._searching.add(id(planned))
                    crew.start(unit, self._train, planned, seed)
                for (planned, seed), future in crew.finished():
                    self._searching.discard(id(planned))
                    try:
                        self._take(planned, seed, future.result())
                    except (WorkerFailed, FgbenchError) as error:
                        self._fail(planned, seed, error)

    def _next(self) -> tuple[Planned, int] | None:
        """A run that can begin now: of a condition whose learning rate is known, or not yet searched by another."""
        for place, (planned, _) in enumerate(self._waiting):
            if planned.lr is not None or id(planned) not in self._searching:
                return self._waiting.pop(place)
        return None

    def _train(self, process: Process, planned: Planned, seed: int) -> Message:
        """Have a process train a run. It is called in a thread, which neither the store nor the plan may be used in."""
        words = f"{planned.name}, seed {seed}"

        def tell(now: Message) -> None:
            self._tell(words, told=now)

        self._tell(words)
        request, unit = self.plan.request.message(), planned.unit(seed)
        return process.ask("train", tell, request=request, unit=unit, store=str(self.path))

    def _take(self, planned: Planned, seed: int, answer: Message) -> None:
        """Take the result of a run."""
        if not answer["runs"]:
            raise CannotMeasureError(next(iter(answer["problems"]), "it has no result"))
        (run,) = answer["runs"]
        row = decode(AccuracyRow, run["row"])
        planned.tried = planned.tried or list(run["tried"])
        planned.lr = row.lr
        planned.finished[seed] = run["run"]
        self._keep(planned, seed, run["run"], row)
        self._tell(f"{planned.name}, seed {seed}", row=row)

    def _keep(self, planned: Planned, seed: int, run: str, row: AccuracyRow) -> None:
        key, place = self.plan.row(planned, seed, run)
        fields = {name: value for name, value in place.as_dict().items() if name != "environment"}
        self.store.add(StudyRow.kind, key, fields, row.environment or {})
        self.result.runs.append(row)
        self.result.places.append(place)
        if (kept := self.store.get(PredictionsRow.kind, run)) is not None:
            self.result.predictions.append(decode(PredictionsRow, kept))

    def _fail(self, planned: Planned, seed: int, error: WorkerFailed | FgbenchError) -> None:
        self.on_problem(_problem(f"{planned.name}, seed {seed}", error))
        if planned.lr is None:  # without a learning rate no other seed can be trained
            self._waiting = [unit for unit in self._waiting if unit[0] is not planned]

    def _tell(self, what: str, **more: Any) -> None:
        event = StudyEvent(what=what, done=self.plan.finished, total=self.plan.total, **more)
        with self._lock:
            self.progress(event)


class _Crew:
    """Threads, each with a process of its own that it asks.

    Args:
        first: The process of the first one; it outlives the crew where nothing is under way in the end.
        size: Their number.
    """

    def __init__(self, first: Process, size: int) -> None:
        self.size = size
        self._idle: SimpleQueue[Process] = SimpleQueue()
        self._stack = ExitStack()
        others = [self._stack.enter_context(start_process()) for _ in range(size - 1)]
        self._processes = [first, *others]
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(size)
        self._under_way: dict[Future[Message], Any] = {}

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._under_way:
            for process in self._processes:  # their threads' requests end with them
                process.end()
        self._threads.shutdown()
        self._stack.close()

    @property
    def busy(self) -> int:
        """Number of things under way."""
        return len(self._under_way)

    @property
    def free(self) -> bool:
        """Whether another one can begin at once."""
        return self.busy < self.size

    def start(self, what: Any, do: Callable[..., Message], *arguments: Any) -> None:
        """Do something in a thread, with a process, as soon as one is idle."""

        def work() -> Message:
            process = self._idle.get()
            try:
                return do(process, *arguments)
            finally:
                self._idle.put(process)

        self._under_way[self._threads.submit(work)] = what

    def finished(self) -> Iterator[tuple[Any, Future[Message]]]:
        """Wait until something is done; what it was, and its result or error."""
        done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
        for future in done:
            yield self._under_way.pop(future), future


def _problem(what: str, error: WorkerFailed | FgbenchError) -> FgbenchError:
    """The problem of a run that failed by itself."""
    return CannotMeasureError(f"{what}: {error.reason if isinstance(error, WorkerFailed) else error}")


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turn a refusal of a process into the error that it is."""
    try:
        yield
    except WorkerFailed as error:
        if error.refused:
            raise FgbenchError(error.reason) from error
        raise CannotMeasureError(f"{what}: {error.reason}") from error
