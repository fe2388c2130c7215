"""A trial, seen from the inside: foreign code is imported in a worker that does nothing else, and looked at."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgbench.errors import BrokenPluginError
from fgbench.plugins.files import PluginFile
from fgbench.plugins.kinds import Kind, kind_of
from fgbench.workers.channel import Message
from fgbench.workers.places import move_to
from fgbench.workers.single import bound_files, serve_one
from fgbench_selectors.entries import Entry
from fgbench_selectors.interrupts import interrupts_noted
from fgbench_selectors.plugins import blame, describe, load_point

END_S = 1.0  # that a thread is waited for which is about to end
STREAMS = {0: "standard input", 1: "standard output", 2: "standard error"}
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


def serve(sock: Any) -> None:
    """The life of a worker: one trial."""
    serve_one(sock, {"try": attempt})


def attempt(
    *, place: Message, file: str | None = None, group: str = "", name: str = "", origin: str = "", value: str = ""
) -> Message:
    """Import a file, or what an entry point names: what it holds, or why it cannot be used.

    ``{"found": [{"group", "name", "why", "facts"}, …]}``, or ``{"why": …}`` with the ``name`` of what is broken. The
    process is for nothing else afterwards.
    """
    move_to(place)
    bound_files()
    os.register_at_fork(after_in_parent=_count_fork)
    here = os.getpid()
    try:
        with interrupts_noted(), untouched():
            found = (
                _in_file(file) if file is not None else [_looked_at(kind_of(group), name, origin, load_point(value))]
            )
            json.dumps(found)  # nothing of it stays foreign
    except BrokenPluginError as error:
        return {"name": error.name, "why": error.why}
    except Trespass as error:
        return {"name": name or Path(str(file)).name, "why": str(error)}
    except BaseException as error:
        if os.getpid() != here:
            os._exit(1)
        return {"name": name or Path(str(file)).name, "why": describe(error)}
    return {"found": found}


def _in_file(file: str) -> list[Message]:
    objects = PluginFile(Path(file)).objects
    return [_looked_at(kind_of(group), name, file, value) for (group, name), value in objects.items()]


def _looked_at(kind: Kind, name: str, origin: str, value: object) -> Message:
    """Whether an object keeps the contract of its kind, and what is shown of it."""
    entry = Entry(name, origin, lambda: value)
    found: Message = {"group": kind.group, "name": name, "why": None, "facts": {}}
    try:
        found["why"] = kind.registry.breach(entry, value)
        if found["why"] is None:
            with blame(name, origin):
                found["facts"] = {field: _plain(field, fact) for field, fact in kind.facts(value).items()}
    except BrokenPluginError as error:
        found["why"] = error.why
    return found


def _plain(field: str, fact: object) -> str | int:
    """A fact without anything of its class: words or a whole number."""
    if isinstance(fact, str):
        return str.__str__(fact)
    if isinstance(fact, int) and not isinstance(fact, bool):
        return int.__int__(fact)
    raise TypeError(f"its {field!r} must be words or a whole number, and is a {type(fact).__name__}")


class Trespass(Exception):  # noqa: N818  # it is what was seen
    """Foreign code has done to the whole process what nobody asked it for."""


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Raise :class:`Trespass` where the code inside changes the process that it is loaded into."""
    threads, handlers, folder, environment = set(threading.enumerate()), _handlers(), _folder(), dict(os.environ)
    forks, here = _forks, os.getpid()
    yield
    if os.getpid() != here:
        os._exit(1)
    for thread in set(threading.enumerate()) - threads:
        if not thread.daemon:
            thread.join(END_S)
    left = [thread for thread in set(threading.enumerate()) - threads if not thread.daemon]
    changed = [name for name, handler in _handlers().items() if handler is not handlers[name]]
    closed = [what for number, what in STREAMS.items() if not _is_open(number)]
    lost = [name for name in environment if name not in os.environ]
    ours = [name for name in os.environ if name.startswith("FGBENCH_") and os.environ[name] != environment.get(name)]
    for seen, what in (
        (_forks > forks, "it forks this process"),
        (left, f"it leaves {len(left)} threads running that keep the program from ending"),
        (changed, f"it changes what happens at the signals {', '.join(changed)}"),
        (signal.getitimer(signal.ITIMER_REAL)[0] > 0, "it sets an alarm"),
        (_folder() != folder, "it changes the working directory"),
        (closed, f"it closes {' and '.join(closed)}"),
        (lost, f"it takes away the environment variables {', '.join(sorted(lost)[:3])}"),
        (ours, f"it changes the environment variables {', '.join(sorted(ours)[:3])}"),
    ):
        if seen:
            raise Trespass(f"{what} while it is imported")


def _handlers() -> dict[str, Any]:
    """What happens at every signal that has a name."""
    return {each.name: signal.getsignal(each) for each in signal.Signals if each in signal.valid_signals()}


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # Path.cwd raises the same where it is gone
    except OSError:
        return None


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
