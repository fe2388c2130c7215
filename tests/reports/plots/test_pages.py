"""A figure in a page: its ids, its colours, and the circles over its points."""

from __future__ import annotations

import re
from functools import cache
from xml.etree import ElementTree

import pytest
from helpers.figure_rows import counted, figures_of, kept, sweep
from reports.plots.test_baselines import FIGURES

from fgbench_reports.data import Data
from fgbench_reports.page.inlined import inline_svg
from fgbench_reports.plots.cost import Cost
from fgbench_reports.plots.formats import svg_for_page, to_png, to_svg
from fgbench_reports.plots.style import GRID, INK, PAPER, frame, in_style
from fgbench_reports.report import Drawing, Point

SVG = "{http://www.w3.org/2000/svg}"


@cache
def page_of(name: str) -> str:
    figure = FIGURES[name]()
    return svg_for_page(figure.draw(), label=figure.alt)


def plain_drawing(*points: tuple[float, float, str]) -> Drawing:
    with in_style():
        canvas, (axes,) = frame()
        axes.plot([0, 1], [0, 1], marker="o")
        axes.set(xlim=(0, 1), ylim=(0, 1))
    return Drawing(canvas=canvas, points=[Point(axes=axes, x=x, y=y, text=text) for x, y, text in points])


def test_the_element_scales_and_says_what_it_is():
    text = page_of("cost")
    root = ElementTree.fromstring(text)
    assert text.startswith("<svg")
    assert root.attrib["class"] == "fg-figure"
    assert root.attrib["role"] == "group"
    assert root.attrib["aria-label"] == FIGURES["cost"]().alt
    assert {"width", "height"}.isdisjoint(root.attrib)
    assert [float(value) for value in root.attrib["viewBox"].split()][:3] == [0, 0, 252]


@pytest.mark.parametrize("name", ["cost", "batch"])
def test_nothing_of_it_reaches_the_rest_of_a_page(name):
    text = inline_svg(page_of(name), "one")
    assert not re.search(r"<style|<metadata|<script|xlink|<\?xml|<!DOCTYPE", text)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert ids
    assert len(ids) == len(set(ids))
    assert all(each.startswith("one--") for each in ids)
    referred = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
    assert referred
    assert set(referred) <= set(ids)


def test_two_figures_on_a_page_share_no_id():
    one, two = (inline_svg(page_of("cost"), anchor) for anchor in "ab")
    assert set(re.findall(r'\bid="([^"]*)"', one)).isdisjoint(re.findall(r'\bid="([^"]*)"', two))


@pytest.mark.parametrize("name", FIGURES)
def test_the_page_gives_its_colours(name):
    text = page_of(name)
    for colour in (INK, GRID, PAPER, "#ffffff", "#000000", "white"):
        assert colour not in text, colour
    assert "currentColor" in text
    assert "var(--fg-grid)" in text


@pytest.mark.parametrize("name", ["cost", "batch", "curves"])
def test_every_point_has_its_circle(name):
    assert page_of(name).count("<circle") == len(FIGURES[name]().draw().points)


def test_hollow_marks_show_the_paper():
    assert "fill: var(--fg-paper)" in page_of("cost")


def marks_in(root: ElementTree.Element) -> set[tuple[float, float]]:
    """Where markers were drawn, as matplotlib wrote it."""
    return {(float(use.attrib["x"]), float(use.attrib["y"])) for use in root.iter(f"{SVG}use")}


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "curves"])
def test_every_circle_lies_on_a_mark_that_was_drawn(name):
    root = ElementTree.fromstring(page_of(name))
    marks = marks_in(root)
    circles = root.findall(f".//{SVG}circle")
    assert circles
    for circle in circles:
        x, y = float(circle.attrib["cx"]), float(circle.attrib["cy"])
        nearest = min((x - a) ** 2 + (y - b) ** 2 for a, b in marks) ** 0.5
        assert nearest < 0.05, circle.attrib["data-text"]


def test_points_are_the_last_group_and_are_told_to_everyone():
    root = ElementTree.fromstring(page_of("cost"))
    group = root[-1]
    assert (group.tag, group.attrib["class"]) == (f"{SVG}g", "fg-points")
    for circle in group:
        assert circle.attrib["class"] == "fg-point"
        assert (circle.attrib["r"], circle.attrib["tabindex"], circle.attrib["role"]) == ("7", "-1", "img")
        assert circle.attrib["aria-label"] == circle.attrib["data-text"]
    assert group[0].attrib["data-text"].split("\n") == ["psm fast", "224 px", "1.7400 % of the backbone, 609 MFLOPs"]


def test_a_circle_is_where_its_numbers_are():
    drawing = plain_drawing((0.25, 0.75, "here"))
    left, bottom, width, height = drawing.points[0].axes.get_position().bounds
    wide, high = drawing.canvas.get_size_inches() * 72
    circle = next(ElementTree.fromstring(svg_for_page(drawing, label="")).iter(f"{SVG}circle"))
    assert float(circle.attrib["cx"]) == pytest.approx(wide * (left + 0.25 * width), abs=0.01)
    assert float(circle.attrib["cy"]) == pytest.approx(high * (1 - bottom - 0.75 * height), abs=0.01)


def test_points_outside_of_the_axes_are_left_out():
    drawing = plain_drawing((0.5, 0.5, "in"), (1.5, 0.5, "out"), (0.5, float("nan"), "nowhere"), (1, 1, "corner"))
    text = svg_for_page(drawing, label="")
    assert re.findall(r'data-text="([^"]*)"', text) == ["in", "corner"]


def test_the_text_of_a_point_is_text():
    hostile = "<script>alert(1)</script>\n\" onload='x' & \x00\ud800"
    text = svg_for_page(plain_drawing((0.5, 0.5, hostile)), label=hostile)
    assert "<script" not in text
    assert "&#10;" in text
    circle = next(ElementTree.fromstring(text).iter(f"{SVG}circle"))
    assert circle.attrib["data-text"] == "<script>alert(1)</script>\n\" onload='x' & \\x00\\ud800"
    assert set(circle.attrib) == {*"class cx cy r fill tabindex role".split(), "aria-label", "data-text"}


def test_files_and_pages_are_the_same_every_time():
    data = Data(flops=counted(), throughput=sweep())

    def once() -> tuple[str, str, bytes]:
        drawing = figures_of(Cost, data)[0].draw()
        return to_svg(drawing), svg_for_page(drawing, label="y"), to_png(drawing, 50)

    assert once() == once()


def test_files_stand_by_themselves():
    text = to_svg(FIGURES["cost"]().draw())
    assert text.startswith("<?xml")
    assert "<dc:date>" not in text
    assert "fill: #ffffff" in text  # the paper
    assert "<text" not in text  # letters are paths, as no reader has the font for sure
    assert not re.search(r"[ \t]$", text, flags=re.MULTILINE)


def test_what_a_user_set_in_matplotlib_changes_nothing():
    import matplotlib as mpl

    plain = to_svg(FIGURES["energy"]().draw())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": False, "lines.linewidth": 9}):
        assert to_svg(FIGURES["energy"]().draw()) == plain


def test_the_kept_rows_make_pages_that_are_not_heavy():
    figure = FIGURES["curves"]()
    assert len(svg_for_page(figure.draw(), label=figure.alt)) < 200_000
    assert len(kept().selection_quality) > 100
