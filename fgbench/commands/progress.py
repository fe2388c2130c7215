"""What a sweep shows while it runs: points done, time left, the current figure, a line per finished point."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fgbench.throughput.rows import Row
from fgbench.throughput.sweep import Event


class QuietConsole(Console):
    """rich leaves the program with exit code 1 when nobody reads it; here that is not its business."""

    def on_broken_pipe(self) -> None:
        """Leave that to whoever shows something."""
        raise BrokenPipeError


class SweepProgress:
    """A bar on standard error while it is a terminal, and a line per finished point anywhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or QuietConsole(stderr=True, emoji=False)
        self._waiting = ""
        self._unheard = False  # nobody reads any more
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
            auto_refresh=False,  # drawing ten times a second would take a core from what is measured on a CPU
        )
        self._task = self._bar.add_task("loading torch", total=None, left="")
        self._began: tuple[float, int] | None = None  # when the first point began, and how many were there before

    def __enter__(self) -> SweepProgress:
        with self._though_nobody_reads():
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._though_nobody_reads():
            self._bar.stop()

    @contextmanager
    def _though_nobody_reads(self) -> Iterator[None]:
        """A sweep goes on where its progress cannot be shown."""
        try:
            yield
        except (OSError, ValueError):
            self._unheard = True

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._though_nobody_reads():
            if not self._unheard:
                self._show(event)

    def _show(self, event: Event) -> None:
        if self._began is None:
            self._began = (time.monotonic(), event.done)
        figure = "" if event.latency_s is None else f"  {1000 * event.latency_s:.4g} ms"
        self._bar.update(
            self._task,
            description=escape(event.what) + figure,
            completed=event.done,
            total=event.total,
            left=self._time_left(event),
            refresh=True,
        )
        if event.what.startswith("waiting") and event.what != self._waiting and not self.console.is_terminal:
            self.console.print(event.what, highlight=False, soft_wrap=True)
        self._waiting = event.what
        if event.row is not None:
            self.console.print(escape(describe(event.row, event.what)), highlight=False, soft_wrap=True)

    def _time_left(self, event: Event) -> str:
        assert self._began is not None
        began, before = self._began
        new = event.done - before
        if new < 1 or event.done >= event.total:
            return ""
        seconds = (time.monotonic() - began) / new * (event.total - event.done)
        return f"about {clock_time(seconds)} left"


def clock_time(seconds: float) -> str:
    """``1:02:03`` or ``4:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(row: Row, what: str) -> str:
    """A finished point in a line."""
    if row["throughput_img_s"] is None:
        return f"{what}: {row['status']}, {row['reason']}"
    figure = f"{what}: {row['throughput_img_s']:.4g} img/s, {1000 * row['latency_s']:.4g} ms"
    return figure if row["status"] == "ok" else f"{figure} ({row['status']}: {row['reason']})"
