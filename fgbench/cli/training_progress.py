"""What training shows while it runs: run, epoch, images, time left, the latest accuracy; a line per finished epoch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console

from fgbench.cli.bar import Bar, clock_time

if TYPE_CHECKING:
    from fgbench.training.runs import Event
    from fgbench.training.training import Step

DRAW_EVERY_S = 0.2  # a small model takes a step in milliseconds


class TrainingProgress(Bar):
    """A bar on standard error while it is a terminal, and a line per finished epoch and run anywhere."""

    def __init__(self, console: Console | None = None, *, shown: bool = True) -> None:
        super().__init__(console, shown=shown)
        self.place = ""  # for the one who interrupts
        self._drawn = 0.0
        self._began: tuple[str, float, float] | None = None  # which run, when its first step came, how far it was

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.epoch is not None:
            self.place = f" after epoch {event.epoch.epoch} of {event.label}"
        with self.guarded():
            if self.heard:
                self._show(event)

    def judged(self, label: str, done: int, total: int) -> None:
        """Show how many images selectors were judged on."""
        with self.guarded():
            if self.heard:
                self.move(label, done, total)

    def _show(self, event: Event) -> None:
        which = f"{event.label} ({event.run} of {event.runs})" if event.runs > 1 else event.label
        if event.epoch is not None:
            tested = "" if event.epoch.top1_percent is None else f", top-1 {event.epoch.top1_percent:.2f} %"
            self.line(
                f"{which}: epoch {event.epoch.epoch}, loss {event.epoch.train_loss:.4f}{tested}, "
                f"{event.epoch.seconds:.1f} s"
            )
        if event.row is not None:
            self.line(f"{which}: top-1 {event.row.top1_percent:.2f} % of {event.row.images} images")
        step, now = event.step, time.monotonic()
        if step is not None and (now - self._drawn > DRAW_EVERY_S or step.done == step.total):
            self._drawn = now
            what = f"{which}: epoch {step.epoch} of {step.epochs}, {step.phase}"
            self.move(what, step.done, step.total, self._time_left(event.label, step, now))

    def _time_left(self, label: str, step: Step, now: float) -> str:
        behind = step.epoch - 1 + step.done / max(step.total, 1)
        if self._began is None or self._began[0] != label:
            self._began = (label, now, behind)
        _, began, before = self._began
        if behind - before < 1 or behind >= step.epochs:  # its testing would be missing from the estimate
            return ""
        return f"about {clock_time((now - began) / (behind - before) * (step.epochs - behind))} left"
