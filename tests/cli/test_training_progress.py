"""The progress that training shows."""

from __future__ import annotations

import io

import pytest
from helpers.saved_rows import accuracy
from rich.console import Console

from fgbench.cli import progress
from fgbench.cli.progress import QuietConsole, TrainingProgress
from fgbench.training.runs import Event
from fgbench.training.training import Epoch, Step
from fgbench_reports.data import Data

EPOCH = Epoch(
    epoch=3, lr=0.01, train_loss=1.5, train_top1_percent=40, top1_percent=61.25, top5_percent=None, seconds=12.34
)


def shown(*events: Event, terminal: bool = False, shown: bool = True) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    with TrainingProgress(console, shown=shown) as progress:
        for event in events:
            progress(event)
    return console.file.getvalue()


def event(**what) -> Event:
    return Event(label="glsim at 224, seed 1", run=2, runs=3, **what)


def test_an_epoch_and_a_run_are_a_line_each():
    (row,) = Data(accuracy=[accuracy(top1=61.25, images=400)]).accuracy
    assert shown(event(epoch=EPOCH), event(row=row)) == (
        "glsim at 224, seed 1 (2 of 3): epoch 3, loss 1.5000, top-1 61.25 %, 12.3 s\n"
        "glsim at 224, seed 1 (2 of 3): top-1 61.25 % of 400 images\n"
    )


def test_a_terminal_has_a_bar_with_the_epoch_and_the_time_left(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    steps = [Step(epoch=epoch, epochs=4, phase="training", done=8, total=8) for epoch in (1, 2, 3)]
    text = shown(*(event(step=step) for step in steps), terminal=True)
    assert "glsim at 224, seed 1 (2 of 3): epoch 3 of 4, training" in text
    assert "8/8" in text
    assert "about 0:10 left" in text


def test_nobody_but_the_main_process_speaks():
    assert shown(event(epoch=EPOCH), shown=False) == ""


def test_training_goes_on_where_nobody_reads():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    progress = TrainingProgress(QuietConsole(file=Gone()))
    progress(event(epoch=EPOCH))
    progress(event(epoch=EPOCH))
    assert progress.place == " after epoch 3 of glsim at 224, seed 1"


@pytest.mark.parametrize("name", ["[bold]", "a/b"])
def test_names_are_text(name):
    event_ = Event(label=name, run=1, runs=1, epoch=EPOCH)
    assert shown(event_).startswith(f"{name}: epoch 3")
