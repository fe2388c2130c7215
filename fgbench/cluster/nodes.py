"""The nodes of a Ray cluster as places of work: found, checked, asked, and left as they were. Ray is loaded here alone.

A place is one accelerator of a node, or a whole node without one. An actor holds it, and a :class:`Host` does the work.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbench.cluster.code import copy_code, whole_code
from fgbench.cluster.connect import connected, first_line
from fgbench.cluster.node import Node, chosen, nodes_of
from fgbench.cluster.request import LOCAL, ClusterOptions
from fgbench.errors import CannotMeasureError, FgbenchError, OnProblem
from fgbench.workers.messages import Message
from fgbench.workers.pool import failure_of

START_S = 240.0  # for the actors of all nodes: Ray starts a process for each, which is slow where others do the same
NEWS_S = 5.0  # that a place waits before it says that there is nothing new
SILENT_S = 150.0  # without an answer: the place is given up
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(slots=True)
class _Place:
    node: Node
    actor: Any
    ref: Any = None  # of the next news, while something is under way
    started: Any = None  # the reference of the last start
    asked: float = 0.0  # when it was asked for news


class Nodes:
    """Places of a cluster; see :class:`fgbench.cluster.dispatch.Places`. :func:`open_nodes` makes it."""

    def __init__(self, ray: Any, options: ClusterOptions) -> None:
        self._ray, self.options = ray, options
        self._gone = (ray.exceptions.RayError, ConnectionError)
        self._places: dict[str, _Place] = {}
        self.kinds: dict[str, str] = {}  # of places, for whoever opens a sweep on them
        self.by_gpu, self.cpus_per_process = False, 0.0  # of the processes that train one run together
        self._accelerators, self._coordinators = 0, 0

    @property
    def names(self) -> list[str]:
        """All places."""
        return list(self._places)

    def idle(self) -> Sequence[str]:
        """Places that can begin something."""
        return [name for name, place in self._places.items() if place.ref is None]

    def kind(self, place: str) -> str:
        """What was said of a place; a place of which nothing was said has no work."""
        return self.kinds.get(place, "")

    def alive(self) -> set[str]:
        """Kinds of the places that are there."""
        return {self.kind(name) for name in self._places}

    def start(self, place: str, do: str, fields: Mapping[str, Any]) -> None:
        """Begin a request of a place."""
        actor = self._places[place].actor
        self._places[place].started = actor.start.remote(do, dict(fields))
        self._ask_for_news(self._places[place])

    def _ask_for_news(self, place: _Place) -> None:
        place.ref, place.asked = place.actor.news.remote(NEWS_S), time.monotonic()

    def news(self, timeout_s: float) -> Iterable[tuple[str, Message]]:
        """Wait until a place says something."""
        asked = {place.ref: name for name, place in self._places.items() if place.ref is not None}
        if not asked:
            time.sleep(timeout_s)
            return []
        said: list[tuple[str, Message]] = []
        try:
            self._ray.wait(list(asked), num_returns=1, timeout=timeout_s)
            more, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        except (*self._gone, RuntimeError) as error:
            raise CannotMeasureError(
                f"the cluster is gone ({first_line(error)})", do="start again when it is there"
            ) from error
        for ref in more:
            said += self._heard(asked[ref], ref)
        for name, place in list(self._places.items()):
            if place.ref is not None and time.monotonic() - place.asked > SILENT_S:
                said.append((name, self._lose(name, f"it did not answer for {SILENT_S:g} s")))
        return said

    def _heard(self, name: str, ref: Any) -> Iterator[tuple[str, Message]]:
        place = self._places[name]
        try:
            news = self._ray.get(ref)
            if not news:
                self._ray.get(place.started)  # it may have failed before the host heard of it
        except self._gone as error:
            yield name, self._lose(name, first_line(error))
            return
        place.ref = None
        if not any("done" in each or "failed" in each for each in news):
            self._ask_for_news(place)
        for each in news:
            yield name, each

    def _lose(self, name: str, why: str) -> Message:
        """Give up a place."""
        place = self._places.pop(name)
        with suppress(Exception):  # it is gone, or the whole cluster is
            self._ray.kill(place.actor)
        return {"lost": f"node {name} was lost: {why}"}

    def give_up(self, place: str) -> None:
        """Begin nothing more on a place."""
        if place in self._places:
            self._lose(place, "it was given up")

    def ask_all(self, do: str, fields: Mapping[str, Any], on_problem: OnProblem) -> dict[str, Message]:
        """Ask every place the same, and wait for all answers. A place that has none is given up.

        Raises:
            FgbenchError: No place has an answer: the refusal of one of them.

        """
        answers: dict[str, Message] = {}
        why: dict[str, FgbenchError] = {}
        open_ = set(self._places)
        for place in open_:
            self.start(place, do, fields)
        while open_:
            for place, message in self.news(1.0):
                if "now" in message:
                    continue
                open_.discard(place)
                if "done" in message:
                    answers[place] = message["done"]
                elif "lost" in message:
                    why[place] = CannotMeasureError(str(message["lost"]))
                else:
                    failure = failure_of(message)
                    why[place] = (FgbenchError if failure.refused else CannotMeasureError)(failure.reason)
                    self._lose(place, failure.reason)
        for place, error in why.items():
            if not answers:
                raise error
            on_problem(CannotMeasureError(f"node {place} is left out: {error}"))
        return answers

    def share(self, node: Node, by_gpu: bool, per_run: int) -> list[str]:
        """Names of the places that ask for trainings of several processes, begun on this node."""
        self.by_gpu = by_gpu
        self.cpus_per_process = min(self.cpus_per_process or node.cpus, node.cpus)
        self._accelerators += node.gpus if by_gpu else 1
        begun = self._accelerators // per_run - self._coordinators
        self._coordinators += begun
        return [f"{node.name} run {number + 1}" for number in range(begun)]

    def together(self) -> Message:
        """What a request of a training by several processes has beside its other fields; empty for one process."""
        processes = getattr(self.options, "gpus_per_run", 1)
        if processes == 1:
            return {}
        needs = {"GPU": 1.0, "CPU": 0.0} if self.by_gpu else {"CPU": self.cpus_per_process}
        return {"processes": processes, "by_gpu": self.by_gpu, "needs": needs}

    def check_kinds(self, kinds: int) -> None:
        """Refuse nodes of several kinds where no kinds were asked for. Raises :class:`FgbenchError`."""
        if kinds < 2 or self.options.accelerators:
            return
        first = {kind: place for place, kind in reversed(self.kinds.items()) if place in self._places}
        do = "name kinds with --accelerators, each of which gets the whole grid, or nodes with --nodes"
        raise FgbenchError("nodes differ, and so would their figures:", ", ".join(sorted(first.values())), do)

    def close(self) -> None:
        """End everything that is under way on all nodes."""
        for name in list(self._places):
            self._lose(name, "it was ended")

    def add(self, name: str, node: Node, actor: Any) -> None:
        """Add a place."""
        self._places[name] = _Place(node, actor)


@contextmanager
def open_nodes(
    options: ClusterOptions, device: str | None, on_problem: OnProblem, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Nodes]:
    """Connect to a cluster, and hold the places that were asked for, until the block ends.

    Args:
        options: The cluster, and which of its nodes.
        device: ``"cuda"`` or ``"cpu"``; None: GPUs where there are any.
        on_problem: Receives why nodes are left out.
        tell: Receives what is waited for.

    Raises:
        FgbenchError: Ray is not installed, a node has other code, or names fit no node.
        CannotMeasureError: The cluster does not answer, or has no place.

    """
    assert options.on is not None
    tell("starting Ray" if options.on == LOCAL else f"connecting to {options.on}")
    with _shipped(options.ship_code) as environment:
        ray = connected(options.on, environment)
        try:
            nodes = Nodes(ray, options)
            _hold(nodes, ray, chosen(nodes_of(ray), options, device), on_problem, tell)
            try:
                yield nodes
            finally:
                nodes.close()
        finally:
            with suppress(Exception):
                ray.shutdown()


@contextmanager
def _shipped(ship: bool) -> Iterator[dict[str, Any]]:
    """Ray's runtime environment: with the code of fgbench, where it is to be sent."""
    if not ship:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="fgbench-code-") as folder:
        copy_code(Path(folder))
        yield {"working_dir": folder}


def _hold(
    nodes: Nodes, ray: Any, used: Sequence[tuple[Node, bool]], on_problem: OnProblem, tell: Callable[[str], None]
) -> None:
    """Start an actor for every place, and check the code of each."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from fgbench.cluster.host import Host

    actor = ray.remote(Host)
    per_run = getattr(nodes.options, "gpus_per_run", 1)
    environment = {name: os.environ.get(name) for name in THREADS}
    started: dict[Any, tuple[str, Node, Any]] = {}
    for node, by_gpu in used:
        names = [f"{node.name} gpu {number}" for number in range(node.gpus)] if by_gpu else [node.name]
        needs = {"num_gpus": 1, "num_cpus": 0} if by_gpu else {"num_cpus": node.cpus}
        if per_run > 1:  # the processes of a training hold accelerators, not who asks for them
            names, needs = nodes.share(node, by_gpu, per_run), {"num_cpus": 0}
        for name in names:
            handle = actor.options(
                **needs,
                max_concurrency=3,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            ).remote(name, environment, by_gpu=by_gpu)
            started[handle.about.remote()] = (name, node, handle)
    if not started:
        have = sum(node.gpus if by_gpu else 1 for node, by_gpu in used)
        raise CannotMeasureError(f"the cluster has {have} places, and a run was to take {per_run}", do="ask for fewer")
    tell(f"starting a process on {len(started)} {'place' if len(started) == 1 else 'places'}")
    ready, late = ray.wait(list(started), num_returns=len(started), timeout=START_S)
    mine = whole_code()
    problems: list[FgbenchError] = []
    for ref in ready:
        name, node, handle = started[ref]
        try:
            theirs = ray.get(ref)
        except ray.exceptions.RayError as error:
            problems.append(_not_started(name, error))
            continue
        if theirs != mine:
            raise other_code(name, theirs, mine)
        nodes.add(name, node, handle)
    for ref in late:
        name, _, handle = started[ref]
        ray.kill(handle)
        problems.append(
            CannotMeasureError(f"node {name} has not begun within {START_S:g} s: others may use its processors")
        )
    for problem in problems:
        if not nodes.names:
            raise problem
        on_problem(problem)


def other_code(node: str, theirs: Mapping[str, str], mine: Mapping[str, str]) -> FgbenchError:
    """The refusal of a node whose code is not this one's."""
    there, here = (f"fgbench {code['version']}, code {code['code']}" for code in (theirs, mine))
    return FgbenchError(f"node {node} has {there}, and this is {here}", do="install the same there, or add --ship-code")


def _not_started(name: str, error: BaseException) -> FgbenchError:
    text = str(error)
    if "ModuleNotFoundError" in text or "No module named" in text:
        missing = next((line.strip() for line in reversed(text.splitlines()) if "No module named" in line), "")
        do = "install fgbench there, or add --ship-code where only its requirements are"
        return FgbenchError(f"node {name} cannot load fgbench ({missing})", do=do)
    return CannotMeasureError(f"node {name} does not begin: {first_line(error)}")
