"""One sweep at a time on a device: two that measure at once would measure each other."""

from __future__ import annotations

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_S = 0.1


@contextmanager
def device_lock(
    device: str,
    waiting: Callable[[], None] = lambda: None,
    folder: Path | None = None,
    until: float = math.inf,
) -> Iterator[bool]:
    """Hold a device while a worker uses it; False where another sweep of this user keeps it until that monotonic time.

    ``waiting`` is called once where there is somebody to wait for. The locks are the system's, on open files: they end
    with the process that holds them, however that ends. Whoever waits holds the turnstile, so that the one who has the
    device cannot take it twice in a row.
    """
    name = "".join(c if c.isalnum() else "-" for c in device)
    held: list[int] = []
    try:
        got = True
        with suppress(OSError):  # no place for a lock is no reason to measure nothing
            place = Path(tempfile.gettempdir()) if folder is None else folder
            for part in ("turnstile", "device"):
                path = place / f"fgbench-{os.getuid()}-{name}.{part}"
                held.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            told = False
            for file in held:
                while not _try(file):
                    if not told:
                        waiting()
                    told = True
                    if time.monotonic() >= until:
                        got = False
                        break
                    time.sleep(POLL_S)
                if not got:
                    break
            os.close(held.pop(0))
        yield got
    finally:
        for file in held:
            os.close(file)


def _try(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
