"""Figures against batch size: bars, rings, crosses and notes."""

from __future__ import annotations

import pytest
from helpers.figure_rows import figures_of, sweep
from helpers.throughput_rows import row, tried
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.data import Data
from fgbench_reports.plots.batch import Batch
from fgbench_reports.report import Missing


def drawn(*rows):
    (figure,) = figures_of(Batch, Data(throughput=rows))
    return figure, figure.draw()


def marks(axes, marker) -> list:
    return [line for line in axes.lines if line.get_marker() == marker]


ENDED = {"oom": "x", "oom_inferred": "x", "timeout": "|", "crashed": "|", "error": "|"}


@pytest.mark.parametrize("status", ENDED)
def test_a_batch_without_figures_is_marked_where_it_happened_in_the_colour_of_its_model(status):
    figure, drawing = drawn(row(batch=1), row(batch=2), tried(status, "why it was", batch=4))
    speed, memory = drawing.canvas.axes
    for axes in (speed, memory):
        (mark,) = marks(axes, ENDED[status])
        assert list(mark.get_xdata()) == [4]
        assert mark.get_color() == next(iter(figure.looks.values())).colour
        bottom, top = axes.get_ylim()
        assert bottom < mark.get_ydata()[0] < top
    told = [point.text for point in drawing.points if "batch 4" in point.text]
    assert told == [f"glsim\n224 px, batch 4\n{status}: why it was"] * 2


def test_marks_stand_below_the_throughputs_and_above_the_memory():
    _, drawing = drawn(*sweep(sizes=(448,)))
    speed, memory = drawing.canvas.axes
    values = {
        axes: [point.y for point in drawing.points if point.axes is axes and "images/s" in point.text]
        for axes in (speed, memory)
    }
    assert max(line.get_ydata()[0] for marker in "x|" for line in marks(speed, marker)) < min(values[speed])
    assert min(line.get_ydata()[0] for marker in "x|" for line in marks(memory, marker)) > max(values[memory])


def test_marks_of_models_that_fail_at_the_same_batch_are_told_apart():
    rows = [row(name, batch=1) for name in "abc"] + [tried("oom", "full", model=name, batch=2) for name in "abc"]
    _, drawing = drawn(*rows)
    for axes in drawing.canvas.axes:
        assert len({line.get_ydata()[0] for line in marks(axes, "x")}) == 3


def test_inferred_failures_are_smaller_than_seen_ones():
    _, drawing = drawn(row(batch=1), tried("oom", "full", batch=2), tried("oom_inferred", "full", batch=4))
    seen, inferred = sorted(marks(drawing.canvas.axes[0], "x"), key=lambda line: line.get_xdata()[0])
    assert seen.get_markersize() > inferred.get_markersize()


def test_points_of_another_status_than_ok_have_a_ring_and_the_word_of_their_rows():
    _, drawing = drawn(
        row(batch=1),
        row(batch=2, status="unconverged", reason="noise"),
        row(batch=4, status="contended", reason="noise"),
    )
    (filled,) = marks(drawing.canvas.axes[0], "D")
    (rings,) = marks(drawing.canvas.axes[0], "o")
    assert (list(filled.get_xdata()), list(rings.get_xdata())) == ([1, 2, 4], [2, 4])
    assert filled.get_markerfacecolor() == filled.get_markeredgecolor()
    assert (rings.get_markerfacecolor(), rings.get_markersize() > filled.get_markersize()) == ("none", True)
    assert "unconverged or contended" in letters(drawing)


def letters(drawing) -> set[str]:
    return {text.get_text() for legend in drawing.canvas.legends for text in legend.get_texts()}


def segments(axes) -> list[tuple[float, float]]:
    """The lower and the upper end of every bar that is drawn."""
    pieces = [piece for bars in axes.collections for piece in bars.get_segments()]
    return [(float(piece[0][1]), float(piece[1][1])) for piece in pieces]


def wide(low_s, high_s, **fields):
    return {**row(img_s=100.0, **fields), "latency_ci95_low_s": low_s, "latency_ci95_high_s": high_s}


def test_an_enormous_interval_goes_to_the_edge_and_an_arrow_says_that_it_goes_on():
    latency = 10 / 100  # ± 138 %, as it was met: from below zero to 2.38 times the latency
    rows = [row(batch=8), wide(-0.38 * latency, 2.38 * latency, batch=10)]
    _, drawing = drawn(*rows)
    axes = drawing.canvas.axes[0]
    low, high = segments(axes)[1]
    assert low == pytest.approx(100 / 2.38)
    assert high == axes.get_ylim()[1]  # a latency that may be zero: there is no upper end
    (arrow,) = [line for line in axes.lines if line.get_markersize() == 4.0]
    assert (list(arrow.get_xdata()), list(arrow.get_ydata())) == ([10], [high])
    assert "the bar goes on" in letters(drawing)
    assert any("(±138 %)" in point.text for point in drawing.points)
    _, drawing = drawn(row(batch=8), row(batch=10, width=0.3))
    assert "the bar goes on" not in letters(drawing)


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0, 0.7), st.floats(0, 1)), min_size=1, max_size=6))
def test_every_bar_that_has_no_arrow_is_inside_of_the_frame(points):
    rows = [
        {**wide(latency * (1 - down), latency * (1 + up), batch=2**at), "latency_s": latency}
        | {"throughput_img_s": 2**at / latency}
        for at, (latency, down, up) in enumerate(points)
    ]
    _, drawing = drawn(*rows)
    low, high = drawing.canvas.axes[0].get_ylim()
    met = segments(drawing.canvas.axes[0])
    assert len(met) == len(points)
    for (bottom, top), (latency, down, up), each in zip(met, points, rows, strict=True):
        images = each["batch_size"]
        assert low <= bottom <= top <= high
        for drawn_end, end in ((bottom, images / latency / (1 + up)), (top, images / latency / (1 - down))):
            assert drawn_end == pytest.approx(min(max(end, low), high))


def test_points_without_an_interval_have_a_question_mark_where_others_have_one():
    bare = {**row(batch=2), "latency_ci95_low_s": None, "latency_ci95_high_s": None}
    _, drawing = drawn(row(batch=1), bare)
    assert "no interval is known" in letters(drawing)
    assert any("(no interval)" in point.text for point in drawing.points)
    _, drawing = drawn(bare)
    assert "no interval is known" not in letters(drawing)
    assert "No interval of the throughput is known; memory is a peak and has none." in notes(drawing)
    _, drawing = drawn(row(batch=1))
    assert "Bars are 95 % intervals of the throughput; memory is a peak and has none." in notes(drawing)


def notes(drawing) -> str:
    """The sentences below the legend, their lines put together."""
    return " ".join(reversed([text.get_text() for text in drawing.canvas.texts]))


def test_what_is_left_out_is_counted_and_named_in_the_figure():
    lacking = {**row(batch=4), "peak_memory_allocated_bytes": None}
    _, drawing = drawn(row(batch=1), row(batch=2, repeat=1), row(batch=2, repeat=2), lacking)
    assert "Not drawn: 1 point (glsim at 224, batch 4): memory is not known." in notes(drawing)
    told = "Not drawn: 1 repeat of points that were measured several times; the one of the middle latency is drawn."
    assert told in notes(drawing)


def test_bars_are_the_interval():
    _, drawing = drawn(row(batch=10, img_s=100.0, width=0.5))
    (bars,) = drawing.canvas.axes[0].collections
    low, high = (float(end[1]) for end in bars.get_segments()[0])
    assert low == pytest.approx(100 / 1.5)
    assert high == pytest.approx(200)


def test_sizes_and_modes_have_figures_of_their_own():
    figures = figures_of(Batch, Data(throughput=[row(), row(size=448), row(dtype="bfloat16"), row(compiled=True)]))
    assert len(figures) == 4
    assert len({figure.name for figure in figures}) == 4
    assert all(len(figure.draw().points) == 2 for figure in figures)


def test_of_repeats_the_middle_one_is_drawn():
    _, drawing = drawn(*(row(img_s=img_s, repeat=index) for index, img_s in enumerate((90.0, 100.0, 140.0), 1)))
    assert [point.y for point in drawing.points if point.axes is drawing.canvas.axes[0]] == [100.0]


def test_a_size_of_which_no_batch_ran_is_told():
    items = list(Batch().items(Data(throughput=[row(), tried("oom", "full", size=1024)])))
    assert items[1].what == "throughput and memory against batch size, NVIDIA H200 · float32 · eager · 1024 px"
    assert "oom" in items[1].why
    (missing,) = Batch().items(Data(throughput=[tried("oom", "full")]))
    assert isinstance(missing, Missing)


def test_a_long_series_is_thinned_and_keeps_its_best_point():
    rows = [row(batch=batch, img_s=5000.0 if batch == 777 else 100.0 + batch / 100) for batch in range(1, 2001)]
    figure, drawing = drawn(*rows)
    speeds = [point for point in drawing.points if point.axes is drawing.canvas.axes[0]]
    assert len(speeds) <= 120
    assert {speeds[0].x, speeds[-1].x} == {1, 2000}
    assert 777 in {point.x for point in speeds}
    assert any("2000 points" in note for note in figure.notes)
    assert len(drawing.canvas.axes[0].get_xticks()) <= 12


def test_the_alternative_text_says_what_is_fastest_and_what_did_not_fit():
    figure = figures_of(Batch, Data(throughput=sweep()))[1]
    assert "The fastest is resnet101 at batch 256" in figure.alt
    assert "Out of memory: transfg fast from batch 256, transfg published from batch 256, ffvt" in figure.alt
    assert "Failed in other ways: 1 point." in figure.alt


def test_many_models_that_did_not_run_leave_the_lines_their_room():
    names = [f"m{number:02}" for number in range(20)]
    rows = [row(name, batch=1) for name in names] + [tried("oom", "full", model=name, batch=2) for name in names]
    figure, drawing = drawn(*rows)
    for axes in drawing.canvas.axes:
        (word,) = (text for text in axes.texts if text.get_text() == "did not run")
        assert len(marks(axes, "x")) == 8
        crosses = [axes.transData.transform((2, line.get_ydata()[0]))[1] for line in marks(axes, "x")]
        low, high = axes.get_window_extent().y0, axes.get_window_extent().y1
        assert max(crosses) - min(crosses) < 0.35 * (high - low)
        assert word.get_window_extent().y0 > max(crosses)  # the words stand on no mark
        edges = [axes.transData.transform((1, line.get_ydata()[0]))[1] for line in axes.lines[-9:-8]]
        assert not any(word.get_window_extent().y0 < edge < word.get_window_extent().y1 for edge in edges)
    note = figure.notes[0]
    assert note.startswith("Of 20 that did not run at every batch the first 8 are marked. The others: m08 from batch 2")
    assert note.count("(oom)") == 12


def test_few_models_that_did_not_run_need_no_note():
    figure, _ = drawn(row(batch=1), tried("oom", "full", batch=2))
    assert not any("are marked" in note for note in figure.notes)
