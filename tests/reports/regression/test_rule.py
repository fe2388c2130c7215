"""The rule for times, on pairs made by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, t

from fgbench_reports.regression import rule
from fgbench_reports.regression.findings import FASTER, INCONCLUSIVE, SAME, SLOWER
from fgbench_reports.regression.rule import PairedPoint

QUIET = rule.Spread(value=0.006, degrees=800)
BUSY = rule.Spread(value=0.03, degrees=800)


def point(*percents: float, name: str = "it", base: float = 0.01) -> PairedPoint:
    """A point whose pairs differ by so many percent each."""
    return PairedPoint(name=name, base=[base] * len(percents), head=[base * (1 + p / 100) for p in percents])


def verdict(*percents: float, spread: rule.Spread = QUIET) -> str:
    return rule.judge([point(*percents)], spread)[0].verdict


@pytest.mark.parametrize(
    ("percents", "expected"),
    [
        ((0, 0, 0), SAME),
        ((1.9, 1.9, 1.9), SAME),
        ((1, 1, 40), SAME),  # one pair of three says nothing
        ((3, 3, 3, 3, 3, 3, 3), SLOWER),
        ((3, 3, 3, 3, 3, 3, -5), SLOWER),  # six of seven
        ((3, 3, 3, 3, 3, 0.9, 0.9), SAME),  # five of seven exceed half of the bound
        ((3, 3, 3, 1.5, 1.5, 1.5, 1.5), SAME),  # the median of seven does not exceed the bound
        ((-3, -3, -3, -3, -3, -3, -3), FASTER),
        ((1, 1, 1, 9, 9, 9, 9), SAME),  # three pairs had cleared it
        ((5, 5, 5), INCONCLUSIVE),  # four more are missing
        ((50, 50, 50), SLOWER),  # far beyond what four more could change
        ((), INCONCLUSIVE),
    ],
)
def test_three_pairs_clear_a_point_and_seven_hold_something_against_it(percents, expected):
    assert verdict(*percents) == expected


@pytest.mark.parametrize(
    ("percents", "expected"),
    [
        ((5, 5, 5), SLOWER),
        ((-5, -5, -5), FASTER),
        ((2.5, 2.5, 2.5), INCONCLUSIVE),  # above what is the same, below what three pairs see
        ((5, 5, 1.4), INCONCLUSIVE),  # one pair does not show half of the bound
        ((1.9, 1.9, 1.9), SAME),
        ((5, 5), INCONCLUSIVE),  # two pairs say nothing of their noise
        ((5, 5, 5, 5, 5, 1), INCONCLUSIVE),
        ((3, 3, 3, 3, 3, 3, 3), SLOWER),  # seven are judged as ever
    ],
)
def test_where_no_more_pairs_follow_few_are_held_against_what_they_can_see(percents, expected):
    assert rule.judge([point(*percents)], QUIET, final=True)[0].verdict == expected


@pytest.mark.parametrize(("degrees", "pairs"), [(4, 3), (10, 5), (800, 3), (800, 6)])
def test_the_bound_of_few_pairs_is_students(degrees, pairs):
    noise = rule.Spread(value=0.02, degrees=degrees)
    by_chance = t.ppf(1 - 0.005 / 200, degrees) * math.sqrt(math.pi / pairs) * 0.02
    assert rule.few_bound(noise, pairs, 0.0, 1) == pytest.approx(math.expm1(by_chance))
    assert rule.few_bound(noise, pairs, 9.0, 1) == pytest.approx(math.expm1(9.0))
    assert rule.few_bound(rule.Spread(value=0.0, degrees=degrees), pairs, 0.0, 1) == pytest.approx(rule.LARGEST)
    assert rule.few_bound(noise, pairs, 0.0, 10_000) > rule.few_bound(noise, pairs, 0.0, 200)


def test_a_noisy_machine_clears_nothing_and_holds_only_what_noise_does_not_reach_against_a_change():
    assert verdict(0, 0, 0, spread=BUSY) == INCONCLUSIVE
    assert verdict(*[9] * 7, spread=BUSY) == INCONCLUSIVE
    assert verdict(*[60] * 7, spread=BUSY) == SLOWER
    reason = rule.judge([point(0, 0, 0)], BUSY)[0].reason
    assert reason == "too noisy: runs of one side differ by 3 %; above 1 % no point is cleared"


@pytest.mark.parametrize(
    ("spread", "bound"), [(0.0, 0.02), (0.008, 0.02), (0.00801, 0.03), (0.01, 0.03), (0.05, math.expm1(0.2))]
)
def test_the_bound_follows_the_spread(spread, bound):
    assert rule.Spread(value=spread, degrees=9).bound == pytest.approx(bound)


def test_only_points_that_three_pairs_do_not_clear_are_measured_again():
    points = [point(0, 0.1, 0.2, name="calm"), point(4, 4.1, 4.2, name="slow"), point(-4, -4.1, -4.2, name="fast")]
    assert rule.undecided(points) == {"slow", "fast"}
    assert rule.undecided([point(*[9] * 7, name="done")]) == set()
    assert rule.undecided([point(9, name="alone")]) == {"alone"}, "one pair has no spread"


def test_a_point_that_is_noisier_than_the_others_is_held_against_its_own_noise():
    calm = [point(0, 0.2, -0.2, name=str(at)) for at in range(60)]
    wild = PairedPoint(
        name="wild",
        base=[1.0, 1.2, 1.1, 1.0, 1.3, 1.0, 1.2],
        head=[value * 1.04 for value in (1.0, 1.2, 1.1, 1.0, 1.3, 1.0, 1.2)],
    )
    found = {finding.point: finding for finding in rule.judge([*calm, wild])}
    assert found["wild"].verdict == INCONCLUSIVE
    assert "too noisy" in found["wild"].reason
    assert found["0"].verdict == SAME


def test_the_spread_is_pooled_over_points_and_sides():
    rng = np.random.default_rng(0)
    points = [
        PairedPoint(
            name=str(at), base=list(np.exp(rng.normal(at, 0.01, 3))), head=list(np.exp(rng.normal(at, 0.01, 3)))
        )
        for at in range(40)
    ]
    found = rule.pooled_spread(points)
    sides = [np.log(side) for p in points for side in (p.base, p.head)]
    assert found.value == pytest.approx(math.sqrt(np.mean([np.var(side, ddof=1) for side in sides])))
    assert found.degrees == 40 * 2 * 2
    assert rule.pooled_spread([point(3)]) is None
    assert rule.judge([point(3)])[0].verdict == INCONCLUSIVE


@pytest.mark.parametrize("degrees", [4, 10, 12, 40, 800])
@pytest.mark.parametrize(("quantile", "share"), [(rule.MEDIAN, 0.5), (rule.UNUSUAL, 0.8413), (rule.WILD, 0.999)])
def test_what_is_an_unusual_spread_is_a_quantile_of_chi_square(degrees, quantile, share):
    assert rule._chi_square(degrees, quantile) == pytest.approx(chi2.ppf(share, degrees) / degrees, rel=0.015)


ratios = st.floats(-0.5, 0.5)


@given(st.lists(ratios, min_size=1, max_size=9), st.floats(0.0, 0.1))
def test_every_list_of_pairs_gets_a_verdict_with_its_figures(logs, spread):
    one = PairedPoint(name="it", base=[2.0] * len(logs), head=[2.0 * math.exp(value) for value in logs])
    found = rule.judge([one], rule.Spread(value=spread, degrees=8))[0]
    assert found.change == pytest.approx(math.expm1(statistics.median(logs)), abs=1e-9)
    assert (found.reason == "") == (found.verdict == SAME)
    if found.verdict in (SLOWER, FASTER):
        assert abs(math.log1p(found.change)) > math.log1p(found.bound)
        assert (found.verdict == SLOWER) == (found.change > 0)


@pytest.mark.parametrize("pairs", [1, 3, 7])
@pytest.mark.parametrize("spread", [1.0, 55.0, 200.0, 1e300])
def test_noise_beyond_what_a_float_holds_tells_nothing(pairs, spread):
    one = PairedPoint(name="it", base=[1e-15] * pairs, head=[1e9] * pairs)
    found = rule.judge([one], rule.Spread(value=spread, degrees=8), final=True)[0]
    assert found.verdict == (INCONCLUSIVE if spread > 10 else SLOWER)
    assert found.bound <= 1e24


@given(st.lists(ratios, min_size=7, max_size=7), st.floats(0.0, 0.03))
def test_faster_is_slower_seen_from_the_other_side(logs, spread):
    there = PairedPoint(name="it", base=[1.0] * 7, head=[math.exp(value) for value in logs])
    back = PairedPoint(name="it", base=there.head, head=there.base)
    mirror = {SLOWER: FASTER, FASTER: SLOWER}
    noise = rule.Spread(value=spread, degrees=8)
    one, other = rule.judge([there], noise)[0].verdict, rule.judge([back], noise)[0].verdict
    assert mirror.get(one, one) == other


@pytest.mark.parametrize("times", [(0.0,), (-1.0,), (math.nan,), (math.inf,)])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(ValueError, match="must be finite and positive"):
        PairedPoint(name="it", base=times, head=(1.0,))
    with pytest.raises(ValueError, match="1 times of the base, 0 of the head"):
        PairedPoint(name="it", base=(1.0,), head=())
