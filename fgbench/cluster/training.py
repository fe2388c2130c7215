"""What trainings on a cluster share: rows that nodes look for, stores that they send, plans in which they agree."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbench.cluster.nodes import Nodes
from fgbench.cluster.travel import Files
from fgbench.errors import CannotMeasureError, FgbenchError, OnProblem
from fgbench.results.store import Store
from fgbench.training.request import PATHS
from fgbench.workers.messages import Message

CLASSES = "accuracy_classes"  # the kind of rows with the accuracy of every class
KIND = "runs"  # of all nodes that would train the same


class KnownRows:
    """Rows of the store that nodes look for, as a small store that is sent along."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._asked: dict[tuple[str, str], None] = {}
        self._content: bytes | None = None

    def learn(self, asked: Iterable[Iterable[str]]) -> bool:
        """Look for rows; True where some were found that were not known."""
        self._asked |= dict.fromkeys((str(kind), str(key)) for kind, key in asked)
        found = False
        for kind, key in self._asked:
            if (kind, key) not in self._rows and (row := self._store.get(kind, key)) is not None:
                self._rows[kind, key] = row
                found, self._content = True, None
        return found

    def finished(self, keys: Iterable[str]) -> None:
        """Runs that were finished meanwhile are known from now on, and their like is not trained again."""
        self.learn((kind, key) for key in keys for kind in ("accuracy", "accuracy_classes", "predictions"))

    @property
    def content(self) -> bytes | None:
        """The file of the small store; None where it would be empty."""
        if not self._rows or self._content is not None:
            return self._content
        with tempfile.TemporaryDirectory(prefix="fgbench-store-") as folder:
            path = Path(folder) / "known.db"
            with Store(path) as small, small.together():
                for (kind, key), row in self._rows.items():
                    fields = {name: value for name, value in row.items() if name != "environment"}
                    small.add(kind, key, fields, row["environment"])
            self._content = path.read_bytes()
        return self._content


def take_over(store: Store, content: bytes) -> None:
    """Take over the rows of a node's store."""
    with tempfile.TemporaryDirectory(prefix="fgbench-store-") as folder:
        path = Path(folder) / "rows.db"
        path.write_bytes(content)
        with Store(path, read_only=True) as other:
            store.merge(other)


def planned_by(
    nodes: Nodes, module: str, request: Message, files: Files, known: KnownRows, on_problem: OnProblem
) -> Message:
    """Have every node plan, which looks for the data there; the answer that they agree in.

    Raises:
        FgbenchError: No node can train anything of the request.

    """
    together = nodes.together()  # one process plans, on such an accelerator as the others will train on
    alone = {**together, "processes": 1} if together else {}
    while True:
        fields = {"module": module, "do": "plan", "request": request, "files": files, "known": known.content}
        answers = nodes.ask_all("train_together" if together else "train", {**fields, **alone}, on_problem)
        if not known.learn(pair for answer in answers.values() for pair in answer["asked"]):
            break
    first = next(iter(answers.values()))
    for place, answer in answers.items():
        same = all(_told(answer)[name] == _told(first)[name] for name in _told(first))
        nodes.kinds[place] = KIND if same else "other"
        if not same:
            what = f"node {place} is left out: it would train other runs, in another precision or from other data"
            on_problem(CannotMeasureError(what))
    return first


def _told(answer: Message) -> dict[str, str]:
    """The part of a plan in which nodes must agree."""
    return {
        name: json.dumps(value, sort_keys=True, default=str)
        for name, value in answer.items()
        if name not in ("store", "problems")
    }


def under_way_in_words(under_way: int, left: int) -> str:
    """How many runs are under way on the nodes, and how many wait."""
    return f"{under_way} {'run' if under_way == 1 else 'runs'} under way, {left} left"


@dataclass(slots=True)
class Ended:
    """How work on a cluster ended."""

    interrupted: bool = False
    failure: FgbenchError | None = None


@contextmanager
def ending(nodes: Nodes, on_interrupt: Callable[[], None]) -> Iterator[Ended]:
    """End what is under way on all nodes, however the block ends; Ctrl-C and errors are noted."""
    ended = Ended()
    try:
        yield ended
    except KeyboardInterrupt:
        on_interrupt()
        ended.interrupted = True
    except FgbenchError as error:
        ended.failure = error
    finally:
        nodes.close()


def at_home(request: Message) -> Message:
    """A request whose paths mean the same from any folder: data and weights lie there on every node."""
    return {**request, **{name: str(Path(request[name]).absolute()) for name in PATHS if request[name] is not None}}
