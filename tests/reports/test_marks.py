"""Marks of the best and second best values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.report import BEST, SECOND
from fgbench_reports.tables.column import shown
from fgbench_reports.tables.table import Table, best_and_second, column_marks, line_marks, number_of

anything = st.one_of(
    st.integers(-5, 5), st.floats(-5, 5), st.none(), st.just(math.nan), st.just(math.inf), st.text(max_size=2)
)


@given(st.lists(anything, max_size=12), st.sampled_from(["high", "low"]))
def test_the_marked_values_are_the_two_best_there_are(values, direction):
    numbers = sorted(
        {v for v in values if isinstance(v, (int, float)) and math.isfinite(v)}, reverse=direction == "high"
    )
    enough = sum(isinstance(v, (int, float)) and math.isfinite(v) for v in values) > 1
    expected = dict(zip(numbers, [BEST, SECOND], strict=False)) if enough else {}
    marks = best_and_second(values, direction)
    assert marks == [expected.get(v) if isinstance(v, (int, float)) else None for v in values]


def test_ties_are_marked_alike_and_second_is_what_comes_after_them():
    assert best_and_second([3, 1, 3, 2, 2, 0], "high") == [BEST, None, BEST, SECOND, SECOND, None]


def test_what_is_printed_alike_is_marked_alike():
    assert best_and_second([92.04, 92.01, 91.0], "high", ["92.0", "92.0", "91.0"]) == [BEST, BEST, SECOND]


def test_a_number_alone_is_the_best_of_nothing():
    assert best_and_second([None, 4.0, math.nan, "x"], "low") == [None] * 4


def test_truth_values_and_words_are_no_numbers():
    assert [number_of(value) for value in (True, "3", None, math.nan, math.inf, np.float32(2), 3)] == [
        *[None] * 5,
        2.0,
        3.0,
    ]


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match="'high' or 'low', not 'up'"):
        best_and_second([1, 2], "up")


def test_columns_and_lines():
    assert column_marks({"a": [1, 2], "b": [1, 2]}, {"b": "low"}) == {(0, "b"): BEST, (1, "b"): SECOND}
    assert line_marks(3, {"a": 1.0, "b": None, "c": 2.0}, "high") == {(3, "c"): BEST, (3, "a"): SECOND}


def test_a_table_is_made_in_one_call():
    frame = pd.DataFrame({"model": ["a", "b\n", None], "img/s": [1.25, math.nan, 3.0], "note": ["x", "y", "z"]})
    table = Table.from_frame("x", "X", frame, {"img/s": "{:.1f}".format}, best={"img/s": "high"}, notes=["n"])
    assert list(table.names) == ["model", "note"]
    assert table.printed.to_numpy().tolist() == [["a", "1.2", "x"], ["b ", "–", "y"], ["–", "3.0", "z"]]
    assert table.marks == {(2, "img/s"): BEST, (0, "img/s"): SECOND}
    assert table.frame is frame


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="table 'x' has no column 'speed': it has a"):
        Table.from_frame("x", "X", pd.DataFrame({"a": [1]}), {"speed": str})


@pytest.mark.parametrize("nothing", [None, math.nan, np.float64("nan"), pd.NA, pd.NaT])
def test_whatever_is_missing_is_a_dash(nothing):
    assert shown(nothing, lambda _: "wrong") == "–"
