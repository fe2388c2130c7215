"""The tables of accuracy and of what selectors find, from rows that are made up."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from fgbench.results.records import AccuracyRow, QualityRow
from fgbench_reports.data import Data
from fgbench_reports.measured.accuracy import accuracy_tables, class_tables
from fgbench_reports.measured.accuracy_vs_cost import model_table, quality_table
from fgbench_reports.measured.compared import verdict
from fgbench_reports.measured.selector_quality import over_seeds, quality_tables
from fgbench_reports.measured.trained_rows import TrainedRows, training_groups
from fgbench_reports.tables.render import render, to_terminal

ENVIRONMENT = {
    "device": "cpu",
    "cpu": "A processor",
    "torch": "2.15.0",
    "fgbench": "0.1.0",
    "threads": 2,
    "processes": 2,
}
RECIPE = {"epochs": 28, "batch_size": 32, "optimizer": "adamw", "augreg": "weak"}


def run(model="vit", selector=None, seed=1, top1=58.0, **fields):
    values = {
        "model": model,
        "selector": selector,
        "dataset": "synthetic",
        "image_size": 96,
        "seed": seed,
        "lr": 1e-3,
        "epochs": 28,
        "top1_percent": top1,
        "top5_percent": 97.75,
        "images": 400,
        "seconds": 130.2,
        "checkpoint": "last.safetensors",
        "best_top1_percent": top1 + 0.5,
        "best_epoch": 26,
        "backbone": "test_vit",
        "impl": None if selector is None else "fast",
        "num_classes": 20,
        "train_images": 2000,
        "test_img_s": 812.5,
        "recipe": RECIPE,
        "environment": ENVIRONMENT,
    }
    return asdict(AccuracyRow(**(values | fields)))


def mean(model="vit", selector=None, top1=57.0, std=1.4142):
    changes = {"seed": None, "seeds": [1, 10], "top1_std_percent": std, "top5_std_percent": 0.5, "best_epoch": None}
    return run(model, selector, top1=top1, **changes)


def found(selector, model="glsim", seed=1, **fields):
    values = {
        "model": model,
        "selector": selector,
        "dataset": "synthetic",
        "image_size": 96,
        "seed": seed,
        "checkpoint": None,
        "images": 400,
        "images_without_parts": 0,
        "pointing_percent": 40.25,
        "heat_in_parts_percent": 17.9,
        "crop_part_percent": 42.6,
        "crop_iou_percent": 37.4,
        "part_recall_percent": 39.3,
        "insertion_auc": 0.389,
        "deletion_auc": 0.102,
        "perturbed_images": 64,
        "top_k": 3,
        "selector_flops": 9450,
        "percent_of_backbone": 0.0391,
        "insertion_curve": [0.1, 0.5],
        "deletion_curve": [0.5, 0.1],
        "trained_with": "gls" if model == "glsim" else None,
    }
    return asdict(QualityRow(**(values | fields)))


ROWS = [
    run(),
    run(seed=10, top1=56.0, unreadable_images=2),
    run("glsim", "gls", top1=64.5, unreadable_train_images=1),
    run("glsim", "gls", seed=10, top1=65.5),
    mean(),
    mean("glsim", "gls", top1=65.0, std=0.7071),
]
TESTED = run(seed=None, lr=None, epochs=None, recipe={}, best_top1_percent=None, best_epoch=None, flip=True)
FOUND = [
    found("gls"),
    found("psm", selector_flops=748_000, percent_of_backbone=3.0985),
    found("random", selector_flops=None, percent_of_backbone=None),
]


def printed(tables) -> str:
    return render(tables, "table", to_file=True)


def test_runs_and_their_means(same_as_snapshot):
    same_as_snapshot("accuracy_table.txt", printed(accuracy_tables(ROWS)))


def test_a_tested_checkpoint_has_no_columns_of_training():
    text = to_terminal(accuracy_tables([TESTED]).narrow, to_file=True)
    assert "mirrored too" in text
    assert "epoch" not in text


@pytest.mark.parametrize(("style", "suffix"), [("markdown", "md"), ("latex", "tex")])
def test_runs_in_formats_for_papers(same_as_snapshot, style, suffix):
    tables = [replace(table, notes=()) for table in (accuracy_tables(ROWS) + quality_tables(FOUND)).wide]
    same_as_snapshot(f"accuracy_table.{suffix}", render(tables, style))


def test_what_selectors_find(same_as_snapshot):
    same_as_snapshot("quality_table.txt", printed(quality_tables(FOUND)))


def test_columns_that_need_boxes_are_left_out_where_there_are_none():
    unknown = dict.fromkeys(
        ("pointing_percent", "heat_in_parts_percent", "crop_part_percent", "crop_iou_percent", "part_recall_percent")
    )
    text = printed(quality_tables([found("gls", **unknown)]))
    assert "pointing" not in text
    assert "insertion" in text


def test_the_worst_classes_and_the_most_frequent_confusions_come_first():
    classes = [{"class": f"c{i}", "images": 4, "top1_percent": 5.0 * i} for i in range(15)]
    classes.append({"class": "untested", "images": 0, "top1_percent": None})
    pairs = [{"class": "[red]", "taken_for": "c2", "images": 9}]
    text = to_terminal(class_tables(DATA.accuracy[0], {"classes": classes, "confusions": pairs}), to_file=True)
    assert "the 10 of 15 classes that are recognised least" in text
    assert text.index("c0 ") < text.index("c9 ")
    assert "c10" not in text
    assert "[red]" in text
    assert list(class_tables(DATA.accuracy[0], {})) == []


def test_data_sets_and_recipes_are_never_in_one_table():
    rows = [run(), run(image_size=448), run(dataset="cub"), run(recipe={**RECIPE, "augreg": "strong"})]
    assert len(accuracy_tables(rows).narrow) == 4
    assert Console(width=80)


DATA = Data(
    accuracy=ROWS,
    selection_quality=[*FOUND, found("gls", seed=10, pointing_percent=30.0)],
    flops=[
        {"model": "vit", "selector": None, "impl": None, "macs": 12_000_000},
        {"model": "glsim", "selector": "gls", "impl": "published", "macs": 24_000_000},
        {"model": "glsim", "selector": "gls", "impl": "fast", "macs": 22_580_224},
    ],
    throughput=[{"model": "vit", "throughput_img_s": 900.0}, {"model": "vit", "throughput_img_s": None}],
)
TRAINED = TrainedRows(
    dataset="synthetic",
    image_size=96,
    runs=[row for row in DATA.accuracy if row.seeds is None],
    quality=DATA.selection_quality,
    flops=[replace(row, backbone="test_vit") for row in DATA.flops],
    throughput=[replace(row, backbone="test_vit") for row in DATA.throughput],
)


def test_costs_and_gains_stand_in_one_line():
    vit, glsim = model_table(TRAINED).printed.to_dict("records")
    assert (vit["top-1 %"], vit["pointing %"], vit["MACs"], vit["× vit"], vit["img/s"]) == (
        "57.0 ± 1.4",
        "–",
        "12.0 M",
        "1.00",
        "900",
    )
    assert (glsim["selects by"], glsim["top-1 %"], glsim["pointing %"]) == ("gls", "65.0 ± 0.7", "35.1 ± 7.2")
    assert (glsim["MACs"], glsim["× vit"], glsim["img/s"]) == ("22.6 M", "1.88", "–")


def test_the_verdict_is_honest():
    low, high = stats.t.interval(0.95, 1, loc=8.0, scale=np.std([6.5, 9.5], ddof=1) / 2**0.5)
    assert verdict(TRAINED) == (
        f"No difference from vit found at this size: glsim (+8.0 points, 95 % interval {low:+.1f} to {high:+.1f}, 2 of "
        "2 seeds better). Intervals are Student's of the mean gain over seeds, on these test images alone: predictions "
        "per image were not kept. A difference is told where its interval leaves 0 out, after Holm's correction for 1 "
        "comparison."
    )
    worse = Data(accuracy=[run(), run("glsim", "gls", top1=58.0)]).accuracy
    assert verdict(replace(TRAINED, runs=worse)) == (
        "One seed alone, which tells no model from vit: glsim (+0.0 points, 0 of 1 seed better)."
    )


def test_selectors_on_one_model_over_seeds():
    gls, psm, random = quality_table(TRAINED, "glsim").printed.to_dict("records")
    assert (gls["selector"], gls["pointing %"], gls["% of backbone"]) == ("gls", "35.1 ± 7.2", "0.0391")
    assert (psm["insertion"], random["% of backbone"]) == ("0.389", "–")


def test_a_spread_needs_two():
    assert (over_seeds([1.25]), over_seeds([1.0, 3.0]), over_seeds([None])) == ("1.2", "2.0 ± 1.4", "–")


def test_a_backbone_with_overlapping_patches_is_the_work_of_the_plain_model_with_them():
    counted = {
        **{
            "convention": "full",
            "backbone": "test_vit",
            "model": None,
            "selector": None,
            "impl": None,
            "image_size": 96,
        },
        **{"macs": 16_600_000, "flops": 33_000_000, "percent_of_backbone": 100.0, "params": 1},
    }
    apart = {**counted, "num_tokens": 37, "macs": 11_900_000, "environment": {}}
    overlapped = {**counted, "num_tokens": 50, "environment": {"patch_stride": 12}}
    runs = [run(), run(recipe={**RECIPE, "overlap": 4})]
    ((rows, _),) = training_groups(Data(accuracy=runs, flops=[apart, overlapped]))
    assert [(row.model, row.macs) for row in rows.flops] == [("vit, patches overlap", 16_600_000)]
    other = {**overlapped, "num_tokens": 70}
    ((rows, _),) = training_groups(Data(accuracy=runs, flops=[other]))
    assert not rows.flops
