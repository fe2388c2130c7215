"""Where files enter the program: one reader that no pipe, device or depth of nesting can hold up. No torch."""

from __future__ import annotations

import errno
import json
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_BYTES = 10**8  # of a file that is read whole, by default
WRITER_S = 3.0  # that a pipe may have no writer yet
SILENCE_S = 30.0  # that a pipe may bring nothing in
DEEPEST = 100  # levels of JSON; rows have five
TOO_DEEP = f"it is nested deeper than {DEEPEST} levels"
CHUNK = 2**16
_KINDS = {
    stat.S_IFDIR: "it is a folder; name a file in it",
    stat.S_IFIFO: "it is a pipe; name a file",
    stat.S_IFSOCK: "it is a socket; name a file",
    stat.S_IFCHR: "it is a device; name a file",
    stat.S_IFBLK: "it is a disk; name a file",
}


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading; what is none is refused before it is opened, as that alone may wait for ever.

    Raises :class:`OSError` whose ``strerror`` says in words what was met, as all of this module does.
    """
    with os.fdopen(_descriptor(path, pipes=False), "rb") as file:
        yield file


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """The bytes of a regular file, or of a pipe that a process writes into, as ``<(command)`` of a shell is one.

    Raises :class:`OSError` where there are more than ``largest``, and where a pipe stays silent for ``SILENCE_S``.
    """
    descriptor = _descriptor(path, pipes=True)
    is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        data = bytearray(_first(descriptor) if is_pipe else b"")
        while chunk := _next(descriptor) if is_pipe else file.read(CHUNK):
            data += chunk
            if len(data) > largest:
                raise _refused(errno.EFBIG, f"it is larger than {largest / 10**6:g} MB")
    return bytes(data)


def read_text(path: Path, largest: int = LARGEST_BYTES, *, encoding: str = "utf-8") -> str:
    """A text, of a file or a pipe as :func:`read_bytes` reads it. Raises :class:`UnicodeDecodeError` too."""
    return read_bytes(path, largest).decode(encoding)


def parse_json(text: str | bytes) -> Any:
    """JSON that is nested at most ``DEEPEST`` levels. Raises :class:`ValueError` for other text."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def to_json(value: Any) -> str:
    """JSON that :func:`parse_json` reads. Raises :class:`ValueError` and :class:`TypeError` for what is none."""
    text = json.dumps(value, allow_nan=False)
    if is_deep(value):
        raise ValueError(TOO_DEEP)
    return text


def is_deep(value: Any) -> bool:
    """Whether lists and objects lie more than ``DEEPEST`` levels inside each other; counted level by level."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level if isinstance(one, (dict, list)) for inner in _nested(one)]
    return bool(level)


def _nested(value: dict[str, Any] | list[Any]) -> Iterator[Any]:
    """Lists and objects that lie directly in another one."""
    return (
        inner for inner in (value.values() if isinstance(value, dict) else value) if isinstance(inner, (dict, list))
    )


def _descriptor(path: Path, *, pipes: bool) -> int:
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG and not (pipes and kind == stat.S_IFIFO):
            number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
            raise _refused(number, _KINDS.get(kind, "it is no regular file"))
        # Without O_NONBLOCK a pipe without a writer would be waited for here.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a null character
        raise _refused(errno.EINVAL, str(error)) from error


def _first(pipe: int) -> bytes:
    """What comes first through a pipe, whose writer may be about to open it."""
    deadline = time.monotonic() + WRITER_S
    while not (data := _next(pipe)):
        if time.monotonic() > deadline:
            raise _refused(errno.EPIPE, "it is a pipe that nobody writes into; name a file")
        time.sleep(0.02)
    return data


def _next(pipe: int) -> bytes:
    """What comes next through a pipe; nothing where its writers have gone."""
    deadline = time.monotonic() + SILENCE_S
    while True:
        try:
            return os.read(pipe, CHUNK)
        except BlockingIOError:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise _refused(errno.ETIMEDOUT, f"nothing came through this pipe in {SILENCE_S:g} s") from None


def _refused(number: int, why: str) -> OSError:
    return OSError(number, why)
