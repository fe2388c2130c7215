"""Where a worker is: in the folder, and with the path of imports, of whoever asks it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from fgbench.workers.channel import Message


def this_place() -> Message:
    """The folder and the path of imports of this process."""
    folder = None
    with suppress(OSError):  # it was removed
        folder = os.getcwd()  # noqa: PTH109  # it is sent as text
    return {"folder": folder, "path": list(sys.path)}


def move_to(place: Message) -> None:
    """Take the place of another process; the one that forks workers may have been started in another one."""
    if place["folder"] is not None:
        os.chdir(place["folder"])
    sys.path[:] = place["path"]
