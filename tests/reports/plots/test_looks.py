"""Colours, markers and lines: the same for a name everywhere, and readable without colour."""

from __future__ import annotations

from itertools import combinations

import pytest
import seaborn as sns
from helpers.figure_rows import MODELS, figures_of, kept, sweep
from helpers.throughput_rows import HOSTILE, VIT, row
from reports.plots.test_baselines import FIGURES

from fgbench_reports.data import Data
from fgbench_reports.plots.energy import Energy
from fgbench_reports.plots.looks import FAMILIES, Look, labels_of, looks_of, series_looks
from fgbench_reports.plots.style import INK

PAIRS = {
    **{"psm": "transfg", "maws": "ffvt", "gls": "glsim", "rollout": "ramstrans", "sacm": "aftrans"},
    **{"mhv": "ielt", "column_mass": "r2trans", "column_entropy": "aatrans", "attention_sum": "falvit"},
    "confidence": "pim",
}


def test_a_model_looks_like_its_selector():
    looks = looks_of([])
    for selector, model in PAIRS.items():
        assert looks[selector] == looks[model]
    assert looks["dcal"].colour == looks["rollout"].colour
    assert looks["dcal"].marker != looks["rollout"].marker
    assert looks["vit"].colour == INK


def test_colours_are_those_for_colour_blind_eyes():
    palette = {*sns.color_palette("colorblind").as_hex(), INK}
    looks = looks_of(f"plugin {index}" for index in range(40))
    assert {look.colour for look in looks.values()} <= palette


def test_known_names_keep_their_looks_whatever_else_is_there():
    alone, among = looks_of(["gls"]), looks_of(["gls", "aaa", HOSTILE, "zzz"])
    assert all(alone[name] == among[name] for name in FAMILIES)
    assert looks_of(["b", "a"]) == looks_of(["a", "b", "a"])


def test_plug_ins_differ_from_each_other_and_from_known_selectors_without_colour():
    names = [f"plugin {index}" for index in range(40)]
    looks = looks_of(names)
    selectors = [*PAIRS, "attention", "random", "centre", "own", *names]
    assert len({(looks[name].marker, looks[name].line) for name in selectors}) == len(selectors)


def series_of(name: str) -> list[tuple[object, object]]:
    """Marker and line of every series in a figure."""
    figure = FIGURES[name]()
    if hasattr(figure, "curves"):
        shown = [figure.looks[each] for each in figure.curves]
    elif hasattr(figure, "marks"):
        shown = [figure.looks[each] for each in {mark.series: None for mark in figure.marks}]
    else:
        shown = list(figure.looks.values())
    return [(look.marker, look.line) for look in shown]


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "published-figure-4"])
def test_no_two_series_of_a_figure_share_marker_and_line(name):
    found = series_of(name)
    assert len(found) > 1
    assert len(set(found)) == len(found)


def test_a_series_looks_the_same_in_every_figure_of_a_report():
    data = Data(throughput=[*sweep(), *sweep(environment={"device_name": "another"}, models=MODELS[:2])])
    figures = figures_of(Energy, data)
    assert len(figures) == 2
    shared = set(figures[0].lines) & set(figures[1].lines)
    assert len(shared) == 2
    assert all(figures[0].looks[each] == figures[1].looks[each] for each in shared)


def test_variants_of_a_model_share_colour_and_marker_and_differ_in_their_lines():
    rows = [
        row("glsim", selector=selector, impl=impl, backbone=backbone)
        for selector in ("gls", "psm", "mine")
        for impl in ("fast", "published")
        for backbone in (VIT, "another")
    ]
    looks = list(series_looks(Data(throughput=rows)).values())
    assert len(looks) == 12
    assert len({(look.colour, look.marker) for look in looks}) == 1
    assert all(one.line != other.line for one, other in combinations(looks, 2))


def test_the_published_implementation_is_the_dashed_one():
    looks = series_looks(Data(throughput=sweep()))
    lines = {key[2]: look.line for key, look in looks.items() if key[0] == "transfg"}
    assert lines["fast"] == "-"
    assert lines["published"] != "-"


def test_a_label_says_no_more_than_tells_it_from_others():
    rows = [row("transfg", selector="psm", impl=impl) for impl in ("fast", "published")] + [row("vit", selector=None)]
    assert list(labels_of(Data(throughput=rows).throughput).values()) == ["transfg fast", "transfg published", "vit"]
    assert list(labels_of(Data(throughput=[row("a\nb")]).throughput).values()) == ["a b"]


def test_hollow_marks_have_the_paper_inside():
    look = Look(shade=0, marker="o")
    assert look.marks(hollow=True)["markerfacecolor"] != look.colour
    assert look.marks()["markerfacecolor"] == look.colour


def test_looks_of_the_kept_rows_are_known_ones():
    assert {one["selector"] for one in kept().selection_quality} <= set(FAMILIES)
