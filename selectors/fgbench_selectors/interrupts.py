"""Ctrl-C of the user, told from a KeyboardInterrupt that foreign code raises by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Noted:
    """How often the user pressed Ctrl-C, where that is noted."""

    count = 0
    on = False


def _note(number: int, frame: FrameType | None) -> None:
    _Noted.count += 1
    signal.default_int_handler(number, frame)


@contextmanager
def interrupts_noted() -> Iterator[None]:
    """Inside, every Ctrl-C is noted; without effect in a thread, and where another handler is set."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    _Noted.on = True
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        _Noted.on = False
        if signal.getsignal(signal.SIGINT) is _note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class Watch:
    """What the user did since this object was made."""

    def __init__(self) -> None:
        self._before = _Noted.count

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed; whoever swallows it is known all the same."""
        return _Noted.count > self._before

    @property
    def is_users(self) -> bool:
        """Whether a KeyboardInterrupt that is met now is the user's; it is where nobody notes them."""
        return not _Noted.on or self.interrupted
