"""Figures of cost against image size: positions of points, and rows that must not share a figure."""

from __future__ import annotations

from helpers.figure_rows import PERCENTS, SIZES, counted, figures_of

from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.cost import Cost
from fgbench_reports.report import Missing


def items(rows) -> list:
    return list(Cost().items(Data(flops=rows)))


def test_every_count_is_a_point_at_its_size_and_percentage():
    (figure,) = items(counted())
    points = {(point.x, point.y) for point in figure.draw().points}
    assert points == {(size, percent) for some in PERCENTS.values() for size, percent in zip(SIZES, some, strict=True)}


def test_both_axes_are_logarithmic_and_the_backbone_is_a_line():
    (axes,) = items(counted())[0].draw().canvas.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(size) for size in SIZES]
    assert any(list(line.get_ydata()) == [100, 100] for line in axes.lines)
    assert "backbone" in {text.get_text() for text in axes.texts}
    assert "%" in axes.get_ylabel()
    assert "pixels" in axes.get_xlabel()


def test_published_is_half_filled_and_dashed_and_fast_is_filled_and_solid():
    (figure,) = items(counted())
    lines = figure.draw().canvas.axes[0].lines
    dashed = [line for line in lines if line.get_linestyle() == "--" and len(line.get_xdata()) == len(SIZES)]
    half = [line for line in lines if line.get_marker() == "o" and line.get_fillstyle() == "left"]
    full = [line for line in lines if line.get_marker() == "o" and line.get_fillstyle() == "full"]
    assert len(dashed) == len(PERCENTS) / 2
    assert [list(line.get_ydata()) for line in half] == [list(PERCENTS["psm", "published"])]
    assert [list(line.get_ydata()) for line in full] == [list(PERCENTS["psm", "fast"])]
    assert all(line.get_markerfacecolor() == line.get_markeredgecolor() for line in (*half, *full))  # none is hollow


def test_conventions_backbones_and_grids_have_figures_of_their_own():
    rows = [
        *counted(),
        *counted("paper"),
        *counted(backbone="another"),
        *counted(patch_stride=12),
        *counted(num_classes=7),
    ]
    figures = items(rows)
    assert len(figures) == 5
    assert [figure.title.rpartition(" ")[2] for figure in figures] == ["full"] * 4 + ["paper"]
    assert sum("patches every 12 px" in figure.title for figure in figures) == 1
    assert len({figure.name for figure in figures}) == 5


def test_whole_models_and_parts_are_no_selections():
    rows = [{**row, "model": "glsim"} for row in counted()] + [{**row, "part": "selector"} for row in counted()]
    assert items(rows) == [Missing(what="cost of selection against image size", command=KINDS["flops"])]


def test_a_selection_that_is_counted_as_nothing_is_named():
    rows = [*counted("fvcore"), *({**row, "selector": "maws", "percent_of_backbone": 0.0} for row in counted("fvcore"))]
    figure = next(figure for figure in figures_of(Cost, Data(flops=rows)))
    assert any(note.startswith("Not drawn: 30 rows of maws published at 224") for note in figure.left_out)
    free = [{**row, "percent_of_backbone": 0.0} if row["selector"] == "maws" else row for row in counted("fvcore")]
    figure = figures_of(Cost, Data(flops=free))[0]
    told = "Not drawn: 6 points of maws, for which this convention counts nothing: "
    assert f"{told}a logarithmic axis has no place for zero." in figure.left_out
    assert set(figure.left_out) <= set(figure.notes)
    assert "Not drawn: 6 points of maws" in " ".join(text.get_text() for text in reversed(figure.draw().canvas.texts))
    assert all(point.y > 0 for point in figure.draw().points)


def test_counts_that_differ_are_told_and_repeated_ones_are_not():
    changed = [{**row, "percent_of_backbone": 2 * row["percent_of_backbone"]} for row in counted()]
    assert any("differ" in note for note in items([*counted(), *changed])[0].notes)
    twice = items([*counted(), *counted()])[0]
    assert not any("differ" in note for note in twice.notes)
    assert len(twice.draw().points) == len(counted())


def test_the_alternative_text_names_the_extremes():
    (figure,) = items(counted())
    assert "At 1024 pixels psm published costs most with 1240.0 %, gls fast least with 0.0009 %." in figure.alt
    assert "psm published and rollout published" in figure.alt.partition("line at 100 %")[2]
