"""What training shows while it runs: run, epoch, images, time left, the latest accuracy; a line per finished epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fgbench.commands.progress import QuietConsole, clock_time

if TYPE_CHECKING:
    from fgbench.accuracy.runs import Event

DRAW_EVERY_S = 0.2  # a small model takes a step in milliseconds


class TrainingProgress:
    """A bar on standard error while it is a terminal, and a line per finished epoch and run anywhere."""

    def __init__(self, console: Console | None = None, *, shown: bool = True) -> None:
        self.console = console or QuietConsole(stderr=True, emoji=False)
        self.place = ""  # for the one who interrupts
        self._unheard = not shown
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not shown or not self.console.is_terminal,
            transient=True,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("loading torch", total=None, left="")
        self._drawn = 0.0
        self._began: tuple[str, float, float] | None = None  # which run, when its first step came, how far it was

    def __enter__(self) -> TrainingProgress:
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
        """Training goes on where its progress cannot be shown."""
        try:
            yield
        except (OSError, ValueError):
            self._unheard = True

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.epoch is not None:
            self.place = f" after epoch {event.epoch.epoch} of {event.label}"
        with self._though_nobody_reads():
            if not self._unheard:
                self._show(event)

    def judged(self, label: str, done: int, total: int) -> None:
        """Show how many images selectors were judged on."""
        with self._though_nobody_reads():
            if not self._unheard:
                self._bar.update(
                    self._task, description=escape(label), completed=done, total=total, left="", refresh=True
                )

    def _show(self, event: Event) -> None:
        which = f"{event.label} ({event.run} of {event.runs})" if event.runs > 1 else event.label
        if event.epoch is not None:
            tested = "" if event.epoch.top1_percent is None else f", top-1 {event.epoch.top1_percent:.2f} %"
            self._print(
                f"{which}: epoch {event.epoch.epoch}, loss {event.epoch.train_loss:.4f}{tested}, "
                f"{event.epoch.seconds:.1f} s"
            )
        if event.row is not None:
            self._print(f"{which}: top-1 {event.row['top1_percent']:.2f} % of {event.row['images']} images")
        step, now = event.step, time.monotonic()
        if step is not None and (now - self._drawn > DRAW_EVERY_S or step.done == step.total):
            self._drawn = now
            self._bar.update(
                self._task,
                description=escape(f"{which}: epoch {step.epoch} of {step.epochs}, {step.phase}"),
                completed=step.done,
                total=step.total,
                left=self._time_left(event.label, step.epoch, step.epochs, step.done / max(step.total, 1), now),
                refresh=True,
            )

    def _print(self, line: str) -> None:
        self.console.print(escape(line), highlight=False, soft_wrap=True)

    def _time_left(self, label: str, epoch: int, epochs: int, share: float, now: float) -> str:
        behind = epoch - 1 + share
        if self._began is None or self._began[0] != label:
            self._began = (label, now, behind)
        _, began, before = self._began
        if behind - before < 1 or behind >= epochs:  # a whole epoch, or its testing is missing from the estimate
            return ""
        return f"about {clock_time((now - began) / (behind - before) * (epochs - behind))} left"
