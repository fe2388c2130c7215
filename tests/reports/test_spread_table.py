"""The table of the spread of repeats and its figures, from fixed rows and from random ones."""

from __future__ import annotations

import pytest
from helpers.throughput_rows import CPU, GPU, H200, in_terminal, points, row, timed, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_reports.measured.spread import spread_notes, spread_summary, spread_table

REPEATS = [
    row(batch=1, img_s=84.31, repeat=1),
    row(batch=1, img_s=84.42, repeat=2),
    row(batch=64, img_s=1208.9, repeat=1),
    row(batch=64, img_s=1241.0, repeat=2),
    row(size=448, batch=1, img_s=50.1, repeat=2),
    row(size=448, batch=1, img_s=50.2, repeat=1),
    row(size=448, batch=64, img_s=60.0, repeat=1),
    tried("oom", "CUDA out of memory.", size=448, batch=64, repeat=2),
]


def test_the_terminal_table(same_as_snapshot):
    same_as_snapshot("spread_table.txt", in_terminal([spread_table(timed(REPEATS))], spread_notes(timed(REPEATS))))


def test_the_spread_in_figures():
    assert spread_summary(timed(REPEATS)) == {
        "points": 3,
        "points_without_spread": 1,
        "median_percent": pytest.approx(100 * (50.2 / 50.1 - 1)),
        "largest_percent": pytest.approx(100 * (1241.0 / 1208.9 - 1)),
        "within_1_percent": 2,
        "overlapping": 2,
    }


def test_rows_without_repeats_have_no_spread():
    assert spread_summary(timed(H200))["points"] == 0
    assert spread_summary(timed(H200))["median_percent"] is None
    assert spread_notes(timed(H200)) == ["No row was measured repeatedly: there is no spread to tell."]
    assert in_terminal([spread_table(timed([]))])


def test_repeats_of_several_modes_and_environments_are_points_of_their_own():
    other = [{**point, "dtype": "bfloat16"} for point in REPEATS]
    assert spread_summary(timed(REPEATS + other))["points"] == 6
    assert "bfloat16" in in_terminal([spread_table(timed(REPEATS + other))])
    assert spread_summary(timed([REPEATS[0], {**REPEATS[1], "environment": CPU}]))["points"] == 0


def test_repeats_from_both_sides_of_a_commit_are_of_one_point_where_the_measured_code_is_one():
    later = {**GPU, "git_revision": "ffeeddccbbaa", "fgbench": "0.2.0"}
    repeats = [REPEATS[0], {**REPEATS[1], "environment": later}]
    assert spread_summary(timed(repeats))["points"] == 1
    told = "fgbench 0.1.0, 0.2.0, revisions 1a2b3c4d5e6f+, ffeeddccbbaa."
    assert spread_notes(timed(repeats))[-1].endswith(told)
    repeats[1] = {**REPEATS[1], "environment": {**later, "code": "ffeeddccbbaa9988"}}
    assert spread_summary(timed(repeats))["points"] == 0


def test_many_repeats_fold():
    rows = [row(img_s=80.0 + number / 100, repeat=number) for number in range(1, 60)]
    printed = in_terminal([spread_table(timed(rows))])
    assert max(map(len, printed.splitlines())) <= 120
    assert printed.count("12.4") > 50


@settings(deadline=None)
@given(st.lists(points(), max_size=12))
def test_any_rows_make_a_table(rows):
    printed = in_terminal([spread_table(timed(rows))])
    assert max(map(len, printed.splitlines())) <= 120
    assert all(isinstance(note, str) for note in spread_notes(timed(rows)))
    found = spread_summary(timed(rows))
    assert found["within_1_percent"] <= found["points"]
