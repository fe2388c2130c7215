"""Every kind of figure equals its stored picture; and the comparison detects missing elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers.figure_rows import counted, figures_of, kept, sweep
from reports.plots.conftest import BASELINES, difference

from fgbench_reports.data import Data
from fgbench_reports.plots.batch import Batch
from fgbench_reports.plots.cost import Cost
from fgbench_reports.plots.curves import Curves
from fgbench_reports.plots.energy import Energy
from fgbench_reports.plots.roofline import Roofline
from fgbench_reports.plots.tradeoff import Memory, Tradeoff
from fgbench_reports.report import Figure


def _first(report, data: Data) -> Figure:
    return figures_of(report, data)[0]


FIGURES: dict[str, Callable[[], Figure]] = {
    "cost": lambda: _first(Cost, Data(flops=counted())),
    "tradeoff": lambda: _first(Tradeoff, Data(throughput=sweep())),
    "tradeoff-measured": lambda: _first(Tradeoff, kept()),
    "published-figure-4": lambda: _first(Tradeoff, Data()),
    "memory": lambda: _first(Memory, Data(throughput=sweep())),
    "memory-cpu": lambda: _first(Memory, kept()),
    "batch": lambda: figures_of(Batch, Data(throughput=sweep()))[1],
    "roofline": lambda: _first(Roofline, Data(throughput=sweep())),
    "roofline-selections": lambda: _first(Roofline, kept()),
    "energy": lambda: _first(Energy, Data(throughput=sweep())),
    "curves": lambda: _first(Curves, kept()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_looked(name, same_as_baseline):
    same_as_baseline(FIGURES[name]().draw(), name)


def test_baselines_are_small_and_none_is_left_over():
    assert {path.stem for path in BASELINES.iterdir()} == set(FIGURES)
    assert max(path.stat().st_size for path in BASELINES.iterdir()) < 60_000


def test_a_lost_series_is_seen(tmp_path):
    figure = figures_of(Batch, Data(throughput=sweep()))[1]
    lines = dict(list(figure.lines.items())[:-1])
    assert difference(replace(figure, lines=lines).draw(), "batch", tmp_path) is not None


@pytest.mark.parametrize("marker", ["x", "|"])
@pytest.mark.parametrize("panel", [0, 1])
def test_a_single_lost_mark_is_seen(marker, panel, tmp_path):
    drawing = FIGURES["batch"]().draw()
    marks = [line for line in drawing.canvas.axes[panel].lines if line.get_marker() == marker]
    marks[0].remove()
    assert difference(drawing, "batch", tmp_path) is not None


@pytest.mark.parametrize("marker", ["o", "*"])  # of transfg, of resnet101
def test_a_lost_point_is_seen(marker, tmp_path):
    drawing = FIGURES["tradeoff"]().draw()
    next(line for line in drawing.canvas.axes[0].lines if line.get_marker() == marker).remove()
    assert difference(drawing, "tradeoff", tmp_path) is not None
