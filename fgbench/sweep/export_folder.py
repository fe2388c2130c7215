"""The folder of exported files: removed at the end, and by the next sweep where the end did not come."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

FOLDER, ALIVE = "fgbench-exports-", "alive"  # beginning of its name; the file in it that its process holds locked


class ExportFolder:
    """A temporary folder that belongs to this process.

    A process that is killed removes nothing. Its lock is gone, though, and who makes a folder removes all such ones.
    """

    def __init__(self) -> None:
        from filelock import FileLock

        _remove_what_nobody_holds()
        # Nobody looks at a folder before it is locked: it gets its name afterwards.
        made = Path(tempfile.mkdtemp(prefix="fgbench-new-"))
        self._lock = FileLock(made / ALIVE, mode=0o600)
        self._lock.acquire()
        self.path = made.rename(made.with_name(made.name.replace("fgbench-new-", FOLDER)))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder with everything in it."""
        self._remove()
        with suppress(OSError):  # its file is gone
            self._lock.release(force=True)


def _remove_what_nobody_holds() -> None:
    from filelock import FileLock, Timeout

    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError, Timeout):
            if left.is_symlink() or left.stat().st_uid != os.getuid() or not (left / ALIVE).exists():
                continue
            with FileLock(left / ALIVE, mode=0o600, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
