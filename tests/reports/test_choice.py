"""Which configurations are chosen, and why the others are not."""

from __future__ import annotations

import math

import pytest
from helpers.choices import GRID, chosen, limits, measured
from helpers.saved_rows import accuracy
from helpers.throughput_rows import CPU, row
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from fgbench_reports.choose.bounds import accuracy_bounds
from fgbench_reports.choose.choice import (
    ACCURACY,
    KEEPS,
    MEMORY,
    MISSES,
    UNCERTAIN,
    choose,
    counts,
    dataset_for,
    nearest_misses,
)
from fgbench_reports.choose.choice_table import choice_frame, choice_notes
from fgbench_reports.choose.configurations import accuracies, configurations
from fgbench_reports.choose.limits import Limits, rules_of, top1_of
from fgbench_reports.data import Data


def listed(choice) -> list:
    return [(one.configuration.row["model"], one.configuration.row["batch_size"]) for one in choice.chosen]


def test_the_front_has_the_cheapest_first():
    choice = chosen(GRID)
    speeds = [one.configuration.img_s for one in choice.chosen]
    assert speeds == sorted(speeds, reverse=True)
    assert [one.configuration.img_s for one in choice.verdicts] == sorted(
        (one.configuration.img_s for one in choice.verdicts), reverse=True
    )
    assert ("vit", 64) in listed(choice)
    assert ("glsim", 64) in listed(choice)
    # vit is faster than ffvt and 0.06 points more accurate, which 5,794 test images do not tell from nothing.
    assert "ffvt" in {model for model, _ in listed(choice)}
    assert {one.configuration.row["image_size"] for one in choice.chosen} == {224, 448}


def test_limits_rule_out_what_does_not_keep_them():
    limits = Limits(min_accuracy_percent=89.5, max_latency_s=0.03, max_memory_bytes=10**9)
    choice = chosen(GRID, limits)
    assert listed(choice) == [("glsim", 16), ("glsim", 1), ("vit", 1), ("ffvt", 1), ("glsim", 1)]
    for one in choice.satisfying:
        assert accuracy_bounds(one.configuration.accuracy).low >= 89.5
        assert one.configuration.row["latency_ci95_high_s"] <= 0.03
    assert {one.configuration.row["model"] for one in choice.uncertain} == {"vit", "ffvt"}  # 90.11 %, 90.05 %: ± 0.9
    assert len(choice.satisfying) + len(choice.uncertain) + len(choice.ruled_out) == len(GRID)


def test_a_limit_that_is_just_met_is_kept():
    sure = row(img_s=50.0, width=0.0)
    (one,) = chosen([sure], Limits(max_latency_s=0.02, min_throughput_img_s=50.0)).chosen
    assert one.satisfies
    limits = Limits(min_accuracy_percent=91.0, max_memory_bytes=431_000_000)
    assert chosen([row()], limits, runs=[accuracy(top1=91.0, images=10**9)]).uncertain
    low = accuracy_bounds(accuracies(Data(accuracy=[accuracy(top1=91.0)]).accuracy)[0]).low
    assert chosen([row()], Limits(min_accuracy_percent=low), runs=[accuracy(top1=91.0)]).chosen
    assert chosen([row()], Limits(max_memory_bytes=431_000_000)).chosen
    assert not chosen([row()], Limits(max_memory_bytes=430_999_999)).uncertain, "memory has no interval"


def test_every_limit_says_what_it_met():
    timed = row(img_s=41.0, energy_j_per_image=0.7)
    limits = Limits(
        min_accuracy_percent=95,
        max_latency_s=0.02,
        max_memory_bytes=10**8,
        max_energy_j=0.5,
        min_throughput_img_s=100.0,
        max_cost=10.0,
        gpu="L4",
        dtypes=["amp"],
        engines=["openvino"],
        models=["vit"],
        image_sizes=[448],
        batch_sizes=[2],
    )
    (verdict,) = chosen([timed], limits, price=2.5).ruled_out
    assert [f"{breach.option}: {breach.told}" for breach in verdict.breaches] == [
        "--min-accuracy: accuracy 90.93 % < 95 %",
        "--max-latency: latency 24.39 ms > 20.00 ms",
        "--max-memory: memory 0.431 GB > 0.100 GB",
        "--max-energy: energy 0.700 J > 0.500 J",
        "--min-throughput: throughput 41.0 img/s < 100 img/s",
        "--max-cost: cost 16.94 per million > 10.00 per million",
        "--gpu: it is on NVIDIA H200",
        "--dtype: dtype float32",
        "--engine: engine torch",
        "--models: model glsim",
        "--sizes: image size 224",
        "--batch-sizes: batch 1",
    ]


def test_figures_that_look_the_same_say_by_how_much_they_differ():
    (verdict,) = chosen([row(img_s=50.0, width=0.0)], Limits(max_latency_s=0.0199999)).ruled_out
    assert verdict.breaches[0].told == "latency 20.00 ms > 20.00 ms, by 0.0005 %"


def test_what_is_not_known_is_ruled_out_as_that():
    limits = Limits(min_accuracy_percent=10, max_energy_j=1.0)
    (verdict,) = chosen([row(size=1024)], limits).ruled_out
    assert [breach.told for breach in verdict.breaches] == ["no accuracy is known", "no energy was measured"]
    assert all(breach.unknown for breach in verdict.breaches)


def test_what_has_no_accuracy_is_counted_with_the_command_that_tests_it():
    limits = Limits(min_accuracy_percent=90, image_sizes=[224, 1024])
    (note,) = (note for note in choice_notes(chosen(GRID, limits)) if "no known accuracy" in note)
    assert note.startswith("9 configurations have no known accuracy on cub (vit at 1024, batches 1, 16, 64")
    assert "'fgbench accuracy --model vit ffvt glsim --sizes 1024 --dataset cub --data-dir DIR' measures it." in note
    assert not any("no known" in note for note in choice_notes(chosen(GRID, Limits(image_sizes=[224]))))


def test_the_command_names_a_backbone_and_a_selector_that_are_not_the_published_ones():
    def told(*rows, dataset="cub"):
        (note,) = (note for note in choice_notes(chosen(rows, dataset=dataset)) if "no known accuracy" in note)
        return note.partition("; ")[2]

    tiny = "vit_tiny_patch16_224"
    assert (
        told(row(size=1024))
        == "'fgbench accuracy --model glsim --sizes 1024 --dataset cub --data-dir DIR' measures it."
    )
    assert f"--sizes 224 --backbone {tiny} --dataset cub" in told(row(backbone=tiny))
    assert "--sizes 224 --selectors psm --dataset cub" in told(row(selector="psm"))
    assert "--backbone" not in told(row("cal", size=1024, selector=None, backbone="resnet101"))
    both = told(row(size=1024), row(selector="psm", backbone=tiny))
    assert both.endswith(" measure them.")
    assert both.count("fgbench accuracy") == 2
    many = told(*(row(selector=name) for name in ("psm", "maws", "sacm", "rollout", "attention")))
    assert (many.count("fgbench accuracy"), " and 2 more measure them." in many) == (3, True)
    assert f"--backbone {row()['backbone']} --dataset moths'" in told(row(), dataset="moths")


def test_the_command_for_a_part_of_a_data_set_names_the_data_set():
    part = chosen([row("vit", selector=None)], dataset="cub, 20 of 200 classes")
    (note,) = (note for note in choice_notes(part) if "no known accuracy" in note)
    assert "has no known accuracy on cub, 20 of 200 classes" in note
    assert "--dataset cub --data-dir DIR'" in note


def test_a_cost_cannot_be_limited_without_a_price():
    with pytest.raises(ValueError, match="--max-cost needs a price"):
        rules_of(Limits(max_cost=1.0), None)


def test_the_data_set_is_the_one_that_was_tested_here():
    assert dataset_for(Data(), None) == "cub"
    assert dataset_for(Data(), "dogs") == "dogs"
    assert dataset_for(Data(accuracy=[accuracy(dataset="moths")]), None) == "moths"
    part = "cub, 20 of 200 classes"
    assert dataset_for(Data(accuracy=[accuracy(num_classes=20)]), None) == part
    assert dataset_for(Data(accuracy=[accuracy(num_classes=20)]), "cub") == "cub"
    several = Data(accuracy=[accuracy(dataset="moths"), accuracy(dataset="cub")])
    with pytest.raises(ValueError, match="there are cub, moths; use --dataset"):
        dataset_for(several, None)
    assert dataset_for(several, "moths") == "moths"
    with pytest.raises(ValueError, match=r"no accuracy is known on data set 'bats'; there are some on .*moths"):
        dataset_for(several, "bats")


def test_accuracies_of_other_data_sets_do_not_count():
    choice = chosen([row()], runs=[accuracy(dataset="dogs", top1=99.0)], dataset="cub")
    assert top1_of(choice.chosen[0].configuration) == 90.93


def test_of_several_trainings_the_best_would_be_deployed():
    runs = [accuracy(top1=80.0), accuracy(top1=85.0, epochs=100)]
    (one,) = chosen([row()], runs=runs).verdicts
    assert top1_of(one.configuration) == 85.0


def test_limits_are_counted_alone_and_together():
    limits = Limits(max_latency_s=0.02, min_throughput_img_s=500.0, models=["vit"])
    rows = [
        row("vit", img_s=1000.0),
        row("vit", img_s=40.0, batch=2),
        row("vit", img_s=600.0, batch=64),
        row(img_s=1.0),
    ]
    assert [(limit.option, ruled, alone) for limit, ruled, alone in counts(chosen(rows, limits))] == [
        ("--max-latency", 3, 1),
        ("--min-throughput", 2, 0),
        ("--models", 1, 0),
    ]


def test_the_nearest_miss_of_a_model_is_where_nothing_of_it_fits():
    rows = [row(size=448, img_s=1 / 0.024), row(size=448, batch=2, img_s=50.0), row(size=224, batch=1, img_s=100.0)]
    rows += [row(size=224, batch=2, img_s=99.0), row("vit", img_s=10.0, selector=None)]
    misses = nearest_misses(chosen(rows, Limits(max_latency_s=0.02)))
    found = [
        (one.configuration.row["model"], one.configuration.row["image_size"], one.breaches[0].told) for one in misses
    ]
    assert found == [("glsim", 448, "latency 24.00 ms > 20.00 ms"), ("vit", 224, "latency 100.0 ms > 20.00 ms")]


def test_a_figure_that_is_missing_is_further_away_than_one_that_is_too_large():
    rows = [row(img_s=1.0), row(size=1024, img_s=1000.0)]
    (miss,) = nearest_misses(chosen(rows, Limits(min_accuracy_percent=90, max_latency_s=0.1)))
    assert miss.configuration.row["image_size"] == 224


def test_what_was_not_asked_about_is_no_miss():
    rows = [row(img_s=10.0), row("vit", selector=None, img_s=10.0), row(environment=CPU, device="cpu", img_s=10.0)]
    limits = Limits(max_latency_s=0.01, models=["glsim"], gpu="nvidia")
    assert [one.configuration.row["model"] for one in nearest_misses(chosen(rows, limits))] == ["glsim"]


def test_memory_counts_where_all_of_them_tell_it():
    assert MEMORY in chosen(GRID).objectives
    untold = row("vit", img_s=1.0, selector=None, device_memory_bytes=None, peak_memory_allocated_bytes=None)
    assert MEMORY not in chosen([*GRID, untold]).objectives
    assert MEMORY in chosen([*GRID, untold], Limits(min_throughput_img_s=2.0)).objectives


def test_an_accuracy_that_nobody_knows_is_no_objective():
    plain = [{**each, "backbone": "mine"} for each in GRID]
    choice = chosen(plain)
    assert ACCURACY not in choice.objectives
    assert {one.configuration.row["model"] for one in choice.chosen} == {"vit"}
    assert "top-1 %" not in choice_frame(choice)


def latency_ends(point) -> list[float]:
    low, high = ([row[f"latency_ci95_{end}_s"] for row in point.repeats] for end in ("low", "high"))
    return [min(low), max(high)]


def told_by(point, limits: Limits) -> dict[str, str]:
    """Every limit once more, by hand: what the ends of its figure say."""
    timed, one = point.row, point.accuracy
    ends = latency_ends(point)
    slow, fast = (timed["batch_size"] / end for end in reversed(ends))
    top1 = None
    if one is not None:
        n, p = one.images, one.top1_percent / 100
        interval = binomtest(round(n * p), n).proportion_ci(method="wilson")
        seeds = 0.0 if one.runs == 1 else t.ppf(0.975, one.runs - 1) * one.top1_std_percent / one.runs**0.5
        top1 = [min(100 * interval.low, 100 * p - seeds), max(100 * interval.high, 100 * p + seeds)]

    def least(limit, ends):
        return KEEPS if limit is None else MISSES if ends is None else of(limit, [-ends[1], -ends[0]], -1)

    def of(limit, ends, sign=1):
        if limit is None or ends is None:
            return KEEPS if limit is None else MISSES
        return KEEPS if ends[1] <= sign * limit else MISSES if ends[0] > sign * limit else UNCERTAIN

    def over_repeats(field):
        values = [each[field] for each in point.repeats if each[field] is not None]
        return None if timed[field] is None else [min(values), max(values)]

    def among(values, value):
        return KEEPS if not values or value in values else MISSES

    return {
        "--min-accuracy": least(limits.min_accuracy_percent, top1),
        "--max-latency": of(limits.max_latency_s, ends),
        "--max-memory": of(limits.max_memory_bytes, over_repeats("peak_memory_allocated_bytes")),
        "--max-energy": of(limits.max_energy_j, over_repeats("energy_j_per_image")),
        "--min-throughput": least(limits.min_throughput_img_s, [slow, fast]),
        "--max-cost": of(limits.max_cost, [1e6 / rate / 3600 * 2.5 for rate in (fast, slow)]),
        "--gpu": KEEPS if limits.gpu in (None, "h200") else MISSES,
        "--dtype": among(limits.dtypes, timed["dtype"]),
        "--engine": among(limits.engines, timed["engine"]),
        "--models": among(limits.models, timed["model"]),
        "--sizes": among(limits.image_sizes, timed["image_size"]),
        "--batch-sizes": among(limits.batch_sizes, timed["batch_size"]),
    }


@given(rows=st.lists(measured(), max_size=12), limits=limits)
@settings(deadline=None)
def test_every_configuration_is_on_the_front_or_dominated_or_ruled_out_for_a_true_reason(rows, limits):
    points = configurations(Data(throughput=rows), dataset="cub", best_only=False)
    choice = choose(points, limits, dataset="cub", gpu_hour_price=2.5)
    assert sorted(id(one.configuration.row) for one in choice.verdicts) == sorted(id(point.row) for point in points)
    speeds = [one.configuration.img_s for one in choice.verdicts]
    assert speeds == sorted(speeds, reverse=True)
    kept = []
    for one in choice.verdicts:
        said = told_by(one.configuration, limits)
        assert {breach.option for breach in one.breaches} == {option for option, word in said.items() if word == MISSES}
        assert {doubt.option for doubt in one.doubts} == {option for option, word in said.items() if word == UNCERTAIN}
        words = set(said.values())
        assert one.word == (MISSES if MISSES in words else UNCERTAIN if UNCERTAIN in words else KEEPS)
        if one.satisfies:
            kept.append(one)
    memories = [one.configuration.row["peak_memory_allocated_bytes"] for one in kept]

    def figures(one) -> list:
        """What is to be small: low end, high end, what was measured."""
        timed, accuracy = one.configuration.row, one.configuration.accuracy
        low, high = latency_ends(one.configuration)
        ends = [(low, high, None), (low / timed["batch_size"], high / timed["batch_size"], None)]
        known = None if accuracy is None else accuracy_bounds(accuracy)
        ends += [(math.inf, math.inf, None) if known is None else (-known.high, -known.low, id(accuracy))]
        if None in memories:
            return ends
        held = [each["peak_memory_allocated_bytes"] for each in one.configuration.repeats]
        held = [each for each in held if each is not None]
        return [*ends, (min(held), max(held), None)]

    def dominates(other, one) -> bool:
        pairs = list(zip(figures(other), figures(one), strict=True))
        as_good = all(a[1] <= b[0] or (a[2] is not None and a[2] == b[2]) for a, b in pairs)
        return as_good and any(a[1] < b[0] for a, b in pairs)

    front = [one for one in kept if not any(dominates(other, one) for other in kept)]
    assert choice.chosen == front
    assert bool(front) == bool(kept)
