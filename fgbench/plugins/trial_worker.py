"""The trial of one plug-in, in a worker: import its code, check its contract, and see what it did to the process."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import json
import os
import pkgutil
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

END_S = 1.0  # time for a thread to end
STREAMS = {0: "standard input", 1: "standard output", 2: "standard error"}
LEAST_RECURSION = 500  # calls
FUNCTIONS = [  # functions that must not be replaced
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
    serve_one(messages, {"try": attempt, "build": build})


def build(model: str) -> Message:
    """Build the network of a function. The process serves nothing else afterwards.

    Args:
        model: ``file.py:function`` or ``package.module:function``.

    Returns:
        ``{"why": …}``, why it must not be called in a command: None where it can, and where it raises an error, as
        other options may suit it.

    """
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # it may download weights
    parent = os.getpid()
    try:
        pkgutil.resolve_name("fgbench.models.build:create_model")(model)
    except BaseException as error:
        cause = error.__cause__ if isinstance(error, BrokenPluginError) else error
        ends = isinstance(cause, EOFError) or not (cause is None or isinstance(cause, Exception))
        return {"why": describe(cause) if ends and cause is not None else None}
    finally:
        if os.getpid() != parent:
            os._exit(1)
    return {"why": None}


def attempt(*, file: str | None = None, group: str = "", name: str = "", origin: str = "", value: str = "") -> Message:
    """Import a plug-in file, or the object of an entry point. The process serves nothing else afterwards.

    Args:
        file: Path of the file; None for an entry point.
        group: Entry-point group.
        name: Name of the entry point.
        origin: Its distribution.
        value: ``package.module:Class``.

    Returns:
        ``{"objects": [{"group", "name", "why", "facts"}, …], "files": …}`` with the files that were loaded, or
        ``{"name": …, "why": …}`` where the plug-in cannot be used.

    """
    bound_files()
    os.register_at_fork(after_in_parent=_count_fork)
    atexit._clear()
    parent = os.getpid()
    try:
        with interrupts_noted(), untouched():
            objects = (
                _check_file(file) if file is not None else [_check(kind_of(group), name, origin, load_point(value))]
            )
            json.dumps(objects)  # raises where an object of the plug-in is left in it
        _end()
        return {"objects": objects, "files": loaded_files()}
    except BrokenPluginError as error:
        return {"name": error.name, "why": error.why}
    except ProcessChangedError as error:
        return {"name": name or Path(str(file)).name, "why": str(error)}
    except BaseException as error:
        if os.getpid() != parent:
            os._exit(1)
        return {"name": name or Path(str(file)).name, "why": describe(error)}


def _check_file(file: str) -> list[Message]:
    objects = PluginFile(Path(file)).objects
    return [_check(kind_of(group), name, file, value) for (group, name), value in objects.items()]


def _check(kind: Kind, name: str, origin: str, value: object) -> Message:
    """The facts of an object, or why it breaks the contract of its kind."""
    entry = Entry(name, origin, lambda: value)
    result: Message = {"group": kind.group, "name": name, "why": None, "facts": {}}
    try:
        result["why"] = kind.registry.breach(entry, value)
        if result["why"] is None:
            with blame(name, origin):
                result["facts"] = {field: _plain(field, fact) for field, fact in kind.facts(value).items()}
    except BrokenPluginError as error:
        result["why"] = error.why
    return result


def _plain(field: str, fact: object) -> str | int:
    """A fact as a plain str or int, without methods of the plug-in."""
    if isinstance(fact, str):
        return str.__str__(fact)
    if isinstance(fact, int) and not isinstance(fact, bool):
        return int.__int__(fact)
    raise TypeError(f"its {field!r} must be words or a whole number, and is a {type(fact).__name__}")


class ProcessChangedError(Exception):
    """The code of a plug-in changed the process that imported it."""


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """A context in which code must not change the process.

    Raises:
        ProcessChangedError: At the end, where the code inside forked, left threads, or changed signals, streams,
            limits, environment variables or modules.

    """
    threads, environment, before = set(threading.enumerate()), dict(os.environ), _state()
    forks, parent, paths = _forks, os.getpid(), list(sys.path)
    own_modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OURS}
    yield
    if os.getpid() != parent:
        os._exit(1)
    for thread in set(threading.enumerate()) - threads:
        if not thread.daemon:
            thread.join(END_S)
    modules = sorted(name for name, value in own_modules.items() if sys.modules.get(name) is not value)
    running = [thread for thread in set(threading.enumerate()) - threads if not thread.daemon]
    changed = [what for what, value in _state().items() if value != before[what]]
    closed = [what for number, what in STREAMS.items() if not _is_open(number)]
    removed = sorted(name for name in environment if name not in os.environ)
    own = sorted(n for n in os.environ if n.startswith("FGBENCH_") and os.environ[n] != environment.get(n))
    for happened, what in (
        (_forks > forks, "it forks this process"),
        (running, f"it leaves {len(running)} threads running that keep the program from ending"),
        (changed, f"it changes {', '.join(changed[:3])}"),
        (closed, f"it closes {' and '.join(closed)}"),
        (removed, f"it takes away the environment variables {', '.join(removed[:3])}"),
        (set(paths) - set(sys.path), "it takes folders out of sys.path"),
        (modules, f"it takes away the modules {', '.join(modules[:3])}"),
        (own, f"it changes the environment variables {', '.join(own[:3])}"),
    ):
        if happened:
            raise ProcessChangedError(f"{what} while it is imported")


def _state() -> dict[str, object]:
    """Settings of the process that other code relies on, by name."""
    state: dict[str, object] = {
        f"what happens at {number.name}": id(signal.getsignal(number))
        for number in signal.Signals
        if number in signal.valid_signals()
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
            resource.getrlimit(limit) for limit in (resource.RLIMIT_CPU, resource.RLIMIT_AS)
        ],
        "where Python prints": [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "which warnings are errors": [entry for entry in warnings.filters if entry[0] == "error"],
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
    """Run the functions that the code registered with atexit; raise where one ends the process."""
    raised: list[BaseException | None] = []
    sys.unraisablehook = lambda unraisable: raised.append(unraisable.exc_value)
    atexit._run_exitfuncs()
    if exits := [error for error in raised if error is not None and not isinstance(error, Exception)]:
        raise ProcessChangedError(f"{describe(exits[0])} when the program ends")
