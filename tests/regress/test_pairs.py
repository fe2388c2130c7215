"""Pairs of runs: their order, and runs that fail."""

from __future__ import annotations

import pytest
from helpers.stand_ins import request

from fgbench.regress.pairs import measure_pairs, self_pairs

SIDES = {"base", "head"}


def sides(runs) -> str:
    return "".join({"base": "A", "head": "B"}[side] for side, *_ in runs)


def test_a_group_is_measured_a_b_b_a_a_b_in_three_pairs(stand_ins):
    result = stand_ins.measure()
    assert sides(stand_ins.runs) == "ABBAAB"
    (point,) = result.points
    assert point.name == "vit fast test_vit 64 batch 1"
    assert (point.base, point.head) == ([1.001, 1.002, 1.003], [2.001, 2.002, 2.003])
    assert (result.problems, result.interrupted, result.taken) == ([], False, 0)


def test_undecided_points_have_four_more_pairs_with_the_batches_that_are_needed(stand_ins):
    options = {"models": ["vit", "glsim"], "batch_sizes": [1, 2, 4]}
    result = stand_ins.measure("glsim fast test_vit 64 batch 2", "glsim fast test_vit 64 batch 4", **options)
    runs = stand_ins.runs
    assert all(batches == [1, 2, 4] for *_, batches in runs[:12])
    assert [(model, batches) for _, model, batches in runs[12:]] == [("glsim", [2, 4])] * 8
    assert sides(run for run in runs if run[1] == "glsim") == "ABBAABBAABBAAB"
    assert {point.name: len(point.base) for point in result.points} == {
        **{f"vit fast test_vit 64 batch {size}": 3 for size in (1, 2, 4)},
        "glsim fast test_vit 64 batch 1": 3,
        "glsim fast test_vit 64 batch 2": 7,
        "glsim fast test_vit 64 batch 4": 7,
    }


def test_what_is_undecided_is_asked_about_the_first_pairs(stand_ins):
    asked = []

    def undecided(points):
        asked.append([(point.name, len(point.base), len(point.head)) for point in points])
        return []

    measure_pairs(request(), stand_ins.side("base"), stand_ins.side("head"), undecided)
    assert asked == [[("vit fast test_vit 64 batch 1", 3, 3)]]


def test_groups_take_turns_in_an_order_that_is_drawn_anew_and_can_be_had_again(stand_ins):
    options = {"models": ["vit", "glsim"], "image_sizes": [32, 64], "seed": 3}
    stand_ins.measure(**options)
    first = stand_ins.log
    rounds = [first[start : start + 8] for start in (0, 8, 16)]
    orders = [[tuple(run["words"][3:5]) for run in some[::2]] for some in rounds]
    assert all(len(set(order)) == 4 for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [sides([(run["side"],) for run in some]) for some in rounds] == ["AB" * 4, "BA" * 4, "AB" * 4]
    stand_ins.measure(**options, first_pairs=1)
    assert [run["words"][:5] for run in stand_ins.log[24:]] == [run["words"][:5] for run in rounds[0]]


def test_a_self_test_has_all_seven_pairs_of_one_side(stand_ins):
    result = self_pairs(request(models=["vit", "glsim"]), stand_ins.side("base"))
    assert [(len(point.base), len(point.head)) for point in result.points] == [(7, 7)] * 2
    assert len(stand_ins.runs) == 28


def test_a_disturbed_pair_is_repeated_as_a_pair_at_the_end_of_its_round(stand_ins):
    stand_ins.plan(
        {"model": "vit", "side": "head", "runs": [1, 2], "batch": 2, "row": {"status": "contended", "reason": "load"}}
    )
    result = stand_ins.measure(models=["vit", "cal"], batch_sizes=[1, 2], first_pairs=1)
    first, second, repeated = stand_ins.runs[:2], stand_ins.runs[2:4], stand_ins.runs[4:]
    assert {model for _, model, _ in first} | {model for _, model, _ in second} == {"vit", "cal"}
    assert repeated == [("base", "vit", [2]), ("head", "vit", [2])]
    assert all(len(point.base) == len(point.head) == 1 for point in result.points)
    (point,) = [point for point in result.points if point.name == "vit fast test_vit 64 batch 2"]
    assert (point.base, point.head) == ([2.003], [4.003]), "one of a pair is of another time"
    assert result.problems == []


def test_a_pair_that_is_disturbed_twice_is_left_out_and_said(stand_ins):
    stand_ins.plan({"side": "base", "runs": [2, 3], "row": {"status": "contended", "reason": "others took 20 %"}})
    result = stand_ins.measure()
    (point,) = result.points
    assert (point.base, point.head) == ([1.001, 1.004], [2.001, 2.004])
    assert not point.failed
    said = "vit fast test_vit 64 batch 1: pair 2 was disturbed twice and left out, base contended: others took 20 %"
    assert result.problems == [said]


def test_an_unconverged_time_counts(stand_ins):
    stand_ins.plan({"row": {"status": "unconverged", "reason": "±3 %"}})
    (point,) = stand_ins.measure().points
    assert len(point.base) == 3
    assert sides(stand_ins.runs) == "ABBAAB"


def test_memory_that_runs_out_on_one_side_twice_is_its_result_and_the_other_batches_go_on(stand_ins):
    stand_ins.plan({"side": "head", "batch": 4, "row": {"status": "oom", "reason": "2 GB more", "latency_s": None}})
    result = stand_ins.measure(batch_sizes=[1, 4])
    small, large = result.points
    assert (len(small.base), small.failed) == (3, False)
    assert (large.base, large.head) == ([], [])
    assert (large.base_failure, large.head_failure) == (None, "oom: 2 GB more")
    assert large.base_environment["side"] == "base"
    batches = [batches for *_, batches in stand_ins.runs]
    assert batches == [[1, 4]] * 2 + [[4]] * 2 + [[1]] * 4


def test_memory_that_runs_out_on_both_sides_is_not_tried_again(stand_ins):
    stand_ins.plan({"batch": 4, "row": {"status": "oom", "reason": "2 GB more", "latency_s": None}})
    result = stand_ins.measure(batch_sizes=[1, 4], first_pairs=1)
    assert result.points[1].base_failure == result.points[1].head_failure == "oom: 2 GB more"
    assert len(stand_ins.runs) == 2


def test_a_crash_is_forgiven_once(stand_ins):
    stand_ins.plan({"side": "head", "runs": [1], "do": "crash"})
    result = stand_ins.measure(batch_sizes=[1, 2])
    assert [(len(point.base), point.failed) for point in result.points] == [(3, False)] * 2
    assert len(stand_ins.runs) == 8


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        ("crash", "crashed: killed by SIGSEGV, Segmentation fault"),
        ("garbage", "crashed: its output is no list of rows"),
    ],
)
def test_a_side_that_has_no_rows_twice_has_vanished_with_its_reason(stand_ins, deed, why):
    stand_ins.plan({"side": "head", "do": deed})
    result = stand_ins.measure(batch_sizes=[1, 2])
    assert [(point.base_failure, point.head_failure) for point in result.points] == [(None, why)] * 2
    assert len(stand_ins.runs) == 4, "one attempt more, and no other pair"


def test_a_crash_after_good_pairs_keeps_them(stand_ins):
    stand_ins.plan({"side": "head", "runs": [2, 3], "do": "crash"})
    (point,) = stand_ins.measure().points
    assert (point.base, point.head) == ([1.001], [2.001])
    assert point.head_failure == "crashed: killed by SIGSEGV, Segmentation fault"


@pytest.mark.parametrize("side", sorted(SIDES))
def test_what_a_side_refuses_is_there_or_new_on_the_other_and_not_tried_again(stand_ins, side):
    stand_ins.plan({"side": side, "do": "refuse", "model": "glsim"})
    result = stand_ins.measure(models=["vit", "glsim"], selectors=["new"])
    well, point = sorted(result.points, key=lambda point: point.failed)
    why = "refused: unknown selector 'new'; known selectors: old"
    assert (point.model, point.selector, len(well.base)) == ("glsim", "new", 3)
    assert (point.base_failure, point.head_failure) == ((why, None) if side == "base" else (None, why))
    assert result.problems == []
    assert sum(model == "glsim" for _, model, _ in stand_ins.runs) == 2


def test_a_row_that_one_side_does_not_have_is_no_loss_of_the_others(stand_ins):
    stand_ins.plan({"side": "head", "batch": 2, "do": "leave out"})
    one, two = stand_ins.measure(batch_sizes=[1, 2]).points
    assert (len(one.base), one.failed) == (3, False)
    assert (two.base_failure, two.head_failure) == (None, "it has no such point")


def test_a_point_whose_default_backbone_changed_is_one_that_went_and_one_that_came(stand_ins):
    stand_ins.plan({"side": "head", "row": {"backbone": "test_vit2"}})
    before, after = stand_ins.measure().points
    assert (before.backbone, before.head_failure) == ("test_vit", "it has no such point")
    assert (after.backbone, after.base_failure) == ("test_vit2", "it has no such point")


def test_what_neither_side_knows_is_said_once_and_not_tried_again(stand_ins):
    stand_ins.plan({"do": "refuse", "model": "vit", "said": "unknown model 'vit'"})
    result = stand_ins.measure(models=["vit", "glsim"])
    assert result.unmeasured == {"vit fast 64": "refused: unknown model 'vit'"}
    assert [point.model for point in result.points] == ["glsim"]
    assert sum(model == "vit" for _, model, _ in stand_ins.runs) == 2


def test_a_model_of_one_implementation_is_measured_once_where_two_are_asked_for(stand_ins):
    stand_ins.plan({"model": "vit", "row": {"impl": None}})
    result = stand_ins.measure(models=["vit", "glsim"], impls=["published", "fast"], first_pairs=1)
    assert sorted(point.name for point in result.points) == [
        "glsim fast test_vit 64 batch 1",
        "glsim published test_vit 64 batch 1",
        "vit test_vit 64 batch 1",
    ]
    assert sum(model == "vit" for _, model, _ in stand_ins.runs) == 2


def test_points_of_several_types_have_names_of_their_own(stand_ins):
    result = stand_ins.measure(dtypes=["float32", "bfloat16"], first_pairs=1)
    assert sorted(point.name for point in result.points) == [
        "vit fast test_vit 64 batch 1",
        "vit fast test_vit 64 batch 1 bfloat16",
    ]


def test_memory_and_environments_of_both_sides_are_kept(stand_ins):
    stand_ins.plan(
        {"side": "base", "row": {"peak_memory_allocated_bytes": 2**30}},
        {"side": "head", "row": {"peak_memory_allocated_bytes": 2**31}},
    )
    (point,) = stand_ins.measure().points
    assert (point.base_memory, point.head_memory) == ([2**30] * 3, [2**31] * 3)
    assert (point.base_environment["side"], point.head_environment["side"]) == ("base", "head")
    stand_ins.plan()
    (point,) = stand_ins.measure().points
    assert (point.base_memory, point.head_memory) == ([], []), "a CPU has none"


def test_a_side_of_another_time_may_lack_fields(stand_ins):
    bare = dict.fromkeys(["status", "reason", "environment", "latency_s", "device", "dtype"], "leave out")
    stand_ins.plan({"row": {**bare, "throughput_img_s": 4.0}})
    (point,) = stand_ins.measure(batch_sizes=[2]).points
    assert point.base == [0.5] * 3
    assert (point.device, point.base_environment) == (None, {})


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), None, "fast"])
def test_a_time_that_cannot_be_is_none(stand_ins, seconds):
    stand_ins.plan({"side": "head", "row": {"latency_s": seconds}})
    (point,) = stand_ins.measure(first_pairs=1).points
    assert (point.base, point.head) == ([], [])
    assert point.head_failure


def test_names_are_taken_as_they_come(stand_ins):
    hostile = "<b>|\n\x1b[31m`'\""
    stand_ins.plan({"row": {"selector": hostile}})
    (point,) = stand_ins.measure(first_pairs=1).points
    assert point.selector == hostile
    assert point.name == f"vit {hostile} fast test_vit 64 batch 1"


def test_progress_ends_where_it_said_that_it_would(stand_ins):
    told = []
    stand_ins.measure("vit fast test_vit 64 batch 1", models=["vit", "cal"], tell=lambda *now: told.append(now))
    assert [done for done, *_ in told] == [*range(20), 20]
    assert {total for _, total, _ in told[:12]} == {12}
    assert {total for _, total, _ in told[12:]} == {20}
    assert {"vit fast 64: base, pair 1", "cal fast 64: head, pair 3"} <= {what for *_, what in told}
