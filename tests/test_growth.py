from __future__ import annotations

import pytest
from helpers.growth import assert_work_grows_with, calls


def test_calls_are_counted_and_are_the_same_each_time():
    numbers = range(100)
    assert calls(lambda: [abs(number) for number in numbers]) == calls(lambda: [abs(number) for number in numbers])
    assert 0 <= calls(lambda: [abs(number) for number in numbers]) - calls(lambda: None) - 100 <= 1


@pytest.mark.parametrize("work", [lambda rows: [abs(row) for row in rows], lambda rows: sorted(rows, key=abs), len])
def test_work_in_proportion_to_the_rows_is_accepted(work):
    assert_work_grows_with(range(1000), work)


def test_work_on_every_pair_of_rows_is_refused():
    with pytest.raises(AssertionError, match=r"10 times the rows take \d+\.\d times the calls"):
        assert_work_grows_with(range(1000), lambda rows: [abs(one - other) for one in rows for other in rows])


def test_work_on_pairs_is_refused_though_most_of_the_work_is_on_rows():
    def work(rows):
        for row in rows:
            for _ in range(100):
                abs(row)
            for _ in range(0, row, 8):
                abs(row)

    with pytest.raises(AssertionError, match="times the calls"):
        assert_work_grows_with(range(1000), work)
