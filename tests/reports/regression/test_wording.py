"""Texts of values, changes and verdicts: two that differ have different texts."""

from __future__ import annotations

import math

import pytest
from helpers.regression_outcomes import EMPTY, EXAMPLE, VERDICTS, counted, memory, of, timed
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.regression import findings
from fgbench_reports.regression.findings import (
    CHANGED,
    COUNTED,
    INCONCLUSIVE,
    MEMORY,
    NEW,
    REBASELINE,
    SAME,
    SLOWER,
    TIME,
    VANISHED,
    Outcome,
)
from fgbench_reports.regression.wording import (
    MEANINGS,
    before_and_after,
    by_reason,
    change_text,
    detail,
    meaning,
    percent_text,
    places,
    value_text,
    verdict_line,
)

FIGURES = ("macs", "flops", "params", "activation_bytes", "latency_s", "peak_memory_allocated_bytes", "mine")


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("macs", 17_563_213_824, "17.6 G"),
        ("macs", 17_563_213_824.0, "17.6 G"),
        ("params", 999, "999"),
        ("params", 0, "0"),
        ("activation_bytes", 512, "512 B"),
        ("activation_bytes", 85_798_656, "85.8 MB"),
        ("peak_memory_allocated_bytes", 1_850_000_000, "1.85 GB"),
        ("latency_s", 0.0342, "34.20 ms"),
        ("latency_s", 12.5, "12500 ms"),
        ("mine", 0.25, "0.250"),
        ("macs", None, "–"),
        ("macs", math.inf, "inf"),
        ("latency_s", math.nan, "nan"),
    ],
)
def test_values_have_the_units_that_people_read(figure, value, text):
    assert value_text(figure, value) == text


@given(
    st.sampled_from(FIGURES),
    st.one_of(st.integers(0, 10**15), st.floats(1e-9, 1e9)),
    st.one_of(st.integers(-3, 3), st.floats(-1e-3, 1e-3)),
)
def test_two_values_that_differ_never_look_alike(figure, before, difference):
    after = before + difference
    finding = counted("x", CHANGED, before, after, figure=figure)
    first, second = before_and_after(finding)
    assert (first == second) == (before == after)
    if before != after:
        assert change_text(finding) not in ("0 %", "–", "+0.00 %")


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (counted("x", CHANGED, 17_563_213_824, 17_563_213_825), "+1 MAC"),
        (counted("x", CHANGED, 17_563_213_824, 17_563_212_800, "flops"), "-1,024 FLOPs"),
        (counted("x", CHANGED, 10**9, 10**9 + 4, "activation_bytes"), "+4 B"),
        (counted("x", CHANGED, 10**9, 10**9 + 4, "mine"), "+4"),
        (counted("x", CHANGED, 0, 12, "params"), "+12 parameters"),
        (counted("x", CHANGED, 1000, 2000), "+100 %"),
        (counted("x", CHANGED, 1000, 1051), "+5.1 %"),
        (counted("x", NEW, None, 1000), "–"),
        (counted("x", VANISHED, 1000, None), "–"),
        (memory("x", REBASELINE, 10**9, 10**9 + 1), "+1 B"),
        (timed("x", SLOWER, 0.051), "+5.1 %"),
        (timed("x", SLOWER, -0.124), "-12.4 %"),
        (timed("x", SAME, 0.0053), "+0.53 %"),
        (timed("x", SAME, -0.00001), "-0.0010 %"),
        (timed("x", SAME, 0.0), "0 %"),
        (timed("x", SAME, math.nan, before=None), "–"),
        (timed("x", SLOWER, 25.0), "+2,500 %"),
    ],
)
def test_changes_read_as_people_say_them(finding, text):
    assert change_text(finding) == text


def test_a_change_beyond_its_bound_does_not_read_as_the_bound():
    assert change_text(timed("x", SLOWER, 0.0204)) == "+2.04 %"
    assert change_text(timed("x", SLOWER, -0.02004)) == "-2.004 %"
    assert change_text(timed("x", SAME, 0.02)) == "+2.0 %"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.02, "2 %"),
        (0.07, "7 %"),
        (0.001, "0.1 %"),
        (0.015, "1.5 %"),
        (1e-7, "0.00001 %"),
        (0.00100845403105, "0.101 %"),
        (1 / 3, "33.3 %"),
        (12.34567, "1235 %"),
    ],
)
def test_bounds_have_no_more_digits_than_they_need(share, text):
    assert percent_text(share) == text


def test_every_verdict_of_the_contract_has_words():
    others = {COUNTED, TIME, MEMORY, findings.PASS, findings.FAIL}
    contract = {value for name, value in vars(findings).items() if name.isupper() and isinstance(value, str)} - others
    assert contract == set(MEANINGS) == set(VERDICTS)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_finding_says_what_it_means_even_without_a_reason(verdict):
    assert meaning(of(verdict)).startswith(MEANINGS[verdict])
    assert meaning(of(verdict, reason=" so\nit is ")) == "so it is"
    assert detail(of(verdict)).strip()


def test_what_is_beyond_a_bound_tells_it():
    assert meaning(of(SLOWER)) == "it takes more time, by more than the bound of 2 %"


def test_reasons_of_noise_that_differ_in_figures_are_one():
    noisy = [timed(f"m{n}", INCONCLUSIVE, 0.01, reason=f"the spread is 1.{n} %, above 1 %") for n in range(9)]
    elsewhere = [memory(f"m{n}", REBASELINE, 5, 6, reason=f"torch was 2.{n}") for n in range(2)]
    groups = by_reason([*noisy, *elsewhere])
    assert list(groups) == [
        (INCONCLUSIVE, "the spread is 1.0 to 1.8 %, above 1 %"),
        (REBASELINE, "torch was 2.0"),
        (REBASELINE, "torch was 2.1"),
    ]
    assert places(groups[INCONCLUSIVE, "the spread is 1.0 to 1.8 %, above 1 %"]) == ("latency", ["m0", "m1", "m2"], 6)


def test_the_verdict_and_its_counts_are_one_line():
    same = [counted(f"m{n // 4}", SAME, n, n, f"f{n}") for n in range(812)]
    assert verdict_line(Outcome(findings=same)) == "passed: 812 figures of 203 points are the same"
    assert verdict_line(Outcome(findings=same[:1])) == "passed: 1 figure of 1 point is the same"
    assert verdict_line(Outcome(findings=[of(INCONCLUSIVE)])) == "inconclusive: 1 inconclusive; 0 figures are the same"
    assert verdict_line(EMPTY) == "passed: nothing was compared"
    assert verdict_line(EXAMPLE) == (
        "failed: 2 changed, 1 vanished, 1 slower, 1 larger; 5 inconclusive, 1 to re-baseline; "
        "1 faster, 1 smaller, 1 new; 3 figures of 3 points are the same"
    )
