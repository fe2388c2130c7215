"""Bounds of figures, against scipy and against simulated data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.saved_rows import accuracy
from helpers.throughput_rows import row
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from fgbench_reports.choose.bounds import (
    ONCE,
    REPEATED,
    UNKNOWN,
    Bounds,
    accuracy_bounds,
    energy_bounds,
    latency_bounds,
    memory_bounds,
    throughput_bounds,
    time_bounds,
    wilson,
)
from fgbench_reports.choose.configurations import accuracies, configurations, published_accuracies
from fgbench_reports.data import Data


def point(*rows):
    (one,) = configurations(Data(throughput=rows), dataset="cub", best_only=False)
    return one


def of_runs(*top1, **fields) -> Bounds:
    runs = [accuracy(seed=seed, top1=value, **fields) for seed, value in enumerate(top1)]
    (one,) = accuracies(Data(accuracy=runs).accuracy)
    return accuracy_bounds(one)


@given(images=st.integers(1, 100_000), share=st.floats(0, 1))
def test_one_run_has_wilsons_interval(images, share):
    right = round(share * images)
    expected = binomtest(right, images).proportion_ci(method="wilson")
    assert wilson(100 * right / images, images) == pytest.approx(
        (100 * expected.low, 100 * expected.high), abs=1e-6, rel=1e-9
    )


def test_the_interval_of_91_of_a_hundred_images():
    assert wilson(91.0, 100) == pytest.approx((83.7735, 95.1924), abs=1e-3)
    found = of_runs(91.0, images=100)
    assert (found.low, found.high) == wilson(91.0, 100)
    with pytest.raises(ValueError, match="images must be at least 1, got 0"):
        wilson(91.0, 0)


def test_seeds_that_agree_leave_what_the_test_images_leave_open():
    one, three = of_runs(91.0), of_runs(91.0, 91.0, 91.0)
    assert (three.low, three.high) == (one.low, one.high)


def test_seeds_that_lie_far_apart_have_students_interval():
    tops = [60.0, 70.0, 80.0]
    found = of_runs(*tops, images=10**9, dataset="moths")
    expected = t.interval(0.95, 2, loc=70.0, scale=10 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx(expected)


def test_an_accuracy_stays_between_0_and_100():
    assert (of_runs(0.0, 100.0).low, of_runs(0.0, 100.0).high) == (0.0, 100.0)
    assert of_runs(0.0).low == 0.0
    assert of_runs(100.0).high == 100.0


@pytest.mark.parametrize("seeds", [2, 3, 10])
@pytest.mark.parametrize("seed_spread", [0.0, 0.03, 0.2])
def test_the_interval_holds_the_truth_in_nine_of_ten_draws_and_more(seeds, seed_spread):
    """Images differ in difficulty, seeds in quality; both are drawn anew."""
    rng, draws, images = np.random.default_rng(0), 400, 300
    difficulty = rng.normal(1.5, 2.0, (draws, 1, images))
    quality = rng.normal(0, 4 * seed_spread, (draws, seeds, 1))
    right = difficulty + quality + rng.logistic(0, 1, (draws, seeds, images)) > 0
    logits = np.random.default_rng(1).normal(1.5, math.hypot(2.0, 4 * seed_spread), 10**6)
    truth = 100 * (1 / (1 + np.exp(-logits))).mean()
    found = [of_runs(*tops, images=images, dataset="moths") for tops in 100 * right.mean(axis=2)]
    assert sum(one.low <= truth <= one.high for one in found) > 0.91 * draws


def test_published_accuracies_have_the_test_images_of_table_9_and_the_printed_deviation():
    known = {(one.model, one.dataset, one.image_size): one for one in published_accuracies()}
    assert {one.images for one in known.values() if one.dataset == "cub"} == {5794}
    assert known["vit", "vegfru", 224].images == 116_391  # printed; the list has more, and fewer images claim less
    low, high = wilson(90.93, 5794)
    found = accuracy_bounds(known["glsim", "cub", 224])
    assert (found.low, found.high) == (low, high)  # three runs 0.24 points apart: ± 0.60; 5,794 images: − 0.77, + 0.72
    few = accuracy_bounds(known["cal", "nabirds", 224])  # 88.33 ± 0.49 over three runs, on 24,633 images
    assert few.low == pytest.approx(88.33 - t.ppf(0.975, 2) * 0.49 / 3**0.5)
    alone = accuracy_bounds(known["glsim", "cub", 448])
    assert (alone.low, alone.high) == wilson(92.09, 5794)  # Figure 4 prints no deviation
    wide = accuracy_bounds(known["cal", "vegfru", 224])  # 90.33 ± 4.28 over three runs
    assert wide.low == pytest.approx(90.33 - t.ppf(0.975, 2) * 4.28 / 3**0.5)


def test_an_accuracy_on_no_known_number_of_images_has_no_interval():
    found = accuracy_bounds(replace(accuracies(Data(accuracy=[accuracy()]).accuracy)[0], images=None))
    assert (found.basis, found.known, found.low, found.high) == (UNKNOWN, False, 0.0, 100.0)


def test_a_latency_has_its_rows_interval_and_its_figure_lies_inside():
    found = latency_bounds(point(row(img_s=100.0, width=0.1)))
    assert (found.low, found.value, found.high) == pytest.approx((0.009, 0.01, 0.011))
    beside = latency_bounds(point(row(img_s=100.0, latency_ci95_low_s=0.012, latency_ci95_high_s=0.013)))
    assert (beside.low, beside.high) == (0.01, 0.013)  # the median of blocks lies beside the interval of their mean
    below_zero = latency_bounds(point(row(img_s=100.0, width=1.38)))
    assert (below_zero.low, below_zero.high) == pytest.approx((0.0, 0.0238))
    assert throughput_bounds(point(row(img_s=100.0, width=1.38))).high == math.inf
    assert time_bounds(point(row(img_s=100.0, width=1.38))).low == 0.0


@pytest.mark.parametrize("ends", [(None, None), (None, 0.02), (0.01, None)])
def test_a_row_without_both_ends_has_no_interval(ends):
    found = latency_bounds(point(row(latency_ci95_low_s=ends[0], latency_ci95_high_s=ends[1])))
    assert (found.known, found.low, found.high) == (False, 0.0, math.inf)


@given(batch=st.integers(1, 512), img_s=st.floats(1e-3, 1e6), width=st.floats(0, 0.99))
def test_throughput_follows_from_the_latency(batch, img_s, width):
    one = point(row(batch=batch, img_s=img_s, width=width))
    latency, rate, seconds = latency_bounds(one), throughput_bounds(one), time_bounds(one)
    assert rate.low <= rate.value <= rate.high
    assert (rate.low, rate.high) == pytest.approx((batch / latency.high, batch / latency.low))
    assert (seconds.low, seconds.high) == pytest.approx((latency.low / batch, latency.high / batch))


def test_repeats_reach_from_the_lowest_end_to_the_highest():
    rows = [row(img_s=speed, repeat=number, energy_j_per_image=speed / 100, peak_memory_allocated_bytes=int(speed))
            for number, speed in enumerate((100.0, 80.0, 90.0), 1)]  # fmt: skip
    one = point(*rows)
    assert (latency_bounds(one).low, latency_bounds(one).high) == pytest.approx((0.998 / 100, 1.002 / 80))
    assert latency_bounds(one).value == pytest.approx(1 / 90)
    assert energy_bounds(one) == Bounds(value=0.9, low=0.8, high=1.0, basis=REPEATED)
    assert memory_bounds(one) == Bounds(value=90, low=80, high=100, basis=REPEATED)


def test_a_repeat_without_an_interval_counts_with_its_latency():
    bare = {"latency_ci95_low_s": None, "latency_ci95_high_s": None}
    found = latency_bounds(point(row(img_s=100.0, repeat=1), row(img_s=20.0, repeat=2, **bare)))
    assert (found.low, found.high) == pytest.approx((0.998 / 100, 1 / 20))
    found = latency_bounds(point(row(img_s=100.0, repeat=1, **bare), row(img_s=20.0, repeat=2, **bare)))
    assert (found.low, found.high) == (0.0, math.inf)


def test_what_was_measured_once_is_taken_as_it_is():
    assert memory_bounds(point(row())) == Bounds(value=431_000_000, low=431_000_000, high=431_000_000, basis=ONCE)
    assert energy_bounds(point(row())) is None
