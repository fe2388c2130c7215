"""Distinguish Ctrl-C of the user from a KeyboardInterrupt that the code of a plug-in raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Interrupts:
    """Number of times that the user pressed Ctrl-C, and whether they are counted now."""

    count = 0
    are_counted = False


def _count_interrupt(number: int, frame: FrameType | None) -> None:
    _Interrupts.count += 1
    signal.default_int_handler(number, frame)


@contextmanager
def interrupts_noted() -> Iterator[None]:
    """A context that counts every Ctrl-C; without effect in a thread and where another handler is set."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    _Interrupts.are_counted = True
    signal.signal(signal.SIGINT, _count_interrupt)
    try:
        yield
    finally:
        _Interrupts.are_counted = False
        if signal.getsignal(signal.SIGINT) is _count_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class InterruptWatch:
    """Tells whether the user pressed Ctrl-C since this object was made."""

    def __init__(self) -> None:
        self._count_before = _Interrupts.count

    @property
    def interrupted(self) -> bool:
        """Whether the user pressed Ctrl-C, also where some code caught the exception."""
        return _Interrupts.count > self._count_before

    @property
    def is_users(self) -> bool:
        """Whether a KeyboardInterrupt that is raised now is the user's; always true where none is counted."""
        return not _Interrupts.are_counted or self.interrupted
