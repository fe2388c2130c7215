"""Exact figures: changes in both directions, vanished, new; and memory, with its tolerance on one GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.regression.exact import (
    FIGURES,
    MemoryBaseline,
    compare_bytes,
    compare_counts,
    compare_memory,
)
from fgbench_reports.regression.findings import (
    CHANGED,
    FAIL,
    LARGER,
    NEW,
    PASS,
    REBASELINE,
    SAME,
    SMALLER,
    UNDECIDED,
    VANISHED,
    Outcome,
)

MIB = 2**20


def counted(selector="psm", **figures) -> dict:
    identity = {"model": None, "selector": selector, "impl": "fast", "backbone": "vit", "image_size": 224}
    return {**identity, **dict.fromkeys(FIGURES, 1000), **figures}


def allocated(batch=4, value=5_000 * MIB) -> dict:
    identity = {"model": "glsim", "selector": "gls", "impl": "fast", "backbone": "vit", "image_size": 224}
    return {
        **identity,
        "batch_size": batch,
        "dtype": "float32",
        "compiled": False,
        "peak_memory_allocated_bytes": value,
    }


def on(gpu="H200", torch="2.9", *points: dict) -> MemoryBaseline:
    return MemoryBaseline(gpu=gpu, torch=torch, points=points)


def verdicts(findings) -> list[str]:
    return [finding.verdict for finding in findings]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("difference", [-1, 1])
def test_one_operation_more_or_less_fails(figure, difference):
    found = compare_counts([counted()], [counted(**{figure: 1000 + difference})])
    assert {finding.figure: finding.verdict for finding in found} == {**dict.fromkeys(FIGURES, SAME), figure: CHANGED}
    changed = next(finding for finding in found if finding.verdict == CHANGED)
    assert changed.change == pytest.approx(difference / 1000)
    assert changed.reason.startswith("more" if difference > 0 else "less")
    assert Outcome(findings=found).verdict == FAIL


def test_a_vanished_point_fails_and_a_new_one_is_listed():
    found = compare_counts(
        [counted("psm"), counted("gls")], [counted("gls"), counted("mine")], {"psm fast vit 224": "it broke"}
    )
    by_point = {finding.point: finding for finding in found}
    assert by_point["psm fast vit 224"].verdict == VANISHED
    assert "it broke" in by_point["psm fast vit 224"].reason
    assert by_point["psm fast vit 224"].before == 1000
    assert by_point["mine fast vit 224"].verdict == NEW
    assert by_point["gls fast vit 224"].verdict == SAME
    assert Outcome(findings=compare_counts([counted()], [counted(), counted("mine")])).verdict == PASS


def test_from_nothing_to_something_has_no_ratio():
    found = compare_counts([counted(params=0)], [counted(params=7)])
    assert [finding.change for finding in found if finding.verdict == CHANGED] == [None]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_every_figure_of_both_sides_is_found_once(before, after):
    found = compare_counts([counted(name) for name in before], [counted(name) for name in after])
    both, fresh, gone = set(before) & set(after), set(after) - set(before), set(before) - set(after)
    assert verdicts(found).count(SAME) == len(both) * len(FIGURES)
    assert verdicts(found).count(NEW) == len(fresh) * len(FIGURES)
    assert verdicts(found).count(VANISHED) == len(gone)


@pytest.mark.parametrize(
    ("before", "after", "both_ways", "expected"),
    [
        (100 * MIB, 102 * MIB, True, SAME),  # 2 MiB
        (100 * MIB, 102 * MIB + 1, True, LARGER),
        (100 * MIB, 98 * MIB - 1, True, CHANGED),
        (100 * MIB, 98 * MIB - 1, False, SMALLER),
        (10_000 * MIB, 10_010 * MIB, True, SAME),  # 0.1 %
        (10_000 * MIB, 10_010 * MIB + 1, True, LARGER),
        (0, 2 * MIB, True, SAME),
        (0, 3 * MIB, True, LARGER),
    ],
)
def test_allocated_memory_may_differ_by_a_tenth_of_a_percent_or_two_mebibytes(before, after, both_ways, expected):
    assert compare_bytes("it", before, after, both_ways=both_ways).verdict == expected


def test_memory_is_compared_on_one_gpu_and_version_of_torch_alone():
    known = [on("H200", "2.9", allocated()), on("A100", "2.9", allocated(value=1))]
    assert verdicts(compare_memory(known, [on("H200", "2.9", allocated())])) == [SAME]
    assert verdicts(compare_memory(known, [on("H200", "2.9", allocated(value=9_000 * MIB))])) == [LARGER]
    for other in (on("H200", "2.10", allocated(value=1)), on("L4", "2.9", allocated(value=1))):
        found = compare_memory(known, [other])
        assert verdicts(found) == [REBASELINE]
        assert "re-baseline: the baseline's memory is of H200 with torch 2.9; A100 with torch 2.9" in found[0].reason
        assert f"this is {other.gpu} with torch {other.torch}" in found[0].reason
        assert Outcome(findings=found).verdict == UNDECIDED
    assert "no GPU" in compare_memory([], [on("L4", "2.9", allocated())])[0].reason


def test_memory_that_was_not_measured_again_has_vanished():
    known = [on("H200", "2.9", allocated(4), allocated(8))]
    found = compare_memory(known, [on("H200", "2.9", allocated(4), allocated(16))])
    assert verdicts(found) == [SAME, VANISHED, NEW]
