"""From a worker's result to a row, and the choice of the best batch size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.fakes import groups

from fgbench.measure.points import Rates
from fgbench.measure.rows import make_row
from fgbench.results.records import ThroughputRow, saved_fields
from fgbench.results.rows import mark_best

(GROUP,) = groups("vit")
RESULT = {
    "status": "ok",
    "reason": None,
    "throughput_img_s": 100.0,
    "latency_s": 0.04,
    "latency_ci95_low_s": 0.039,
    "latency_ci95_high_s": 0.041,
    "blocks": [0.04] * 8,
    "device_memory_bytes": 5,
    "macs_per_image": 10**9,
    "bytes_per_image": 10**8,
    "missing": {"energy_j_per_image": "none here"},
    "seen": {"attempts": 1},
}
FACTS = {"torch": "2.11", "device_name": "A CPU"}
RATES = Rates(flop_s=1e12, bytes_s=1e10)


def row(batch_size: int = 4, rates=RATES, **result):
    return make_row(GROUP, batch_size, {**RESULT, **result}, FACTS, rates)


def test_mfu_is_two_operations_per_multiply_add_over_the_measured_rate():
    made = row()
    assert made["mfu"] == pytest.approx(2 * 1e9 * 100 / 1e12)
    fields = [name for name in saved_fields(ThroughputRow) if name != "repeat"]
    assert list(made.as_dict()) == [*fields, "kind", "schema_version"]
    assert made["environment"]["torch"] == "2.11"
    assert made["environment"]["matrix_rate_flop_s"] == 1e12
    assert made["environment"]["copy_rate_bytes_s"] == 1e10
    assert (made["environment"]["macs_per_image"], made["environment"]["bytes_per_image"]) == (10**9, 10**8)
    assert made["environment"]["missing"] == {"energy_j_per_image": "none here"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rates": Rates(why="it could not be measured")}, "it could not be measured"),
        ({"rates": Rates(flop_s=1e10)}, "were disturbed"),  # 20 times what the device can do
        ({"macs_per_image": None, "missing": {"mfu": "cannot be counted"}}, "cannot be counted"),
    ],
)
def test_an_mfu_that_cannot_be_is_null_with_its_reason(change, said):
    made = row(**change)
    assert made["mfu"] is None
    assert said in made["environment"]["missing"]["mfu"]


def test_a_point_without_a_figure_has_nulls():
    made = make_row(GROUP, 4, {"status": "oom", "reason": "no room"}, FACTS, Rates(flop_s=1e12))
    assert (made["status"], made["reason"]) == ("oom", "no room")
    figures = ("throughput_img_s", "latency_s", "blocks", "mfu", "device_memory_bytes", "energy_j_per_image")
    assert {made[name] for name in figures} == {None}


def test_the_highest_throughput_of_each_group_is_the_best():
    other = make_row(replace(GROUP, case=replace(GROUP.case, image_size=448)), 4, RESULT, FACTS, Rates())
    rows = [
        row(1, throughput_img_s=50.0),
        row(2, throughput_img_s=90.0, status="unconverged"),
        row(4, throughput_img_s=80.0),
    ]
    marked = mark_best([*rows, other, row(8, status="oom", throughput_img_s=None)])
    assert [each["best"] for each in marked] == [False, True, False, True, False]
    assert [each["best"] for each in rows] == [False] * 3  # the originals are left alone


def test_modes_and_machines_are_not_compared_with_each_other():
    changed = [
        make_row(replace(GROUP, mode=replace(GROUP.mode, channels_last=True)), 4, RESULT, FACTS, Rates()),
        make_row(replace(GROUP, mode=replace(GROUP.mode, dtype="bfloat16")), 4, RESULT, FACTS, Rates()),
        make_row(GROUP, 4, RESULT, FACTS | {"device_name": "Another"}, Rates()),
        make_row(replace(GROUP, repeat=2), 4, RESULT, FACTS, Rates()),
    ]
    assert all(each["best"] for each in mark_best([row(throughput_img_s=1000.0), *changed]))


def test_nothing_is_the_best_of_nothing():
    assert mark_best([]) == []
