"""Progress of long work on standard error: a bar while that is a terminal, and lines that stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from fgbench.results.escaping import log_line
from fgbench.results.records import BackendRow

if TYPE_CHECKING:
    from fgbench.results.records import SelectionRow, ThroughputRow
    from fgbench.study.run import StudyEvent
    from fgbench.sweep.selector_sweep import SelectorEvent
    from fgbench.sweep.sweep import Event
    from fgbench.training import runs
AnyBar = TypeVar("AnyBar", bound="Bar")
DRAW_EVERY_S = 0.2  # a small model takes a step in milliseconds


class QuietConsole(Console):
    """A console that raises where its reader is gone; rich would leave the program with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Raise; the caller decides."""
        raise BrokenPipeError


class Bar:
    """A bar while standard error is a terminal, and lines anywhere. Work goes on where their reader is gone."""

    def __init__(self, console: Console | None = None, *, shown: bool = True, first: str = "loading torch") -> None:
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
        self._task = self._bar.add_task(first, total=None, left="")

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
        """Inside, an error of standard error ends all showing, and not the work."""
        try:
            yield
        except (OSError, ValueError):
            self._unheard = True

    @property
    def heard(self) -> bool:
        """Whether standard error is still read."""
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


class TimeLeft:
    """The time that is left, estimated from the work since the first call.

    rich's own column estimates it from the steps of the bar; here the bar of a training run counts the batches of an
    epoch, and a sweep begins with points that are in the store already.
    """

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None  # when, and how much work was done before

    def __call__(self, done: float, total: float, now: float | None = None) -> str:
        """``about 4:05 left``, or nothing where less than one unit of work was done."""
        if self._began is None:
            self._began = (time.monotonic() if now is None else now, done)
        began, before = self._began
        if done - before < 1 or done >= total:
            return ""
        seconds = (time.monotonic() if now is None else now) - began
        return f"about {clock_time(seconds / (done - before) * (total - done))} left"


@contextmanager
def status_line(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line on standard error as long as work goes on, while that is a terminal; the function shows another."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(log_line(first))) as status:
        yield lambda text: status.update(Text(log_line(text)))


class SweepProgress(Bar):
    """The progress of a sweep: points done, time left, the current figure; a line per finished point."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._waiting = ""
        self._left = TimeLeft()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self.guarded():
            if self.heard:
                self._show(event)

    def _show(self, event: Event) -> None:
        figure = "" if event.latency_s is None else f"  {1000 * event.latency_s:.4g} ms"
        self.move(event.what + figure, event.done, event.total, self._left(event.done, event.total))
        if event.what.startswith("waiting") and event.what != self._waiting and not self.console.is_terminal:
            self.line(event.what)
        self._waiting = event.what
        if event.row is not None:
            self.line(describe(event.row, event.what))


def describe(row: ThroughputRow, label: str) -> str:
    """A finished point in a line."""
    if row.throughput_img_s is None or row.latency_s is None:
        return f"{label}: {row.status}, {row.reason}"
    figure = f"{label}: {row.throughput_img_s:.4g} img/s, {1000 * row.latency_s:.4g} ms"
    return figure if row.status.is_ok else f"{figure} ({row.status}: {row.reason})"


class SelectionProgress(Bar):
    """The progress of selectors by themselves: points done, time left; a line per finished row."""

    def __init__(self) -> None:
        super().__init__()
        self._left = TimeLeft()

    def __call__(self, event: SelectorEvent) -> None:
        """Show an event."""
        left = self._left(event.done, event.total)
        with self.guarded():
            if self.heard:
                self.move(event.what, event.done, event.total, left)
                for row in event.rows:
                    self.line(describe_selection(row, event.what))


def describe_selection(row: SelectionRow | BackendRow, label: str) -> str:
    """A finished row of a selector or of a kernel in a line."""
    name = f"{label}, {row.backend}" if isinstance(row, BackendRow) else label
    if row.latency_s is None:
        return f"{name}: {row.status}, {row.reason}"
    figure = f"{name}: {1000 * row.latency_s:.4g} ms"
    return figure if row.status.is_ok else f"{figure} ({row.status}: {row.reason})"


class TrainingProgress(Bar):
    """The progress of training: run, epoch, images, time left, accuracy; a line per finished epoch and run."""

    def __init__(self, console: Console | None = None, *, shown: bool = True) -> None:
        super().__init__(console, shown=shown)
        self.place = ""  # the last finished epoch in words, for the message after an interrupt
        self._drawn = 0.0
        self._left: dict[str, TimeLeft] = {}  # by run

    def __call__(self, event: runs.Event) -> None:
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

    def _show(self, event: runs.Event) -> None:
        run = f"{event.label} ({event.run} of {event.runs})" if event.runs > 1 else event.label
        if event.epoch is not None:
            tested = "" if event.epoch.top1_percent is None else f", top-1 {event.epoch.top1_percent:.2f} %"
            self.line(
                f"{run}: epoch {event.epoch.epoch}, loss {event.epoch.train_loss:.4f}{tested}, "
                f"{event.epoch.seconds:.1f} s"
            )
        if event.row is not None:
            self.line(f"{run}: top-1 {event.row.top1_percent:.2f} % of {event.row.images} images")
        step, now = event.step, time.monotonic()
        if step is not None and (now - self._drawn > DRAW_EVERY_S or step.done == step.total):
            self._drawn = now
            epochs = step.epoch - 1 + step.done / max(step.total, 1)
            left = self._left.setdefault(event.label, TimeLeft())(epochs, step.epochs, now)
            self.move(f"{run}: epoch {step.epoch} of {step.epochs}, {step.phase}", step.done, step.total, left)


class StudyProgress(Bar):
    """The progress of a study: runs done, time left, what runs now; a line per finished epoch and run."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console)
        self._left = TimeLeft()
        self._drawn = 0.0
        self._under_way: dict[str, float] = {}  # shares of runs by what they are

    def __call__(self, event: StudyEvent) -> None:
        """Show an event."""
        with self.guarded():
            if self.heard:
                self._show(event)

    def _show(self, event: StudyEvent) -> None:
        run, step, epoch, now = event.what, event.told.get("step"), event.told.get("epoch"), time.monotonic()
        if epoch is not None and event.told["label"]:
            tested = "" if epoch["top1_percent"] is None else f", top-1 {epoch['top1_percent']:.2f} %"
            self.line(
                f"{run}: epoch {epoch['epoch']}, loss {epoch['train_loss']:.4f}{tested}, {epoch['seconds']:.1f} s"
            )
        if event.row is not None:
            self._under_way.pop(run, None)
            counted = f"{event.done} of {event.total}"
            self.line(f"{run}: top-1 {event.row.top1_percent:.2f} % of {event.row.images} images ({counted} runs)")
        if step is not None:
            self._under_way[run] = (step["epoch"] - 1 + step["done"] / max(step["total"], 1)) / step["epochs"]
        if now - self._drawn > DRAW_EVERY_S or event.row is not None:
            self._drawn = now
            done = event.done + sum(self._under_way.values())
            left = self._left(done, event.total, now) if event.total else ""
            self.move(run, event.done, event.total or None, left)


class PairsProgress(Bar):
    """The progress of pairs of runs on two sides; a line per run where there is no terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        super().__init__(first="comparing", shown=shown)
        self._left = TimeLeft()

    def say(self, text: str) -> None:
        """Show what is done before anything is measured."""
        with self.guarded():
            if self.heard:
                self.move(text, 0, None)

    def __call__(self, done: int, total: int, label: str) -> None:
        """Show the run that is measured now."""
        left = self._left(done, total)
        with self.guarded():
            if self.heard:
                self.move(label, done, total, left)
                if not self.console.is_terminal:
                    self.line(f"{done} of {total}: {label}")
