"""The progress that a sweep shows."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from helpers.throughput_rows import row
from rich.console import Console

from fgbench.cli import progress as sweep_progress
from fgbench.cli.progress import QuietConsole, SweepProgress, clock_time, describe
from fgbench.results.decoding import decode
from fgbench.results.records import Status, ThroughputRow
from fgbench.sweep.sweep import Event

ROW = decode(ThroughputRow, row(img_s=84.31, latency_s=0.01186))


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (7384, "2:03:04")])
def test_times_are_told_as_on_a_clock(seconds, text):
    assert clock_time(seconds) == text


def test_a_point_is_a_line():
    assert describe(ROW, "vit at 224 float32 batch 1") == "vit at 224 float32 batch 1: 84.31 img/s, 11.86 ms"
    noisy = replace(ROW, status=Status.UNCONVERGED, reason="after 6 s")
    assert describe(noisy, "x") == "x: 84.31 img/s, 11.86 ms (unconverged: after 6 s)"
    failed = replace(ROW, throughput_img_s=None, status=Status.OOM, reason="CUDA out of memory")
    assert describe(failed, "x") == "x: oom, CUDA out of memory"


def shown(console: Console, monkeypatch) -> str:
    clock = iter([0.0, 10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr(sweep_progress.time, "monotonic", lambda: next(clock, 50.0))
    with SweepProgress(console) as bar:
        bar(Event(done=2, total=5, what="glsim [x] batch 1"))
        bar(Event(done=2, total=5, what="glsim [x] batch 1", latency_s=0.0123))
        bar(Event(done=3, total=5, what="glsim [x] batch 1", row=ROW))
    return console.file.getvalue()


def test_a_terminal_sees_points_done_time_left_and_the_current_figure(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    text = shown(console, monkeypatch)
    assert "2/5" in text
    assert "glsim [x] batch 1  12.3 ms" in text
    assert "about 0:20 left" in text  # one point of three took 10 s
    assert "glsim [x] batch 1: 84.31 img/s" in text


def test_a_log_sees_a_line_per_point_and_nothing_else(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    assert shown(console, monkeypatch).strip() == "glsim [x] batch 1: 84.31 img/s, 11.86 ms"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("closed file")]
)
def test_a_reader_that_goes_away_costs_the_sweep_nothing(monkeypatch, error, terminal):
    """``2>&1 | head -1``: rich would leave the program with exit code 1."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    console = QuietConsole(file=Gone(), force_terminal=terminal)
    with SweepProgress(console) as bar:
        bar(Event(done=0, total=2, what="vit batch 1"))
        bar(Event(done=1, total=2, what="vit batch 1", row=ROW))
        bar(Event(done=2, total=2, what="vit batch 2", row=ROW))


def test_a_log_is_told_once_what_a_sweep_waits_for():
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with SweepProgress(console) as bar:
        for _ in range(3):
            bar(Event(done=0, total=2, what="waiting for another sweep on this device"))
    assert console.file.getvalue() == "waiting for another sweep on this device\n"
