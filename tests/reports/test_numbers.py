from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.tables.numbers import (
    PREFIXES,
    as_printed,
    gigabytes,
    half_width_percent,
    how_many,
    img_per_s,
    milliseconds,
    percent,
    significant,
    with_prefix,
)


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (0.0, "0"),
        (3512.4, "3512"),
        (123456.7, "123457"),
        (999.96, "1000"),
        (99.96, "100"),
        (84.31, "84.3"),
        (5.6, "5.60"),
        (0.5123, "0.512"),
        (0.0312, "0.031"),
        (0.00001, "<0.001"),
    ],
)
def test_throughput_has_three_digits_and_no_exponent(value, text):
    assert img_per_s(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.01234, "12.34"), (0.00081234, "0.8123"), (1.4286, "1429"), (35.1239, "35124"), (1e-9, "<0.0001")],
)
def test_seconds_are_printed_as_milliseconds(seconds, text):
    assert milliseconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0"), (512_000_000, "0.512"), (141_000_000_000, "141"), (2_384_185_791, "2.38")],
)
def test_bytes_are_printed_as_decimal_gigabytes(count, text):
    assert gigabytes(count) == text


@pytest.mark.parametrize(
    ("low", "middle", "high", "text"),
    [
        (None, 1.0, 1.1, "–"),
        (0.9, None, 1.1, "–"),
        (0.9, 1.0, None, "–"),
        (0.0, 0.0, 0.0, "–"),
        (1.0, 1.0, 1.0, "0"),
        (0.9988, 1.0, 1.0012, "0.12"),
        (0.987, 1.0, 1.013, "1.3"),
        (0.5, 1.0, 1.5, "50"),
        (0.99999, 1.0, 1.00001, "<0.01"),
    ],
)
def test_an_interval_is_printed_as_half_its_width_in_percent(low, middle, high, text):
    assert half_width_percent(low, middle, high) == text


@given(st.floats(0.001, 1e12), st.integers(2, 6))
def test_significant_digits_read_back(value, digits):
    text = significant(value, digits, decimals=9)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


def test_one_thing_is_no_several():
    assert [how_many(count, "figure") for count in (0, 1, 2)] == ["0 figures", "1 figure", "2 figures"]
    assert [how_many(count, "class", "classes") for count in (1, 1000)] == ["1 class", "1000 classes"]
