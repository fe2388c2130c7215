"""The bar that long work shows on standard error: what is done, what is left, and lines that stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from fgbench.results.escaping import log_line

AnyBar = TypeVar("AnyBar", bound="Bar")


class QuietConsole(Console):
    """rich leaves the program with exit code 1 when nobody reads it; here that is not its business."""

    def on_broken_pipe(self) -> None:
        """Leave that to whoever shows something."""
        raise BrokenPipeError


class Bar:
    """A bar while standard error is a terminal, and lines anywhere. Work goes on where nobody reads."""

    def __init__(self, console: Console | None = None, *, shown: bool = True) -> None:
        self.console = console or QuietConsole(stderr=True, emoji=False)
        self._unheard = not shown
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not shown or not self.console.is_terminal,
            transient=True,
            auto_refresh=False,  # drawing ten times a second would take a core from what is measured on a CPU
        )
        self._task = self._bar.add_task("loading torch", total=None, left="")

    def __enter__(self: AnyBar) -> AnyBar:
        with self.guarded():
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.guarded():
            self._bar.stop()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Whatever is shown inside may find nobody who reads it."""
        try:
            yield
        except (OSError, ValueError):
            self._unheard = True

    @property
    def heard(self) -> bool:
        """Whether there is somebody to show something to."""
        return not self._unheard

    def move(self, what: str, done: int, total: int | None, left: str = "") -> None:
        """Draw the bar."""
        self._bar.update(self._task, description=log_line(what), completed=done, total=total, left=left, refresh=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(log_line(text)), soft_wrap=True)


def clock_time(seconds: float) -> str:
    """``1:02:03`` or ``4:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
