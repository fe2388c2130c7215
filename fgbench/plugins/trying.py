"""A trial, seen from the inside: foreign code is imported in a worker that does nothing else, and looked at."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import json
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from fgbench.errors import BrokenPluginError
from fgbench.plugins.code import OURS, loaded_files
from fgbench.plugins.files import PluginFile
from fgbench.plugins.kinds import Kind, kind_of
from fgbench.workers.forking import bound_files, serve_one
from fgbench.workers.messages import Message, Messages
from fgbench_selectors.entries import Entry
from fgbench_selectors.interrupts import interrupts_noted
from fgbench_selectors.plugins import blame, describe, load_point

END_S = 1.0  # that a thread is waited for which is about to end
STREAMS = {0: "standard input", 1: "standard output", 2: "standard error"}
LEAST_RECURSION = 500  # calls
FUNCTIONS = [  # that a program is made of
    (module, name)
    for module in (builtins, os, sys)
    for name, value in list(vars(module).items())
    if callable(value) and not name.endswith("hook")
]
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


def serve(messages: Messages) -> None:
    """Answer one request for a trial, and end."""
    serve_one(messages, {"try": attempt})


def attempt(*, file: str | None = None, group: str = "", name: str = "", origin: str = "", value: str = "") -> Message:
    """Import a file, or what an entry point names: what it holds, or why it cannot be used.

    ``{"found": [{"group", "name", "why", "facts"}, …], "files": …}`` with all that was loaded for it, or
    ``{"why": …}`` with the ``name`` of what is broken. The process is for nothing else afterwards.
    """
    bound_files()
    os.register_at_fork(after_in_parent=_count_fork)
    atexit._clear()
    here = os.getpid()
    try:
        with interrupts_noted(), untouched():
            found = (
                _in_file(file) if file is not None else [_looked_at(kind_of(group), name, origin, load_point(value))]
            )
            json.dumps(found)  # nothing of it stays foreign
        _end()
        return {"found": found, "files": loaded_files()}
    except BrokenPluginError as error:
        return {"name": error.name, "why": error.why}
    except Trespass as error:
        return {"name": name or Path(str(file)).name, "why": str(error)}
    except BaseException as error:
        if os.getpid() != here:
            os._exit(1)
        return {"name": name or Path(str(file)).name, "why": describe(error)}


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
    threads, environment, before = set(threading.enumerate()), dict(os.environ), _state()
    forks, here, paths = _forks, os.getpid(), list(sys.path)
    ours_before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OURS}
    yield
    if os.getpid() != here:
        os._exit(1)
    for thread in set(threading.enumerate()) - threads:
        if not thread.daemon:
            thread.join(END_S)
    gone = sorted(name for name, value in ours_before.items() if sys.modules.get(name) is not value)
    left = [thread for thread in set(threading.enumerate()) - threads if not thread.daemon]
    changed = [what for what, value in _state().items() if value != before[what]]
    closed = [what for number, what in STREAMS.items() if not _is_open(number)]
    lost = sorted(name for name in environment if name not in os.environ)
    ours = sorted(n for n in os.environ if n.startswith("FGBENCH_") and os.environ[n] != environment.get(n))
    for seen, what in (
        (_forks > forks, "it forks this process"),
        (left, f"it leaves {len(left)} threads running that keep the program from ending"),
        (changed, f"it changes {', '.join(changed[:3])}"),
        (closed, f"it closes {' and '.join(closed)}"),
        (lost, f"it takes away the environment variables {', '.join(lost[:3])}"),
        (set(paths) - set(sys.path), "it takes folders out of sys.path"),
        (gone, f"it takes away the modules {', '.join(gone[:3])}"),
        (ours, f"it changes the environment variables {', '.join(ours[:3])}"),
    ):
        if seen:
            raise Trespass(f"{what} while it is imported")


def _state() -> dict[str, object]:
    """What the rest of a program relies on, by name."""
    state: dict[str, object] = {
        f"what happens at {each.name}": id(signal.getsignal(each))
        for each in signal.Signals
        if each in signal.valid_signals()
    }
    mask = os.umask(0o077)
    os.umask(mask)
    return state | {
        "the signals that are blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "the time of an alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "the working directory": _folder(),
        "who may read new files": mask,
        "the limits of recursion": sys.getrecursionlimit() < LEAST_RECURSION,
        "the limits of time or memory": [
            resource.getrlimit(each) for each in (resource.RLIMIT_CPU, resource.RLIMIT_AS)
        ],
        "where Python prints": [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "which warnings are errors": [each for each in warnings.filters if each[0] == "error"],
        "torch's default dtype, device or gradients": _torch_defaults(),
        **{f"{module.__name__}.{name}": id(vars(module).get(name)) for module, name in FUNCTIONS},
    }


def _torch_defaults() -> tuple[str, str, bool]:
    torch = sys.modules.get("torch")
    if torch is None:
        return "torch.float32", "cpu", True
    return str(torch.get_default_dtype()), str(torch.get_default_device()), bool(torch.is_grad_enabled())


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


def _end() -> None:
    """Do what the code wants done when a program ends. Raises :class:`Trespass` where that leaves it by itself."""
    raised: list[BaseException | None] = []
    sys.unraisablehook = lambda seen: raised.append(seen.exc_value)
    atexit._run_exitfuncs()
    if odd := [error for error in raised if error is not None and not isinstance(error, Exception)]:
        raise Trespass(f"{describe(odd[0])} when the program ends")
