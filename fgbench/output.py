"""Where results leave the program: standard output, or a file that is written whole or not at all."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from fgbench.errors import FgbenchError
from fgbench_reports.escaping import without_commands

STDOUT = ("-", "/dev/stdout")
LOGS = ("GITHUB_ACTIONS", "TF_BUILD")  # whose jobs' output is read for commands: GitHub's, Azure's
BROKEN_PIPE_EXIT_CODE = 141  # 128 + SIGPIPE, as other programs leave when their reader is gone


def check_output(path: Path | None) -> None:
    """Refuse a path that cannot be written before anything is measured for it."""
    if path is None or str(path) in STDOUT:
        return
    try:
        _check(path)
    except OSError as error:
        raise FgbenchError("cannot write to", str(path), error.strerror or str(error)) from error


def _check(path: Path) -> None:
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        target.lstat()  # a name that is too long says so here; later it would be after the work
    if target.is_dir():
        raise FgbenchError("cannot write to", str(path), "it is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FgbenchError("cannot write to", str(path), f"there is no folder {str(path.parent)!r}; make it first")
    place = target if target.exists() and not _is_regular(target) else target.parent
    if not os.access(place, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise FgbenchError("cannot write to", str(path), "permission is missing")


class _Aside:
    """Stands in for standard output and is stderr in everything but ``close``, which a plug-in may call."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def close(self) -> None:
        """Stay open: the complaints are still to come."""


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Send what libraries, plug-ins and their child processes print to stderr: standard output is for the result."""
    kept = _copy_of_stdout()
    try:
        if kept is not None:
            with suppress(OSError):  # stderr is closed
                os.dup2(2, 1)
        with redirect_stdout(cast(TextIO, _Aside())):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _copy_of_stdout() -> int | None:
    try:
        return os.dup(1)
    except OSError:  # it is closed
        return None


def emit(text: str, path: Path | None = None) -> None:
    """Write text to a file, whole or not at all, or to standard output, where a CI finds no command in it."""
    emit_as("table", text, path)


def emit_as(style: str, text: str, path: Path | None = None) -> None:
    """Write text of a format, or of "annotations", which are commands that are meant.

    CSV is for programs, and holds data as it is in files and pipes. On a terminal, and in a job of a CI that reads
    what passes by for commands, it holds visible text: there, only a file is exact.
    """
    mode = _mode(path)
    if style == "csv" and _is_shown(mode):
        from fgbench_reports.render import visible_csv

        text = visible_csv(text)
    elif style not in ("csv", "annotations") and not stat.S_ISREG(mode):
        text = without_commands(text)
    if path is None or str(path) in STDOUT:
        _to_stdout(text)
    else:
        emit_bytes(text.encode("utf-8"), path)


def _mode(path: Path | None) -> int:
    """What kind of a file is written to; of one that is not there yet, a regular one."""
    try:
        if path is None or str(path) in STDOUT:
            return os.fstat(sys.stdout.fileno()).st_mode
        return path.stat().st_mode if path.exists() else stat.S_IFREG
    except (AttributeError, OSError, ValueError):  # standard output is closed, or is not of the system
        return 0


def _is_shown(mode: int) -> bool:
    """Whether people see what is written there: on a terminal, or in the log of a job, be it through a pipe."""
    return stat.S_ISCHR(mode) or (not stat.S_ISREG(mode) and any(os.environ.get(name) for name in LOGS))


def emit_bytes(data: bytes, path: Path) -> None:
    """Write what is no text, such as a picture, to a file, whole or not at all, or to standard output."""
    if str(path) in STDOUT:
        _to_stdout(data)
        return
    try:
        if path.exists() and not _is_regular(path):
            path.write_bytes(data)  # a pipe or a device: there is nothing to replace
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise FgbenchError("cannot write to", str(path), error.strerror or str(error)) from error


def _replace(target: Path, data: bytes) -> None:
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=".fgbench."
    )  # its own name may be as long as a name can be
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)


def _to_stdout(text: str | bytes) -> None:
    try:
        if isinstance(text, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            return
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that knows no "·" still shows the figures
        sys.stdout.write(text)
        sys.stdout.flush()
    except (AttributeError, ValueError) as error:  # there is none, or a plug-in closed it
        raise FgbenchError("standard output is closed", do="give --output FILE") from error
    except BrokenPipeError:
        leave_without_reader()
    except OSError as error:
        _drop_stdout()
        raise FgbenchError("cannot write to standard output:", error.strerror or str(error)) from error


def leave_without_reader() -> NoReturn:
    """Nobody reads any more, as after ``| head``: that is no error worth a word."""
    _drop_stdout()
    raise SystemExit(BROKEN_PIPE_EXIT_CODE) from None


def _drop_stdout() -> None:
    """Python would complain once more while it closes standard output: give it another one."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
