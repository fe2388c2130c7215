"""Differences with their uncertainty, against scipy, published examples, brute force and simulated tables."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from helpers.compared_rows import answers_of, drawn, tables_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fgbench_reports.seed_intervals import Variances, cautious_half_width, half_width, p_value, seeds_for
from fgbench_reports.statistics import (
    BETTER,
    IMAGES,
    NONE_FOUND,
    NOTHING,
    ONE_SEED,
    SEEDS,
    SEEDS_AND_IMAGES,
    WORSE,
    Answers,
    differences,
    holm,
    judged,
    mcnemar,
)

TOP1 = st.lists(st.floats(0, 100), min_size=1, max_size=4)


def kept(seed, *marks) -> Answers:
    known = np.array(marks, dtype=np.int8)
    return Answers(seed=seed, top1_percent=100 * float((known == 1).mean()), marks=known, test_set="a")


def unkept(*top1, first=1) -> list[Answers]:
    return [Answers(seed=seed, top1_percent=value) for seed, value in enumerate(top1, first)]


def test_mcnemars_test_is_the_sign_test_of_the_images_on_which_two_runs_differ():
    # 9 images only the second run gets right, 2 only the first: 2 · (C(11,0) + C(11,1) + C(11,2)) / 2^11.
    one = np.array([0] * 9 + [1] * 2 + [1] * 30 + [0] * 10 + [-1] * 5, dtype=np.int8)
    two = np.array([1] * 9 + [0] * 2 + [1] * 30 + [0] * 10 + [1] * 5, dtype=np.int8)
    assert mcnemar(one, two) == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert mcnemar(one, one) == 1.0


def test_holms_correction_of_the_usual_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holms_correction_is_the_closed_test_of_bonferronis(p_values):
    """A hypothesis is rejected where every set of hypotheses that it belongs to is (Marcus, Peritz & Gabriel 1976)."""
    places = range(len(p_values))
    sets = [one for size in range(1, len(p_values) + 1) for one in combinations(places, size)]
    closed = [
        max(min(1.0, len(one) * min(p_values[at] for at in one)) for one in sets if place in one) for place in places
    ]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_with_one_source_of_chance_the_interval_is_students_or_the_normal_one(confidence):
    tail = 0.5 + confidence / 2
    assert half_width(Variances(((4.0, 3),), 0.0), confidence) == pytest.approx(2 * stats.t.ppf(tail, 3))
    assert half_width(Variances((), 4.0), confidence) == pytest.approx(2 * stats.norm.ppf(tail))
    both = half_width(Variances(((4.0, 3), (4.0, 3)), 0.0), confidence)
    assert both == pytest.approx(8**0.5 * stats.t.ppf(tail, 6))  # Welch's degrees of freedom


@given(st.floats(0, 1e-2), st.floats(0, 1e-2), st.integers(1, 9), st.floats(1e-6, 1))
def test_the_p_value_is_the_level_at_which_the_interval_reaches_zero(of_seeds, of_images, freedom, distance):
    variances = Variances(((of_seeds, freedom),), of_images)
    p = p_value(distance, variances)
    assert 0 < p <= 1
    if 1e-9 < p < 1:
        assert cautious_half_width(variances, 1 - p) == pytest.approx(distance, rel=1e-4, abs=1e-9)


def test_without_predictions_the_interval_is_students_of_the_pairs():
    one = differences(unkept(50.0, 52.0, 51.0), unkept(55.0, 54.0, 58.0))
    wanted = stats.ttest_rel([55.0, 54.0, 58.0], [50.0, 52.0, 51.0])
    low, high = wanted.confidence_interval(0.95)
    assert (one.low_points, one.high_points, one.p) == pytest.approx((low, high, wanted.pvalue), rel=1e-5)
    assert (one.basis, one.images, one.p_per_seed, one.seeds, one.paired) == (SEEDS, None, {}, 3, True)


def test_without_shared_seeds_the_interval_is_welchs():
    one = differences(unkept(50.0, 52.0, 51.0), unkept(55.0, 54.0, 58.0, first=7))
    wanted = stats.ttest_ind([55.0, 54.0, 58.0], [50.0, 52.0, 51.0], equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    assert (one.low_points, one.high_points, one.p) == pytest.approx((low, high, wanted.pvalue), rel=1e-5)
    assert not one.paired


def test_one_seed_has_the_interval_of_the_images_and_no_verdict():
    marks = drawn(np.random.default_rng(0), [0.6, 0.8], tables=1, seeds=1, seed_deviation=0.0)[0]
    one = differences(answers_of(marks[0]), answers_of(marks[1]))
    wanted = stats.ttest_rel(marks[1, 0].astype(float), marks[0, 0].astype(float))
    assert (one.high_points - one.low_points) / 2 == pytest.approx(
        100 * stats.norm.ppf(0.975) * wanted.statistic**-1 * one.mean_points / 100
    )
    assert (one.basis, one.seeds_for_one_point) == (IMAGES, None)
    (judgement,) = judged([one])
    assert (judgement.verdict, judgement.p_holm) == (ONE_SEED, None)
    nothing = differences(unkept(50.0), unkept(60.0))
    assert (nothing.basis, nothing.low_points, nothing.p) == (NOTHING, None, None)


def test_only_seeds_that_both_have_are_pairs():
    one = differences(unkept(50.0, 52.0, 51.0), unkept(58.0, 59.0, first=2))
    assert (one.seeds, one.mean_points, one.paired) == (2, pytest.approx(7.0), True)


def test_images_that_a_run_could_not_read_are_left_out():
    one = differences(
        [kept(1, 1, 0, 1, -1), kept(2, 1, 0, 0, 1)],
        [kept(1, 1, 1, 1, 1), kept(2, 1, 1, -1, 1)],
    )
    assert one.images == 2
    assert one.mean_points == pytest.approx(50.0)
    unread = differences([kept(1, -1, -1)], [kept(1, 1, 1)])
    assert (unread.images, unread.basis) == (0, NOTHING)


def test_different_test_images_are_refused():
    other = Answers(seed=1, top1_percent=50.0, marks=np.array([0, 1], dtype=np.int8), test_set="b")
    with pytest.raises(ValueError, match="tested on different images"):
        differences([kept(1, 0, 1)], [other])
    with pytest.raises(ValueError, match="runs of both models"):
        differences([], [other])


@given(TOP1, TOP1)
def test_any_accuracies_have_a_difference_inside_its_interval(one, two):
    found = differences(unkept(*one), unkept(*two))
    assert found.mean_points == pytest.approx(
        np.mean(two[: found.seeds] if found.paired else two) - np.mean(one[: found.seeds] if found.paired else one)
    )
    if found.low_points is not None:
        assert -100 <= found.low_points <= found.mean_points + 1e-9
        assert found.mean_points - 1e-9 <= found.high_points <= 100
        assert 0 < found.p <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 30), st.data())
def test_any_answers_have_a_difference_inside_its_interval(seeds, images, data):
    marks = [
        [
            kept(seed, *data.draw(st.lists(st.integers(-1, 1), min_size=images, max_size=images)))
            for seed in range(seeds)
        ]
        for _ in range(2)
    ]
    found = differences(*marks, resamples=50)
    if found.basis not in (NOTHING, SEEDS):
        assert -100 <= found.low_points <= found.mean_points + 1e-9
        assert found.mean_points - 1e-9 <= found.high_points <= 100
        assert set(found.p_per_seed) == set(range(seeds))


def test_verdicts_need_an_interval_without_zero_and_a_corrected_p_value():
    clear = differences(unkept(50.0, 50.1, 50.2), unkept(60.0, 60.1, 60.3))
    worse = differences(unkept(60.0, 60.1, 60.3), unkept(50.0, 50.1, 50.2))
    slight = differences(unkept(50.0, 50.5, 50.2), unkept(51.0, 52.2, 51.4))
    assert slight.low_points > 0
    assert [one.verdict for one in judged([clear, worse, slight])] == [BETTER, WORSE, BETTER]
    many = judged([slight] * 20)
    assert {one.verdict for one in many} == {NONE_FOUND}


def test_the_number_of_seeds_is_that_of_the_t_test_where_seeds_are_the_only_chance():
    """Against the power of the noncentral t distribution, which scipy has."""
    for deviation in (0.5, 1.0, 2.5):
        found = seeds_for(Variances((((deviation / 100) ** 2 / 5, 4),), 0.0), [5, 5], paired=True)

        def power(count, deviation=deviation):
            critical = stats.t.ppf(0.975, count - 1)
            return stats.nct.sf(critical, count - 1, count**0.5 / deviation)

        exact = next(count for count in range(2, 1000) if power(count) >= 0.8)
        assert abs(found - exact) <= 1


def test_seeds_that_agree_in_all_but_rounding_have_no_chance_of_their_own():
    third = np.array([[1, 0, 1] * 7, [1, 1, 0] * 7, [0, 1, 1] * 7], dtype=np.int8)
    one = differences(answers_of(third), answers_of(np.roll(third, 1, axis=0)))
    assert one.mean_points == pytest.approx(0)
    tenths = unkept(*[10 * 0.1 + 0.2] * 3), unkept(*[1.3, 1.3, 1.1 + 0.2])
    assert differences(*tenths).p is not None


def test_no_number_of_seeds_finds_a_point_where_the_images_leave_more_open():
    assert seeds_for(Variances(((1e-4, 4),), 0.01**2), [5, 5], paired=True) is None


def test_five_seeds_of_400_images_take_a_moment():
    marks = drawn(np.random.default_rng(0), [0.7, 0.7], tables=1, seeds=5, seed_deviation=0.01)[0]
    runs = [answers_of(model) for model in marks]
    first = differences(*runs)
    began = time.perf_counter()
    assert differences(*runs) == first  # seeded
    assert time.perf_counter() - began < 1


# The whole range of settings: tests/benchmarks/coverage.py, whose figures are in docs/statistics.md.
@pytest.mark.parametrize(("seeds", "accuracy", "deviation"), [(3, 0.8, 0.015), (5, 0.5, 0.0), (5, 0.94, 0.03)])
def test_95_of_100_intervals_hold_the_true_difference(seeds, accuracy, deviation):
    marks = drawn(
        np.random.default_rng(2), [accuracy, accuracy + 0.01], tables=200, seeds=seeds, seed_deviation=deviation
    )
    found = [differences(*table, resamples=200) for table in tables_of(marks)]
    held = np.mean([one.low_points <= 1 <= one.high_points for one in found])
    assert {one.basis for one in found} == {SEEDS_AND_IMAGES}
    assert 0.92 < held < 0.985  # the mean of 200 draws deviates by 1.5 %


def test_a_table_of_six_equal_models_has_a_false_verdict_in_at_most_5_of_100_cases():
    marks = drawn(np.random.default_rng(3), [0.8] * 6, tables=60, seeds=5, seed_deviation=0.01)
    wrong = 0
    for baseline, *others in tables_of(marks):
        judgements = judged([differences(baseline, other, resamples=100) for other in others])
        wrong += any(one.verdict in (BETTER, WORSE) for one in judgements)
    assert wrong / 60 <= 0.05
