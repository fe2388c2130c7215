"""Trials of plug-ins: a worker imports the code of a plug-in before a command does, and ends if the code breaks it.

Each entry point or file has a worker of its own, forked from a process that has imported torch where that is needed. A
trial takes 60 s at most; the environment variable FGBENCH_PLUGIN_TIMEOUT sets another limit. A trial that passed stays
in the cache (:mod:`fgbench.plugins.trial_cache`) until the code or a version changes. A function that returns a network
is called in its trial, within 5 minutes, and in every command: what it reads is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import BrokenPluginError
from fgbench.plugins import Outcome, outcomes
from fgbench.plugins.trial_cache import recall, remember, state_of_file, state_of_point
from fgbench.quantities import duration
from fgbench.results.record_base import Status
from fgbench.results.reduced_name import is_function
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, WorkerPool, shared_pools
from fgbench_selectors.entries import Entry

if TYPE_CHECKING:
    from fgbench.plugins.kinds import Kind

TIMEOUT, DEFAULT = "FGBENCH_PLUGIN_TIMEOUT", "60s"
FUNCTION_DEFAULT = "5m"  # of a function, which may load weights
PRELOADED = ("fgbench_selectors.selector", "fgbench.models.model")  # modules that selectors and models import anyway
WORDS_OF_TORCH = (b"torch", b"fgbench_selectors", b"fgbench.models", b"timm")
WORKER = "fgbench.plugins.trial_worker"


def why_not(kind: Kind, entries: Sequence[Entry]) -> Mapping[str, str]:
    """Try plug-ins that were not tried yet. Outside of :func:`fgbench.plugins.tried_first` none is tried.

    Args:
        kind: Their kind.
        entries: Their entries.

    Returns:
        By name, why a plug-in cannot be used.

    """
    known = outcomes()
    if known is None:
        return {}
    new = [entry for entry in entries if (kind.group, entry.name) not in known]
    with shared_pools():
        known |= try_points(kind, new)
        known |= {(kind.group, entry.name): _try_function(entry) for entry in new if is_function(entry.name)}
    reasons = {entry.name: known.get((kind.group, entry.name), Outcome()).why for entry in entries}
    return {name: why for name, why in reasons.items() if why is not None}


def try_points(kind: Kind, entries: Sequence[Entry], pool: WorkerPool | None = None) -> dict[tuple[str, str], Outcome]:
    """Try entry points.

    Args:
        kind: Their kind.
        entries: Entries; those of fgbench, and those without an entry point that can be loaded, are left out.
        pool: Forks the workers; by default a pool of its own.

    Returns:
        Outcomes by entry-point group and name.

    """
    foreign = [entry for entry in entries if entry.value and not entry.is_own]
    outcomes_by_name: dict[tuple[str, str], Outcome] = {}
    for entry, answer in zip(foreign, _answers([_point_request(kind, entry) for entry in foreign], pool), strict=True):
        outcomes_by_name |= _outcomes_of(answer) or {(kind.group, entry.name): Outcome(why=answer["why"])}
    return outcomes_by_name


def _try_function(entry: Entry) -> Outcome:
    """Build the network of a function once. An error that it raises is met again by whoever calls it."""
    limit = limit_s(FUNCTION_DEFAULT)
    try:
        with shared_pools() as pool_for, pool_for(WORKER, PRELOADED).fork() as worker:
            answer = worker.ask("build", limit, model=entry.name)
    except WorkerFailed as failure:
        return Outcome(why=failure_in_words(failure, f"it is not built within {limit:g} s"))
    return Outcome(why=answer.get("why"))


def try_files(
    paths: Iterable[str], pool: WorkerPool | None = None
) -> dict[str, dict[tuple[str, str], Outcome] | BrokenPluginError]:
    """Try plug-in files.

    Args:
        paths: Paths of the files.
        pool: Forks the workers; by default a pool of its own.

    Returns:
        By path, outcomes by entry-point group and name, or the error of a file that cannot be used.

    """
    paths = list(paths)
    answers = _answers([_file_request(path) for path in paths], pool)
    return {
        path: _outcomes_of(answer) or BrokenPluginError(answer.get("name") or Path(path).name, path, answer["why"])
        for path, answer in zip(paths, answers, strict=True)
    }


def _outcomes_of(answer: Message) -> dict[tuple[str, str], Outcome]:
    return {
        (item["group"], item["name"]): Outcome(why=item["why"], facts=item["facts"])
        for item in answer.get("objects", ())
    }


def _point_request(kind: Kind, entry: Entry) -> Message:
    """The request for the trial of an entry point."""
    about = {"group": kind.group, "name": entry.name, "origin": entry.origin, "value": entry.value}
    return {"about": about, "state": state_of_point(about), "torch": kind.needs_torch}


def _file_request(path: str) -> Message:
    """The request for the trial of a file."""
    try:
        content = Path(path).read_bytes()
    except OSError:  # the worker reports it
        return {"about": {"file": path}, "state": None, "torch": False}
    needs_torch = any(word in content for word in WORDS_OF_TORCH)
    return {"about": {"file": path}, "state": state_of_file(path, content), "torch": needs_torch}


def _answers(requests: Sequence[Message], pool: WorkerPool | None = None) -> list[Message]:
    """The answers to requests, in their order, from the cache or from workers."""
    limit = limit_s()
    answers = []
    with shared_pools() as pool_for:
        for request in requests:
            answer = recall(request["state"])
            if answer is None or not _is_answer(answer):
                workers = pool or pool_for(WORKER, PRELOADED if request["torch"] else ())
                answer = _try(workers, request["about"], limit)
                if all(item["why"] is None for item in answer.get("objects", [answer])):
                    remember(request["state"], answer)
            answers.append(answer)
    return answers


def limit_s(default: str = DEFAULT) -> float:
    """The time limit of a trial in seconds.

    Args:
        default: The limit where the environment variable is not set.

    Raises:
        FgbenchError: If FGBENCH_PLUGIN_TIMEOUT is no time.

    """
    return duration(os.environ.get(TIMEOUT) or default, TIMEOUT)


def failure_in_words(failure: WorkerFailed, late: str) -> str:
    """Why a worker has no answer.

    Args:
        failure: How the worker ended.
        late: The words for a timeout.

    """
    return f"{late}; {TIMEOUT}=5m would wait longer" if failure.status is Status.TIMEOUT else failure.reason


def _try(pool: WorkerPool, about: Message, limit: float) -> Message:
    """The answer of a worker, or the reason why it has none."""
    try:
        with pool.fork() as worker:
            answer = worker.ask("try", limit, **about)
    except WorkerFailed as failure:
        return {"why": failure_in_words(failure, f"it is not imported within {limit:g} s")}
    return answer if _is_answer(answer) else {"why": "it wrote over what its trial found"}


def _is_answer(answer: Message) -> bool:
    """Whether a message has the form of the results of :func:`fgbench.plugins.trial_worker.attempt`."""
    if isinstance(answer.get("why"), str):
        return isinstance(answer.get("name"), str)
    objects = answer.get("objects")
    return (
        isinstance(objects, list)
        and objects != []
        and all(
            isinstance(item, dict)
            and isinstance(item.get("group"), str)
            and isinstance(item.get("name"), str)
            and isinstance(item.get("facts"), dict)
            and isinstance(item.get("why"), (str, type(None)))
            for item in objects
        )
    )
