"""One sweep at a time on a device: two that measure at once would measure each other."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where no worker can be forked either
    fcntl = None  # type: ignore[assignment]

POLL_S = 0.2


@contextmanager
def device_lock(device: str, waiting: Callable[[], None] = lambda: None, folder: Path | None = None) -> Iterator[None]:
    """Hold a device while a worker uses it; call ``waiting`` once where another sweep of this user has it.

    The lock is the system's, on an open file: it ends with the process that holds it, however that ends.
    """
    name = "".join(c if c.isalnum() else "-" for c in device)
    path = (folder or Path(tempfile.gettempdir())) / f"fgbench-{os.getuid()}-{name}.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # no place for a lock is no reason to measure nothing
        yield
        return
    try:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting()
                told = True
                time.sleep(POLL_S)
        yield
    finally:
        os.close(file)
