"""Every figure with unusual data: no rows, one row, malicious names, and many rows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from helpers.figure_rows import MODELS, counted, kept, sweep
from helpers.growth import assert_work_grows_with
from helpers.throughput_rows import GPU, HOSTILE, points, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.batch import Batch
from fgbench_reports.plots.cost import Cost
from fgbench_reports.plots.curves import Curves
from fgbench_reports.plots.energy import Energy
from fgbench_reports.plots.formats import svg_for_page, to_png, to_svg
from fgbench_reports.plots.roofline import Roofline
from fgbench_reports.plots.tradeoff import Memory, Tradeoff
from fgbench_reports.report import Figure, Missing, report_breach

REPORTS = (Cost, Tradeoff, Memory, Batch, Roofline, Energy, Curves)
NAMES = [
    HOSTILE,
    "$x_{1}$",
    r"\frac{1}{2}",
    "_a_^2",
    "<svg onload=alert(1)>",
    "a\nb",
    "日本語",
    "]]>",
    "&amp;",
    "%s{0}",
]


def all_items(data: Data) -> Iterator[Figure | Missing]:
    for report in REPORTS:
        yield from report().items(data)


def everything(data: Data) -> list[Figure]:
    return [item for item in all_items(data) if isinstance(item, Figure)]


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_keeps_the_contract(report):
    assert report_breach(report) is None
    assert report.__doc__
    assert re.fullmatch(r"[a-z]+", report.name)


@pytest.mark.parametrize("report", REPORTS)
def test_nothing_is_named_with_the_command_that_fills_it(report):
    missing = [item for item in report().items(Data()) if isinstance(item, Missing)]
    assert missing
    for one in missing:
        assert one.why == "there are no rows for it"
        assert any(one.command.startswith(command) for command in KINDS.values())


def test_names_of_figures_are_names_of_files_and_unique_in_a_report():
    data = Data(
        throughput=[*sweep(), *sweep(dtype="bfloat16"), row("日本語", dtype="日本"), row(dtype="語")], flops=counted()
    )
    for report in REPORTS:
        names = [item.name for item in report().items(data) if isinstance(item, Figure)]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names)


def test_one_row_is_enough():
    one = sweep(MODELS[-1:], sizes=(224,), batches=(1,))
    for figure in everything(Data(throughput=one, flops=counted()[:1], selection=kept().selection[:1])):
        assert figure.draw().points


def test_names_are_text_everywhere():
    rows = [
        row(name, selector=name, backbone=name, img_s=90.0 + index, size=224, energy_j_per_image=1.0 + index)
        for index, name in enumerate(NAMES)
    ]
    environment = {**GPU, "device_name": NAMES[1], "torch": NAMES[4]}
    data = Data(
        throughput=[{**each, "environment": environment} for each in rows],
        flops=[{**one, "selector": name} for name in NAMES for one in counted()[:2]],
    )
    figures = everything(data)
    assert len(figures) >= 4
    for figure in figures:
        drawing = figure.draw()
        text = svg_for_page(drawing, label=figure.alt)
        assert "<svg onload" not in text
        root = ElementTree.fromstring(text)
        letters = "".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))
        if figure.name != "published-figure-4":
            assert "$x_{1}$" in letters  # as it is, and no formula
            assert r"\frac{1}{2}" in letters
        to_svg(drawing)
        assert to_png(drawing, 40).startswith(b"\x89PNG")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(points(), max_size=10))
def test_any_rows_of_a_sweep_can_be_drawn(rows):
    for figure in everything(Data(throughput=rows)):
        if figure.name != "published-figure-4":
            drawing = figure.draw()
            ElementTree.fromstring(svg_for_page(drawing, label=figure.alt))
            assert figure.alt.endswith(".")
            assert figure.notes


@pytest.mark.parametrize("width", [0.05, 0.5, 0.9, 1.4])
@pytest.mark.parametrize("report", [Batch, Roofline, Tradeoff])
def test_a_legend_has_the_arrow_where_a_bar_ends_in_one_and_nowhere_else(report, width):
    rates = {"matrix_rate_flop_s": 1e12, "copy_rate_bytes_s": 1e11, "macs_per_image": 1e9, "bytes_per_image": 4e8}
    rows = [row(width=width, environment={**GPU, **rates}), row("vit", selector=None, environment={**GPU, **rates})]
    figures = [item for item in report().items(Data(throughput=rows)) if isinstance(item, Figure)]
    drawing = figures[0].draw()
    arrows = [line for line in drawing.canvas.axes[0].lines if line.get_markersize() == 4.0]
    told = {text.get_text() for legend in drawing.canvas.legends for text in legend.get_texts()}
    assert bool(arrows) == ("the bar goes on" in told) == (width > 0.7)


def test_the_kept_rows_fill_every_kind_but_energy_and_the_models_roofline():
    missing = {item.what for item in all_items(kept()) if isinstance(item, Missing)}
    assert missing == {"cost of selection against image size", "a roofline of models", "energy per image"}


@pytest.mark.thorough
def test_the_work_for_two_thousand_rows_is_ten_times_that_for_two_hundred_and_takes_little_room():
    environments = [{**GPU, "torch": f"2.{minor}"} for minor in range(3)]
    rows = [
        row
        for environment in environments
        for dtype in ("float32", "amp")
        for row in sweep(
            sizes=(224, 384, 448, 512, 768, 1024),
            batches=(1, 2, 4, 8, 16, 32, 64, 128, 192, 256),
            environment=environment,
            dtype=dtype,
        )
    ]
    assert len(rows) > 2_000

    def draw(rows) -> None:
        data = Data(throughput=rows, flops=counted(), selection=kept().selection)
        figures = [svg_for_page(figure.draw(), label=figure.alt) for figure in everything(data)]
        assert sum(map(len, figures)) < 3_000_000

    assert_work_grows_with(rows[:2_000], draw)


@pytest.mark.parametrize("module", ["cost", "tradeoff", "batch", "roofline", "energy", "curves", "formats"])
def test_importing_a_figure_is_cheap(module):
    heavy = "{'matplotlib', 'seaborn', 'pandas', 'numpy', 'torch'}"
    code = f"import sys, fgbench_reports.plots.{module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


def test_items_are_made_without_drawing():
    code = (
        "import sys; from fgbench_reports.plots.tradeoff import Tradeoff; from fgbench_reports.data import Data; "
        "list(Tradeoff().items(Data())); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
