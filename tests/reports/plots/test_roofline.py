"""Rooflines: positions of points and roof, and messages if one cannot be drawn."""

from __future__ import annotations

import pytest
from helpers.figure_rows import figures_of, kept, sweep
from helpers.throughput_rows import GPU, row, tried

from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.roofline import Roofline

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
    command = "fgbench throughput --model glsim --sizes 224 --batch-sizes 1 --impl fast --dtype float32 --device cuda"
    assert (models.what, models.command) == ("a roofline of models", f"{command} --again")
    assert "bytes per image" in models.why
    assert (selections.what, selections.command) == ("a roofline of selections", KINDS["selection"])
    assert selections.why == "there are no rows for it"


@pytest.mark.parametrize("rows", [[], [tried("oom", "too much")]])
def test_where_no_point_has_figures_there_is_nothing_to_measure_again(rows):
    models, _ = Roofline().items(Data(throughput=rows))
    assert models.command.startswith(KINDS["throughput"])
    assert "--again" not in models.command


def test_selections_without_rates_say_so_and_are_measured_again():
    bare = [{**each, "environment": {}} for each in kept().selection]
    *_, selections = Roofline().items(Data(selection=bare))
    assert selections.why == "no row has a time, its bytes and the device's rates"
    assert selections.command == f"{KINDS['selection']} --again"


def test_selections_have_a_figure_of_their_own_with_published_half_filled():
    (figure,) = figures_of(Roofline, kept())
    assert "Selections" not in figure.title
    assert figure.title.startswith("Roofline of selections · Intel(R) Xeon(R) Processor · float32 · batch 1")
    timed_ones = [one for one in kept().selection if one["latency_s"]]
    assert len(figure.draw().points) == len(timed_ones)
    assert {mark.half for mark in figure.marks if mark.series[1] == "published"} == {True}
    assert {mark.half for mark in figure.marks if mark.series[1] != "published"} == {False}
    assert not any(mark.hollow for mark in figure.marks)
    assert figure.labels[None, None] == "backbone"


def below(figure) -> str:
    """The sentences below the legend, their lines put together."""
    return " ".join(reversed([text.get_text() for text in figure.draw().canvas.texts]))


def test_points_above_the_roof_are_named_and_explained_in_the_figure():
    (figure,) = figures_of(Roofline, kept())
    over = [
        mark for mark in figure.marks if mark.y > min(figure.roof.product_flop_s, mark.x * figure.roof.copy_bytes_s)
    ]
    assert len(over) == 11
    told = below(figure)
    assert "Above the roof: 11 points (sacm published at 224, gls published at 224, gls fast at 224," in told
    assert "stays in a cache, which is faster and whose rate was not measured." in told
    fast = Data(throughput=[timed(img_s=1000.0)])  # two TFLOP/s, where products have one, right of the slope
    (figure,) = figures_of(Roofline, Data(throughput=[timed(img_s=1000.0, bytes_per_image=1e7)]))
    assert "Above the roof: 1 point (glsim at 224). The flat part is one measurement" in below(figure)
    assert "stays in a cache" in below(*figures_of(Roofline, fast))
    assert "Above" not in below(*figures_of(Roofline, Data(throughput=[timed()])))


def test_points_have_bars_of_their_intervals_and_a_question_mark_where_there_is_none():
    (figure,) = figures_of(Roofline, Data(throughput=[timed()]))
    (bars,) = figure.draw().canvas.axes[0].collections
    (low, high) = bars.get_segments()[0]
    assert list(low) == [5, pytest.approx(2e11 / 1.002)]
    assert list(high) == [5, pytest.approx(2e11 / 0.998)]
    (figure,) = figures_of(Roofline, kept())  # some selections ran once
    legends = {text.get_text() for legend in figure.draw().canvas.legends for text in legend.get_texts()}
    assert {"no interval is known", "unconverged or contended", "published implementation"} <= legends


def test_what_a_roofline_leaves_out_is_named_in_it():
    lost = [tried("oom", "too much", size=1024), {**timed(copy_rate_bytes_s=None), "image_size": 448}]
    (figure,) = figures_of(Roofline, Data(throughput=[timed(), *lost]))
    assert figure.left_out == [
        "Not drawn: 1 point (glsim at 448, batch 1): no count of bytes, or no rates of the device.",
        "Not drawn: 1 point (glsim at 1024, batch 1): no batch has a time, status oom.",
    ]
    rows = [{**one, "latency_s": None, "status": "oom"} if at == 3 else one for at, one in enumerate(kept().selection)]
    (figure,) = figures_of(Roofline, Data(selection=rows))
    assert figure.left_out == ["Not drawn: 1 point (rollout published at 224): no time, status oom."]
    assert figure.left_out[0] in below(figure)


def test_modes_have_figures_of_their_own():
    figures = figures_of(Roofline, Data(throughput=[*sweep(), *sweep(dtype="bfloat16")]))
    assert len({figure.title for figure in figures}) == 2
