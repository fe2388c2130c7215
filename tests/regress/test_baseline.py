"""The file of a baseline: a round trip keeps it, small changes are small diffs, and bad files are refused."""

from __future__ import annotations

import difflib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.flops.grid import CountGrid
from fgbench.regress.baseline import BadBaselineError, Baseline, read_baseline, write_baseline
from fgbench_reports.regression.exact import MemoryBaseline, point_name


def counted(selector="psm", impl="fast", size=224, model=None, macs=10, **figures) -> dict:
    identity = {"model": model, "selector": selector, "impl": impl, "backbone": "vit", "image_size": size}
    return {**identity, "macs": macs, "flops": 2 * macs, "params": 3, "activation_bytes": 4, **figures}


def allocated(batch=4, value=5 * 2**30, **fields) -> dict:
    identity = {"model": "glsim", "selector": "gls", "impl": "fast", "backbone": "vit", "image_size": 224}
    more = {"batch_size": batch, "dtype": "float32", "compiled": False, "peak_memory_allocated_bytes": value}
    return {**identity, **more, **fields}


def baseline(*points: dict, memory=()) -> Baseline:
    grid = CountGrid(backbones=["vit"], sizes=[224, 448], impls=["published", "fast"])
    versions = {"torch": "2.9.0", "fgbench": "0.1.0"}
    return Baseline(grid=grid, counted_with=versions, points=points, memory=memory)


GOOD = baseline(counted(), counted(size=1024), memory=[MemoryBaseline(gpu="H200", torch="2.9", points=[allocated()])])
TEXT = write_baseline(GOOD)


def test_what_is_written_is_json_and_is_read_again():
    assert json.loads(TEXT)["points"][0]["macs"] == 10
    assert read_baseline(TEXT) == read_baseline(write_baseline(read_baseline(TEXT)))
    assert list(read_baseline(TEXT).points) == list(GOOD.points)
    assert read_baseline(TEXT).grid == GOOD.grid


def test_points_are_sorted_by_name_and_by_the_value_of_numbers():
    shuffled = [counted(size=size, selector=name) for size in (1024, 224, 448) for name in ("sacm", None, "gls")]
    points = read_baseline(write_baseline(baseline(*shuffled))).points
    assert [row["selector"] for row in points] == [None] * 3 + ["gls"] * 3 + ["sacm"] * 3
    assert [row["image_size"] for row in points[:3]] == [224, 448, 1024]
    assert write_baseline(baseline(*reversed(shuffled))) == write_baseline(baseline(*shuffled))


def test_a_figure_that_changes_is_one_line_of_a_diff():
    other = write_baseline(baseline(counted(macs=11), counted(size=1024), memory=GOOD.memory))
    changed = [line for line in difflib.ndiff(TEXT.splitlines(), other.splitlines()) if line[0] in "+-"]
    assert len(changed) == 2


def test_names_of_models_and_of_selectors_differ():
    assert point_name(counted()) == "psm fast vit 224"
    assert point_name(counted(model="transfg")) == "model transfg psm fast vit 224"
    assert point_name(counted(selector=None, impl=None)) == "vit 224"


def edited(**changes) -> str:
    return json.dumps({**json.loads(TEXT), **changes})


def with_point(**figures) -> str:
    return edited(points=[{**counted(), **figures}])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON, line 1"),
        ("{", "it is not JSON, line 1"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "no baseline"),
        ('{"benchmarks": []}', "no baseline"),
        (TEXT.replace('"macs": 10', '"macs": NaN', 1), "it holds NaN, which is no figure"),
        (TEXT.replace('"macs": 10', '"macs": -Infinity', 1), "it holds -Infinity"),
        (TEXT.replace('"macs": 10', '"macs": 1e999', 1), "points[0].macs is inf"),
        (with_point(macs=None), "points[0].macs is None, and must be a whole number"),
        (with_point(macs=True), "points[0].macs is True"),
        (with_point(flops=1.5), "points[0].flops is 1.5"),
        (with_point(params=-1), "points[0].params is -1"),
        (with_point(macs="10"), "points[0].macs is '10'"),
        (with_point(image_size="224"), "points[0].image_size is '224', and must be a whole number"),
        (with_point(image_size=None), "points[0].image_size is None"),
        (with_point(backbone=None), "points[0].backbone is None, and must be a text"),
        (with_point(speed=1), "points[0] must have"),
        (edited(points=[{"macs": 1}]), "points[0] must have"),
        (edited(points=[3]), "points[0] must have"),
        (edited(points={}), '"points" must be a list'),
        (edited(points=[]), "it has no points"),
        (edited(points=[counted(), counted(macs=11)]), "points[1] stands twice: psm fast vit 224"),
        (edited(points=[counted(), counted(selector="psm fast", impl=None)]), "points[1] stands twice: psm fast vit"),
        (edited(schema_version=2), "its schema_version is 2, and this fgbench reads 1; a newer fgbench wrote it"),
        (edited(schema_version=0), "its schema_version is 0, and this fgbench reads 1"),
        (edited(schema_version="1"), "its schema_version is '1'"),
        (edited(schema_version=True), "its schema_version is True"),
        (edited(convention="paper"), "its convention is 'paper'; known: full, fvcore"),
        (edited(convention=None), "its convention is None"),
        (edited(convention=["full"]), "its convention is ['full']"),
        (edited(counted_with=[]), '"counted_with" must name versions'),
        (edited(counted_with={"torch": 2}), '"counted_with" must name versions'),
        (edited(grid=None), '"grid" must have'),
        (edited(grid={"sizes": [224]}), '"grid" must have'),
        (edited(grid={**json.loads(TEXT)["grid"], "sizes": ["224"]}), '"sizes" must be whole numbers'),
        (edited(grid={**json.loads(TEXT)["grid"], "sizes": [0]}), '"sizes" must be whole numbers'),
        (edited(grid={**json.loads(TEXT)["grid"], "sizes": [10**9]}), "whole numbers, 1 to 16384"),
        (edited(grid={**json.loads(TEXT)["grid"], "sizes": [96, 96]}), 'something stands twice in "sizes"'),
        (edited(grid={**json.loads(TEXT)["grid"], "num_classes": 10**30}), '"num_classes" must be whole numbers'),
        (with_point(macs=10**400), "points[0].macs is 1000"),
        ('{"kind": ' + "1" * 5000 + "}", "it is not JSON"),
        (edited(grid={**json.loads(TEXT)["grid"], "impls": ["quick"]}), '"impls" must be'),
        (edited(grid={**json.loads(TEXT)["grid"], "selectors": "psm"}), '"selectors" must be a list of names'),
        (edited(memory={}), '"memory" must be a list'),
        (edited(memory=[{"gpu": "H200", "points": []}]), 'memory[0]: "gpu" and "torch" must be texts'),
        (edited(memory=[{"gpu": "a", "torch": "b", "points": [{}]}]), "memory[0].points[0] must have"),
        ('{"kind": 1, "kind": 2}', '"kind" stands twice'),
        ("<<<<<<< HEAD\n" + TEXT, "unresolved merge conflict"),
        (TEXT.replace("  ],", "=======\n  ],\n>>>>>>> theirs", 1), "unresolved merge conflict"),
    ],
)
def test_what_is_no_baseline_is_refused_on_one_line(text, says):
    with pytest.raises(BadBaselineError) as error:
        read_baseline(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(st.data())
def test_no_edit_of_a_character_is_taken_for_other_figures_silently(data):
    """A file with one character changed is refused, or has the figures that it shows."""
    at = data.draw(st.integers(0, len(TEXT) - 1))
    text = TEXT[:at] + data.draw(st.characters()) + TEXT[at + 1 :]
    try:
        found = read_baseline(text)
    except BadBaselineError:
        return
    assert list(found.points) == json.loads(text)["points"]


def test_a_byte_order_mark_is_no_error():
    assert read_baseline("\ufeff" + TEXT) == read_baseline(TEXT)
