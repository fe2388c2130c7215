"""Rooflines: where the points are, where the roof is, and what is told where one cannot be drawn."""

from __future__ import annotations

import pytest
from reports.figures.figure_rows import figures_of, kept, sweep
from throughput_rows import GPU, row, tried

from fgbench_reports.data import KINDS, SELECTION_WHY, Data
from fgbench_reports.figures.roofline import Roofline

RATES = {"matrix_rate_flop_s": 1e12, "copy_rate_bytes_s": 1e11, "macs_per_image": 1e9, "bytes_per_image": 4e8}


def timed(img_s=100.0, **fields):
    return row(img_s=img_s, environment={**GPU, **RATES, **fields}, mfu=0.2)


def test_a_point_is_two_flops_per_mac_over_bytes_and_seconds():
    (figure,) = figures_of(Roofline, Data(throughput=[timed()]))
    (point,) = figure.draw().points
    assert (point.x, point.y) == (2e9 / 4e8, 2e9 * 100)
    assert "20.0 % MFU" in point.text
    assert "200 GFLOP/s, 5.00 FLOPs per byte" in point.text
    assert "20.0 % of the roof" in figure.alt


def test_the_roof_rises_with_the_rate_of_copies_and_ends_at_that_of_products():
    (figure,) = figures_of(Roofline, Data(throughput=[timed()]))
    axes, beside = figure.draw().canvas.axes
    roof = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    (left, low), (ridge, top), (_, end) = roof.get_xydata()
    assert low / left == pytest.approx(1e11)
    assert (ridge, top, end) == (10, 1e12, 1e12)
    assert beside.get_ylabel() == "MFU (%)"
    for limit, share in zip(axes.get_ylim(), beside.get_ylim(), strict=True):
        assert share == pytest.approx(limit / 1e12 * 100)


def test_rates_that_differ_between_runs_are_told():
    data = Data(throughput=[timed(), {**timed(matrix_rate_flop_s=2e12), "image_size": 448}])
    (figure,) = figures_of(Roofline, data)
    assert figure.roof.product_flop_s == 2e12
    assert any("by up to 100 %" in note for note in figure.notes)
    assert not any("by up to" in note for note in figures_of(Roofline, Data(throughput=[timed()]))[0].notes)


@pytest.mark.parametrize("lost", RATES)
def test_what_a_roofline_lacks_is_told(lost):
    models, selections = Roofline().items(Data(throughput=[timed(**{lost: None})]))
    assert (models.what, models.command) == ("a roofline of models", f"{KINDS['throughput']} --again")
    assert "bytes per image" in models.why
    assert (selections.what, selections.command) == ("a roofline of selections", KINDS["selection"])
    assert selections.why == SELECTION_WHY


@pytest.mark.parametrize("rows", [[], [tried("oom", "too much")]])
def test_where_no_point_has_figures_there_is_nothing_to_measure_again(rows):
    models, _ = Roofline().items(Data(throughput=rows))
    assert models.command == KINDS["throughput"]


def test_selections_without_rates_say_so_and_that_a_checkout_measures_them():
    bare = [{**each, "environment": {}} for each in kept().selection]
    *_, selections = Roofline().items(Data(selection=bare))
    assert selections.why == f"no row has a time, its bytes and the device's rates; {SELECTION_WHY}"


def test_selections_have_a_figure_of_their_own_with_published_hollow():
    (figure,) = figures_of(Roofline, kept())
    assert "Selections" not in figure.title
    assert figure.title.startswith("Roofline of selections · Intel(R) Xeon(R) Processor · float32 · batch 1")
    timed_ones = [one for one in kept().selection if one["latency_s"]]
    assert len(figure.draw().points) == len(timed_ones)
    assert {mark.hollow for mark in figure.marks if mark.series[1] == "published"} == {True}
    assert {mark.hollow for mark in figure.marks if mark.series[1] != "published"} == {False}
    assert figure.labels[None, None] == "backbone"


def test_modes_have_figures_of_their_own():
    figures = figures_of(Roofline, Data(throughput=[*sweep(), *sweep(dtype="bfloat16")]))
    assert len({figure.title for figure in figures}) == 2
