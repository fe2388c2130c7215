"""What a sweep shows while it runs: points done, time left, the current figure, a line per finished point."""

from __future__ import annotations

import time

from rich.console import Console

from fgbench.cli.bar import Bar, clock_time
from fgbench.results.records import ThroughputRow
from fgbench.sweep.sweep import Event


class SweepProgress(Bar):
    """A bar on standard error while it is a terminal, and a line per finished point anywhere."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._waiting = ""
        self._began: tuple[float, int] | None = None  # when the first point began, and how many were there before

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self.guarded():
            if self.heard:
                self._show(event)

    def _show(self, event: Event) -> None:
        if self._began is None:
            self._began = (time.monotonic(), event.done)
        figure = "" if event.latency_s is None else f"  {1000 * event.latency_s:.4g} ms"
        self.move(event.what + figure, event.done, event.total, self._time_left(event))
        if event.what.startswith("waiting") and event.what != self._waiting and not self.console.is_terminal:
            self.line(event.what)
        self._waiting = event.what
        if event.row is not None:
            self.line(describe(event.row, event.what))

    def _time_left(self, event: Event) -> str:
        assert self._began is not None
        began, before = self._began
        new = event.done - before
        if new < 1 or event.done >= event.total:
            return ""
        seconds = (time.monotonic() - began) / new * (event.total - event.done)
        return f"about {clock_time(seconds)} left"


def describe(row: ThroughputRow, what: str) -> str:
    """A finished point in a line."""
    if row.throughput_img_s is None or row.latency_s is None:
        return f"{what}: {row.status}, {row.reason}"
    figure = f"{what}: {row.throughput_img_s:.4g} img/s, {1000 * row.latency_s:.4g} ms"
    return figure if row.status.is_ok else f"{figure} ({row.status}: {row.reason})"
