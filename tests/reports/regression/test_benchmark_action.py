"""The arrays of benchmark-action: every field as its src/extract.ts reads it."""

from __future__ import annotations

import json
import math
import re

import pytest
from helpers.regression_outcomes import EXAMPLE, HOSTILE_OUTCOME, VERDICTS, counted, many, memory, of, timed

from fgbench_reports.regression.benchmark_action import to_bigger_is_better, to_smaller_is_better
from fgbench_reports.regression.findings import CHANGED, NEW, SAME, SLOWER, TIME, VANISHED, Outcome

ARRAYS = {"smaller": to_smaller_is_better, "bigger": to_bigger_is_better}
OUTCOMES = {"example": EXAMPLE, "hostile": HOSTILE_OUTCOME, "many": many(100)}


def smaller(*findings) -> list[dict]:
    return json.loads(to_smaller_is_better(Outcome(findings=findings)))


def bigger(*findings) -> list[dict]:
    return json.loads(to_bigger_is_better(Outcome(findings=findings)))


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_every_field_has_its_type(array, outcome):
    entries = json.loads(array(outcome), parse_constant=pytest.fail)  # NaN and Infinity are none of JSON's
    assert entries
    for entry in entries:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert all(isinstance(entry[field], str) and entry[field] for field in ("name", "unit"))
        assert type(entry["value"]) in (int, float)
        assert math.isfinite(entry["value"])
        assert all(isinstance(entry[field], str) for field in ("range", "extra") if field in entry)
        if "range" in entry:
            assert re.fullmatch(r"± \d+(\.\d+)?(e[-+]\d+)?", entry["range"])
        assert 1 <= len(entry["extra"].splitlines()) <= 2
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names))
    assert all(name.isprintable() for name in names)


@pytest.mark.parametrize(
    ("finding", "unit", "value", "spread"),
    [
        (counted("p", SAME, 1, 17_563_213_825), "MMACs", 17563.213825, "± 0"),
        (counted("p", SAME, 1, 123, "flops"), "MFLOPs", 0.000123, "± 0"),
        (counted("p", SAME, 1, 85_798_656, "params"), "M parameters", 85.798656, "± 0"),
        (counted("p", SAME, 1, 2_408_000, "activation_bytes"), "MB", 2.408, "± 0"),
        (counted("p", SAME, 1, 7, "tokens_kept"), "tokens kept", 7, "± 0"),
        (timed("p", SAME, 0.0), "ms", 34.2, "± 0.2"),
        (timed("p", SAME, 0.0, after_samples=()), "ms", 34.2, None),
        (memory("p", SAME, 1, 1_850_000_000), "MB", 1850, None),
    ],
)
def test_what_is_better_smaller_has_units_that_do_not_change(finding, unit, value, spread):
    (entry,) = smaller(finding)
    assert (entry["unit"], entry["value"], entry.get("range")) == (unit, value, spread)


def test_what_is_better_bigger_is_the_throughput_of_timed_points():
    (entry,) = bigger(timed("p", SAME, 0.0, batch=4), timed("unknown", SAME, 0.0, batch=None), of(CHANGED))
    assert entry["name"] == "p: throughput"
    assert entry["unit"] == "img/s"
    assert entry["value"] == pytest.approx(4 / 0.0342)
    assert float(entry["range"].removeprefix("± ")) == pytest.approx((4 / 0.0340 - 4 / 0.0344) / 2, rel=1e-4)


def test_the_extra_lines_tell_the_comparison_and_the_machine():
    (entry,) = [e for e in json.loads(to_smaller_is_better(EXAMPLE)) if e["name"].startswith("glsim")]
    assert entry["extra"].splitlines() == [
        "latency 34.20 ms → 35.94 ms, +5.1 %, slower",
        "batch 4, Intel Xeon 8481C, torch 2.9.0, python 3.12.4, revision 1a2b3c4d5e6f+",
    ]


def test_what_is_not_there_any_more_or_no_number_is_left_out():
    gone = counted("gone", VANISHED, 5, None)
    endless, unknown = timed("endless", SLOWER, math.inf), timed("unknown", SLOWER, math.nan)
    told = smaller(gone, endless, unknown, counted("there", NEW, None, 5))
    assert [entry["name"] for entry in told] == ["there: MACs"]
    assert bigger(gone, endless, unknown, timed("nothing", SLOWER, 0.0, after=0.0)) == []


def test_a_name_is_there_once():
    names = [entry["name"] for entry in smaller(*(counted(name, SAME, 1, 1) for name in ("a b", "a\nb", "a b")))]
    assert names == ["a b: MACs", "a b: MACs (2)", "a b: MACs (3)"]


def test_every_figure_of_a_point_is_a_chart():
    assert len(json.loads(to_smaller_is_better(EXAMPLE))) == len(EXAMPLE.findings) - 1  # one vanished
    timed_points = [finding for finding in EXAMPLE.findings if finding.check == TIME]
    assert len(json.loads(to_bigger_is_better(EXAMPLE))) == len(timed_points)
    assert len(VERDICTS) == 10
