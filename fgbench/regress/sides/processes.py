"""Other programs: each runs in a session of its own, with a time limit, and leaves nothing when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Becomes the program after it asked the system to be killed with its parent; that outlasts exec (Linux).
_DIES_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a program, and its output."""

    code: int | None  # negative: the signal that killed it; None: it was killed at its time limit
    stdout: str
    stderr: str


def run_program(words: Sequence[str], *, folder: Path, environment: Mapping[str, str], limit_s: float) -> Ended:
    """Run a program and wait for it.

    When it has ended, the rest of its session is killed; at the limit and on Ctrl-C, all that it started.

    Args:
        words: The program and its arguments.
        folder: The working directory.
        environment: All environment variables.
        limit_s: Seconds that it may take.

    Returns:
        The end and the output. A program that cannot be started has the code 127 and the reason in ``stderr``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # a pipe would wait for what it leaves
        try:
            child = subprocess.Popen(
                _with_lifeline(words),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for us, and we end it
            )
        except OSError as error:
            return Ended(code=127, stdout="", stderr=f"{words[0]}: {error.strerror or error}")
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(limit_s)
        finally:
            with undisturbed():
                _kill_all(child)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
        return Ended(code=code, stdout=texts[0], stderr=texts[1])


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """Kill a program, its session, and what it started in other sessions while it still runs."""
    below: list[psutil.Process] = []
    if child.returncode is None:
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(child.pid).children(recursive=True)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    for process in below:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it never kills a later process of the same number
            process.kill()
    child.wait()


def _with_lifeline(words: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return list(words)
    return [sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT, str(os.getpid()), *words]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C inside, so that a second one does not interrupt the cleaning up after the first one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:  # else it is none of Python's
            signal.signal(signal.SIGINT, before)
