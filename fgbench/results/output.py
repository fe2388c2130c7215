"""Where results leave the program: standard output, or a file that is written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from fgbench.errors import FgbenchError
from fgbench.results.escaping import visible_csv, without_commands

STDOUT = ("-", "/dev/stdout")
READER_S = 10.0  # that a named pipe may stay without a reader
LOGS = ("GITHUB_ACTIONS", "TF_BUILD", "GITLAB_CI", "TEAMCITY_VERSION")  # whose jobs' output is read for commands
BROKEN_PIPE_EXIT_CODE = 141  # 128 + SIGPIPE, as other programs leave when their reader is gone

_NO_PERMISSION = "permission is missing"
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(\d+)(?:/task/\d+)?/fd")  # folders; on Linux /dev/fd leads to the other
_MOST_LINKS = 40  # as many as Linux follows
_WRONG_KINDS = {
    stat.S_IFDIR: "it is a folder; name a file in it",
    stat.S_IFBLK: "it is a disk; name a file",
    stat.S_IFSOCK: "it is a socket; name a file or a pipe",
}


def check_output(path: Path | None) -> None:
    """Refuse a path that cannot be written before anything is measured for it."""
    if path is None or _is_stdout(path):
        return
    with _said_of(path):
        if (descriptor := descriptor_of(path)) is not None:
            _check_descriptor(descriptor, path)
        else:
            _check(path)


def check_folder(path: Path, *, parents: bool = True) -> None:
    """Refuse a folder that files cannot be written into; it need not be there, nor with ``parents`` those above it."""
    with _said_of(path):
        place = next(place for place in (path, *path.absolute().parents) if _exists(place))
        if not stat.S_ISDIR(place.stat().st_mode):
            raise FgbenchError("cannot write to", str(path), f"{str(place)!r} is no folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise FgbenchError("cannot write to", str(path), _NO_PERMISSION)
        if not parents and place not in (path, path.absolute().parent):
            folder = str(path.absolute().parent)
            raise FgbenchError("cannot write to", str(path), f"there is no folder {folder!r}; make it first")
        for name in path.absolute().parts[len(place.absolute().parts) :]:
            _found(place / name)  # whether the system takes the names that are still to be made


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are not there."""
    with _said_of(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """What the system answers is said in one line, with the path."""
    try:
        yield
    except (OSError, ValueError) as error:  # a null character is a wrong value
        raise FgbenchError("cannot write to", str(path), getattr(error, "strerror", None) or str(error)) from error


def _check(path: Path) -> None:
    target = Path(os.path.realpath(path))
    status = _found(target)  # a name that is too long says so here; later it would be after the work
    if status is not None and (why := _WRONG_KINDS.get(stat.S_IFMT(status.st_mode))):
        raise FgbenchError("cannot write to", str(path), why)
    if not target.parent.is_dir():
        folder = str(target.parent if path.is_symlink() else path.parent)
        raise FgbenchError("cannot write to", str(path), f"there is no folder {folder!r}; make it first")
    place = target.parent if status is None or stat.S_ISREG(status.st_mode) else target
    if not os.access(place, os.W_OK) or (status is not None and not os.access(target, os.W_OK)):
        raise FgbenchError("cannot write to", str(path), _NO_PERMISSION)


def _found(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _exists(place: Path) -> bool:
    """As ``Path.exists``, but what may not be looked at, or leads in a circle, is no place that is free."""
    try:
        return _found(place) is not None
    except NotADirectoryError:  # it would be in a file, which comes next
        return False


def descriptor_of(path: Path) -> int | None:
    """The descriptor of this process that a path names, as ``/dev/fd/3`` or ``/dev/stdin``, by whatever link.

    Raises :class:`FgbenchError` for a regular file that is open in another process, whose place in it is not ours.
    """
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if path.name.isdecimal() and (named := _DESCRIPTORS.fullmatch(folder)):
            if named[1] in (None, str(os.getpid())):
                return int(path.name)
            if path.is_file():
                do = "it is open in another process; name the file itself"
                raise FgbenchError("cannot write to", str(path), do)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def _check_descriptor(descriptor: int, path: Path) -> None:
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except (OSError, OverflowError):
        raise FgbenchError("cannot write to", str(path), "no descriptor of this number is open") from None
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise FgbenchError("cannot write to", str(path), "it is open for reading alone")


def _is_stdout(path: Path) -> bool:
    return str(path) in STDOUT


class _Aside:
    """Stands in for standard output and is stderr in everything but ``close``, which a plug-in may call."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def close(self) -> None:
        """Stay open: the complaints are still to come."""


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Send what libraries, plug-ins and their child processes print to stderr: standard output is for the result."""
    stdout_copy = _copy_of_stdout()
    try:
        if stdout_copy is not None:
            with suppress(OSError):  # stderr is closed
                os.dup2(2, 1)
        with redirect_stdout(cast(TextIO, _Aside())):
            yield
    finally:
        if stdout_copy is not None:
            os.dup2(stdout_copy, 1)
            os.close(stdout_copy)


def _copy_of_stdout() -> int | None:
    try:
        return os.dup(1)
    except OSError:  # it is closed
        return None


def emit(text: str, path: Path | None = None) -> None:
    """Write text to a file, whole or not at all, or to standard output, where a CI finds no command in it."""
    emit_as("table", text, path)


def emit_as(style: str, text: str, path: Path | None = None) -> None:
    r"""Write text of a format, or of "annotations", which are commands that are meant.

    CSV is for programs, and holds data as it is in files and pipes. On a terminal, and in a job of a CI that reads
    what passes by for commands, it holds visible text: there, only a file is exact. Halves of characters are written
    as ``\udcff``.
    """
    mode = _mode(path)
    if style == "csv" and _is_shown(mode):
        text = visible_csv(text)
    elif style not in ("csv", "annotations") and not stat.S_ISREG(mode):
        text = without_commands(text)
    data = text.encode("utf-8", errors="backslashreplace")
    if path is None or _is_stdout(path):
        _to_stdout(data.decode("utf-8"))
    else:
        emit_bytes(data, path)


def _mode(path: Path | None) -> int:
    """What kind of a file is written to; of one that is not there yet, a regular one."""
    try:
        if path is None or _is_stdout(path):
            return os.fstat(sys.stdout.fileno()).st_mode
        return path.stat().st_mode if path.exists() else stat.S_IFREG
    except (AttributeError, OSError, ValueError):  # standard output is closed, or is not of the system
        return 0


def _is_shown(mode: int) -> bool:
    """Whether people see what is written there: on a terminal, or in the log of a job, be it through a pipe."""
    return stat.S_ISCHR(mode) or (not stat.S_ISREG(mode) and any(os.environ.get(name) for name in LOGS))


def emit_bytes(data: bytes, path: Path) -> None:
    """Write what is no text, such as a picture, to a file, whole or not at all, or to standard output.

    What is no regular file is written to and never replaced; a descriptor is written to at its place.
    """
    if _is_stdout(path):
        _to_stdout(data)
        return
    with _said_of(path):
        if (descriptor := descriptor_of(path)) is not None:
            _to_descriptor(data, descriptor, path)
            return
        target = Path(os.path.realpath(path))
        found = _found(target)
        if found is None or stat.S_ISREG(found.st_mode):
            _replace(target, data, found)
        else:
            _check(path)
            _to_device(data, path)


def _to_descriptor(data: bytes, descriptor: int, path: Path) -> None:
    _check_descriptor(descriptor, path)
    if descriptor == 1:
        _to_stdout(data)
        return
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)


def _to_device(data: bytes, path: Path) -> None:
    """Into a pipe or a device; a pipe whose reader has not come yet is waited for."""
    deadline = time.monotonic() + READER_S
    while True:
        try:
            opened = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(path.stat().st_mode):  # a device that is not there
                raise
            if time.monotonic() > deadline:
                raise FgbenchError("cannot write to", str(path), f"nobody has read it for {READER_S:g} s") from error
            time.sleep(0.05)
    os.set_blocking(opened, True)
    with os.fdopen(opened, "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes, found: os.stat_result | None) -> None:
    mode = 0o666 & ~_umask() if found is None else stat.S_IMODE(found.st_mode)
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
        raise stdout_failed(error) from error


def stdout_failed(error: OSError) -> FgbenchError:
    """The error that says why standard output cannot be written, to be raised; nothing more is tried with it."""
    _drop_stdout()
    return FgbenchError("cannot write to standard output:", error.strerror or str(error))


def leave_without_reader() -> NoReturn:
    """The reader of the output is gone, as after ``| head``. No message is printed."""
    _drop_stdout()
    raise SystemExit(BROKEN_PIPE_EXIT_CODE) from None


def _drop_stdout() -> None:
    """Python would complain once more while it closes standard output: give it another one."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
