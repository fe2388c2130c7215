"""Foreign code is tried in workers that may die of it, before it is loaded into a process that must not.

Each object or file has a worker of its own, forked from one process that has torch loaded where that is needed. A trial
takes 60 s at most; the environment variable FGBENCH_PLUGIN_TIMEOUT sets another limit. What passed is remembered, see
:mod:`fgbench.plugins.memory`, until its code or a version changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fgbench.errors import BrokenPluginError
from fgbench.plugins import Outcome, outcomes
from fgbench.plugins.kinds import Kind
from fgbench.plugins.memory import recall, remember, state_of_file, state_of_point
from fgbench.quantities import (
    duration,
)
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, WorkerPool, shared_pools
from fgbench_selectors.entries import Entry

TIMEOUT, DEFAULT = "FGBENCH_PLUGIN_TIMEOUT", "60s"
TORCH = ("fgbench_selectors.selector", "fgbench.models.model")  # what selectors and models import anyway
LOADED_FOR_REPORTS = ("fgbench.reports", "pandas", "matplotlib.figure", "fgbench_reports.page.page")
WORDS_OF_TORCH = (b"torch", b"fgbench_selectors", b"fgbench.models", b"timm")


def why_not(kind: Kind, entries: Sequence[Entry]) -> Mapping[str, str]:
    """Why entries of others must not be loaded, by name; those that may be are not in it.

    Nobody is tried outside of :func:`fgbench.plugins.tried_first`.
    """
    known = outcomes()
    if known is None:
        return {}
    known |= try_points(kind, [entry for entry in entries if (kind.group, entry.name) not in known])
    found = {entry.name: known.get((kind.group, entry.name), Outcome()).why for entry in entries}
    return {name: why for name, why in found.items() if why is not None}


def try_points(kind: Kind, entries: Sequence[Entry], host: WorkerPool | None = None) -> dict[tuple[str, str], Outcome]:
    """What is to be said of entry points of others, by group and name."""
    tried = [entry for entry in entries if entry.value and not entry.is_own]
    found: dict[tuple[str, str], Outcome] = {}
    for entry, answer in zip(tried, _answers([_asked(kind, entry) for entry in tried], host), strict=True):
        found |= _read(answer) or {(kind.group, entry.name): Outcome(why=answer["why"])}
    return found


def try_files(
    paths: Iterable[str], host: WorkerPool | None = None
) -> dict[str, dict[tuple[str, str], Outcome] | BrokenPluginError]:
    """What files define, or why nothing of them can be used."""
    paths = list(paths)
    answers = _answers([_asked_of_file(path) for path in paths], host)
    return {
        path: _read(answer) or BrokenPluginError(answer.get("name") or Path(path).name, path, answer["why"])
        for path, answer in zip(paths, answers, strict=True)
    }


def _read(answer: Message) -> dict[tuple[str, str], Outcome]:
    return {
        (found["group"], found["name"]): Outcome(why=found["why"], facts=found["facts"])
        for found in answer.get("found", ())
    }


def _asked(kind: Kind, entry: Entry) -> Message:
    """What is asked of a worker about an entry point."""
    about = {"group": kind.group, "name": entry.name, "origin": entry.origin, "value": entry.value}
    return {"about": about, "state": state_of_point(about), "torch": kind.needs_torch}


def _asked_of_file(path: str) -> Message:
    """What is asked of a worker about a file."""
    try:
        content = Path(path).read_bytes()
    except OSError:  # the worker says so
        return {"about": {"file": path}, "state": None, "torch": False}
    needs_torch = any(word in content for word in WORDS_OF_TORCH)
    return {"about": {"file": path}, "state": state_of_file(path, content), "torch": needs_torch}


def _answers(asked: Sequence[Message], host: WorkerPool | None = None) -> list[Message]:
    """The answers to questions, in their order: remembered ones, and those of workers."""
    limit = limit_s()
    answers = []
    with shared_pools() as pool_for:
        for question in asked:
            answer = recall(question["state"])
            if answer is None or not _is_answer(answer):
                forks = host or pool_for("fgbench.plugins.trying", TORCH if question["torch"] else ())
                answer = _try(forks, question["about"], limit)
                if all(found["why"] is None for found in answer.get("found", [answer])):
                    remember(question["state"], answer)
            answers.append(answer)
    return answers


def limit_s() -> float:
    """How long foreign code may take. Raises :class:`FgbenchError` for a variable that says no time."""
    return duration(os.environ.get(TIMEOUT) or DEFAULT, TIMEOUT)


def failure_in_words(failure: WorkerFailed, late: str) -> str:
    """Why a worker has no answer; ``late`` where it took too long."""
    return f"{late}; {TIMEOUT}=5m would wait longer" if failure.status == "timeout" else failure.reason


def _try(host: WorkerPool, about: Message, limit: float) -> Message:
    """What a worker finds, or how it ended."""
    try:
        with host.fork() as worker:
            answer = worker.ask("try", limit, **about)
    except WorkerFailed as failure:
        return {"why": failure_in_words(failure, f"it is not imported within {limit:g} s")}
    return answer if _is_answer(answer) else {"why": "it wrote over what its trial found"}


def _is_answer(answer: Message) -> bool:
    """Whether a worker's words are those of :func:`fgbench.plugins.trying.attempt`."""
    if isinstance(answer.get("why"), str):
        return isinstance(answer.get("name"), str)
    found = answer.get("found")
    return (
        isinstance(found, list)
        and found != []
        and all(
            isinstance(each, dict)
            and isinstance(each.get("group"), str)
            and isinstance(each.get("name"), str)
            and isinstance(each.get("facts"), dict)
            and isinstance(each.get("why"), (str, type(None)))
            for each in found
        )
    )
