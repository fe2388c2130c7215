from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.numbers import PREFIXES, as_printed, percent, with_prefix


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (17_563_213_824, "17.6 G"),
        (999_999, "1.00 M"),
        (8_252_378_480_760, "8.25 T"),
        (2 * 10**21, "2.00 Z"),
        (3 * 10**30, "3.00 Q"),
        (10**34, "1.00e+04 Q"),
    ],
)
def test_counts_carry_three_digits_and_a_prefix(value, text):
    assert with_prefix(value) == text


@given(st.integers(1000, 10**32))
def test_a_prefixed_count_reads_back_within_half_a_percent(value):
    number, prefix = with_prefix(value).split()
    factor = 1000 ** PREFIXES.index(prefix)
    assert float(number) * factor == pytest.approx(value, rel=0.005)
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100, "100.00"),
        (46.5313, "46.531"),
        (0.98327, "0.9833"),
        (13673.9, "13674"),
        (0.00001, "<0.0001"),
        (0, "0"),
        (9.99996, "10.000"),
        (99.9996, "100.00"),
        (999.996, "1000.0"),
        (9999.96, "10000"),
        (123456.7, "123457"),
    ],
)
def test_percents_are_printed_as_the_paper_prints_them(value, text):
    assert percent(value) == text


def test_cells_of_few_digits_are_rounded_from_three():
    assert as_printed(0.008849, "0.0089") == "0.0089"
    assert as_printed(0.000749, "0.0007") == "0.0007"
    assert as_printed(46.5305, "46.531") == "46.531"
    assert as_printed(46.5304, "46.531") == "46.530"
