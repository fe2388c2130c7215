"""Layout of figures: ticks, names beside points, legends, names of files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from reports.plots.test_baselines import FIGURES

from fgbench_reports.plots.labels import spread
from fgbench_reports.plots.legend import Legend, handle
from fgbench_reports.plots.scales import plain, prefixed, round_ticks, with_unit
from fgbench_reports.plots.style import TEXT, fitting, heading_lines, in_style, text_width, wrapped
from fgbench_reports.plots.sweeps import chosen_series, file_names, first_figures, listed, thinned


@pytest.mark.parametrize(
    ("value", "text"), [(0.001, "0.001"), (0.5, "0.5"), (20.0, "20"), (1500.0, "1,500"), (10000.0, "10,000")]
)
def test_numbers_at_axes_have_no_exponent(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(500.0, "500"), (2000.0, "2 k"), (1e7, "10 M"), (1.5e12, "1.5 T"), (1e3, "1 k")]
)
def test_large_numbers_have_prefixes(value, text):
    assert prefixed(value) == text


def test_units_follow_their_prefix():
    assert with_unit(17.5632e9, "FLOPs") == "17.6 GFLOPs"
    assert with_unit(12.0, "B") == "12 B"


@given(st.floats(1e-6, 1e12), st.floats(1.15, 1e9))
def test_log_axes_have_few_round_ticks(low, ratio):
    ticks = round_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 10
    assert all(low <= tick <= low * ratio for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(st.lists(st.floats(-500, 500), max_size=12).map(sorted))
def test_names_are_spread_without_changing_their_order(wanted):
    found = spread(wanted, 9.0, 0.0, 150.0)
    assert len(found) == len(wanted)
    assert all(after - before >= 9.0 - 1e-6 for before, after in pairwise(found))
    assert not found or (found[0] >= -1e-6 and found[-1] <= 150.0 + 1e-6)


def test_names_that_do_not_touch_stay_where_they_are():
    assert spread([10, 30, 60], 9, 0, 150) == [10, 30, 60]
    assert spread([50, 50], 10, 0, 150) == [45, 55]


def letters_of(drawing) -> Iterator[Text]:
    """Every text that is seen; matplotlib keeps labels of ticks beyond the limits, and those of a hidden axis."""
    yield from drawing.canvas.texts
    for legend in drawing.canvas.legends:
        yield from legend.get_texts()
    for axes in drawing.canvas.axes:
        yield from (*axes.texts, axes.title, axes._left_title)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_visible():
                low, high = sorted(axis.get_view_interval())
                yield axis.label
                yield from (
                    tick.label1
                    for tick in axis.get_major_ticks()
                    if low <= tick.get_loc() <= high and tick.label1.get_visible()
                )
                yield from (
                    tick.label2
                    for tick in axis.get_major_ticks()
                    if low <= tick.get_loc() <= high and tick.label2.get_visible()
                )


@pytest.mark.parametrize("name", FIGURES)
def test_no_letters_lie_over_others_or_leave_the_figure(name):
    drawing = FIGURES[name]().draw()
    with in_style():
        drawing.canvas.draw_without_rendering()
        renderer = drawing.canvas.canvas.get_renderer()
        shown = {text: text.get_window_extent(renderer) for text in letters_of(drawing) if text.get_text()}
    assert len(shown) > 10
    whole = drawing.canvas.bbox
    for text, box in shown.items():
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= whole.x1 + 0.5, text
        assert box.y1 <= whole.y1 + 0.5, text
    apart = [
        (one.get_text(), two.get_text()) for one, two in combinations(shown, 2) if _overlap(shown[one], shown[two])
    ]
    assert apart == []


def _overlap(one, two, slack=0.8) -> bool:
    across = min(one.x1, two.x1) - max(one.x0, two.x0)
    return across > slack and min(one.y1, two.y1) - max(one.y0, two.y0) > slack


@pytest.mark.parametrize("name", FIGURES)
def test_letters_are_large_enough_in_print(name):
    drawing = FIGURES[name]().draw()
    assert drawing.canvas.get_size_inches()[0] in (3.5, 7.0)
    for axes in drawing.canvas.axes:
        for text in [*axes.texts, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]:
            assert text.get_fontsize() >= TEXT


def test_a_long_name_is_cut_to_its_room():
    assert fitting("short", 100) == "short"
    cut = fitting("w" * 200, 100)
    assert cut.strip("w") == "…"
    assert text_width(cut, TEXT + 0.5) <= 100


@given(st.lists(st.text("abc xyz-µ", max_size=30), max_size=6), st.floats(60, 300))
def test_headings_and_notes_stand_in_lines_that_fit_with_all_of_their_words(parts, width):
    text = " · ".join(parts)
    for lines, size in ((wrapped(text, width), TEXT), (heading_lines(text, width), TEXT + 0.5)):
        assert all(text_width(line, size) <= width for line in lines)
        if not any("…" in line for line in lines):
            assert [word for line in lines for word in line.split() if word != "·"] == [
                word for word in text.split() if word != "·"
            ]


def test_a_heading_is_broken_before_it_is_cut():
    heading = "Published accuracy against measured throughput · cub · a device · float32"
    assert heading_lines(heading, 200) == [
        "Published accuracy against measured throughput",
        "cub · a device · float32",
    ]
    assert heading_lines(heading, 140) == [
        "Published accuracy against",
        "measured throughput · cub",
        "a device · float32",
    ]


def test_names_that_differ_at_their_ends_differ_when_they_are_cut():
    names = [f"glsim vit_base_patch16_clip_224.{weights}" for weights in ("openai", "laion2b")]
    one, other = (fitting(name, 110.0, TEXT) for name in names)
    assert "…" in one
    assert (one[:5], one[-6:], other[-6:]) == ("glsim", "openai", "aion2b")


def test_a_legend_is_read_line_by_line():
    from matplotlib.figure import Figure

    with in_style():
        canvas = Figure(figsize=(3.5, 2))
        Legend(blocks=[[(handle(), name) for name in "abcdef"]], width=110).write(canvas)  # three fit
    (legend,) = canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "d", "b", "e", "c", "f"]  # column by column


def test_a_legend_grows_with_its_lines():
    entries = [(handle(), name) for name in "abcdef"]
    assert Legend(blocks=[[]]).height == 0
    assert Legend(blocks=[entries], width=110).height > Legend(blocks=[entries]).height
    assert Legend(blocks=[entries, entries]).height == 2 * Legend(blocks=[entries]).height


def test_names_of_files_are_plain_and_none_is_taken_twice():
    names = file_names(["A/B", "a b", "../../etc", "日本", "日本", "=1+1", "x" * 500])
    assert names == ["a-b", "a-b_2", "etc", "figure", "figure_2", "1-1", "x" * 80]


def test_more_than_can_be_read_is_left_out_and_named():
    kept, notes = first_figures(list(range(9)), lambda each: f"number {each}", 6)
    assert kept == [0, 1, 2, 3, 4, 5]
    assert notes == [
        "This report draws 6 figures of 9. Without one: number 6; number 7; number 8. The tables have all."
    ]
    series, notes = chosen_series([*(f"plugin {index}" for index in range(40)), "glsim", "vit"], str)
    assert series[:2] == ["vit", "glsim"]
    assert notes == ["Of 42 series the first 24 are drawn; the tables have all of them."]
    assert chosen_series(["b", "a", "b"], str) == (["a", "b"], [])


def test_thinning_keeps_ends_and_extremes():
    values = [float(index) for index in range(1000)]
    values[333], values[777] = -5.0, 5000.0
    kept = thinned(values, lambda value: value)
    assert len(kept) <= 120
    assert {values[0], values[-1], -5.0, 5000.0} <= set(kept)
    assert thinned(values[:120], lambda value: value) == values[:120]


def test_words_in_a_sentence():
    assert [listed(words) for words in ([], ["a"], ["a", "b"], list("abcdefghi"))] == [
        "nothing",
        "a",
        "a and b",
        "a, b, c, d, e, f and 3 more",
    ]
