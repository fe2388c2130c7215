"""One sweep at a time on a device: two that measure at once would measure each other."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

POLL_S = 0.1


@contextmanager
def device_lock(
    device: str,
    waiting: Callable[[], None] = lambda: None,
    folder: Path | None = None,
    until: float = math.inf,
) -> Iterator[bool]:
    """Hold a device while a worker uses it.

    filelock gives no order to those who wait. So a sweep that waits for the device holds a second lock, the turnstile,
    and the sweep that has just measured cannot take the device again before it. Both are locks of the system on open
    files: they end with the process that holds them, however that ends.

    Args:
        device: Name of the device, such as a GPU's UUID.
        waiting: Called once where another sweep of this user holds the device.
        folder: Folder of the locks; the system's for temporary files where None.
        until: Time of ``time.monotonic()`` at which the wait ends.

    Yields:
        Whether the device may be used. It may also where no lock can be made: that is no reason to measure nothing.
    """
    from filelock import FileLock, Timeout  # commands that only print help import this module

    name = "".join(c if c.isalnum() else "-" for c in device)
    path = (folder or Path(tempfile.gettempdir())) / f"fgbench-{os.getuid()}-{name}"
    turnstile, lock = (FileLock(f"{path}.{what}", mode=0o600) for what in ("turnstile", "device"))
    held, waits = True, False

    def acquire(wanted: BaseFileLock) -> None:
        nonlocal waits
        try:
            wanted.acquire(timeout=0)
        except Timeout:
            if not waits:
                waiting()
            waits = True
            wanted.acquire(
                timeout=-1 if until == math.inf else max(0.0, until - time.monotonic()), poll_interval=POLL_S
            )

    try:
        acquire(turnstile)
        acquire(lock)
    except Timeout:
        held = False
    except (OSError, NotImplementedError):  # a folder that cannot be written to, a file system without locks
        pass
    finally:
        turnstile.release()
    try:
        yield held
    finally:
        lock.release()
