"""The paper's tables of accuracies: what was measured here beside what is published, and what is not compared."""

from __future__ import annotations

import math

import pytest
from helpers.paper_rows import RECIPE, RUNS, run
from helpers.paper_tables import FULL, lines, missing, tables

from fgbench_reports import published
from fgbench_reports.data import Data


def test_table_2_compares_at_the_largest_size_and_says_which():
    (table,) = tables("table2", FULL)
    (glsim,) = lines(table, Method="GLSim (Ours)")
    assert (glsim["measured here %"], glsim["pixels"], glsim["difference"]) == ("90.2", "448", "-1.8")
    assert any("batch size: 32" in note and "glsim on nabirds at 448" in note for note in table.notes)
    assert "± over seeds" not in table.printed
    headings = ["Method", "Backbone", "Top-1 %"]
    assert list(tables("table3", Data(accuracy=RUNS))[0].printed) == headings
    assert list(tables("table3", FULL)[0].printed) == [*headings, "img/s", "memory GB"], "of systems that were timed"


def test_table_4_has_means_deviations_and_differences():
    accuracies, spread = tables("table4", FULL)
    published_line, here, apart = lines(accuracies, Dataset="CUB")
    assert (published_line["ViT B-16"], here["ViT B-16"], apart["ViT B-16"]) == (
        "90.11 ± 0.17",
        "90.20 ± 0.14",
        "+0.09",
    )
    assert (here["GLSim"], apart["GLSim"], here["CAL"]) == ("91.20", "+0.27", "–")
    assert math.isclose(spread.frame.iloc[1]["ViT B-16"], math.sqrt(0.02), rel_tol=1e-9)
    assert lines(accuracies, **{"from": "measured here"})[1]["GLSim"] == "92.25"  # 16 tokens on Dogs, as published


def test_the_average_is_taken_over_all_ten_data_sets_or_not_at_all():
    datasets = dict.fromkeys(each["dataset"] for each in published.table4() if each["dataset"] != "average")
    nine = [run("vit", name, 224, 90.0) for name in list(datasets)[:-1]]
    both = [run(model, name, 224, top1) for name in datasets for model, top1 in (("vit", 90.0), ("glsim", 92.0))]
    average = lines(tables("table4", Data(accuracy=nine))[0], Dataset="Average")
    assert [line["from"] for line in average] == ["published"]
    table = tables("table4", Data(accuracy=both))[0]
    here = lines(table, Dataset="Average")[1]
    assert (here["ViT B-16"], here["GLSim"]) == ("90.00 ± 0.00", "92.00 ± 0.00")
    reduced = lines(table, Dataset="relative error reduction to ViT, %")
    assert [line["GLSim"] for line in reduced] == ["11.79", "20.00"]


@pytest.mark.parametrize(
    "odd",
    [
        {"selector": "rollout"},
        {"backbone": "vit_tiny_patch16_224"},
        {"recipe": {**RECIPE, "top_k": 4}},
        {"flip": True},
        {"seeds": [1, 10], "seed": None},
    ],
)
def test_accuracies_on_other_terms_are_not_compared(odd):
    (first, _) = tables("table4", Data(accuracy=[run("glsim", "cub", 224, 91.0, **odd)]))
    assert lines(first, **{"from": "measured here"}) == []


@pytest.mark.parametrize(
    ("dataset", "counts", "told"),
    [
        ("cub", {"num_classes": 20, "images": 580}, "cub, 20 of 200 classes"),
        ("cub", {"images": 5000, "unreadable_images": 3}, "cub, 5,003 of 5,794 test images"),
        ("nabirds", {"num_classes": 554}, "nabirds, 554 of 555 classes"),
        ("vegfru", {"images": 116_390}, "vegfru, 116,390 of 116,391 test images"),
    ],
)
def test_a_part_of_a_data_set_is_left_out_and_the_table_says_so(dataset, counts, told):
    part = [run(model, dataset, 224, 99.0, **counts) for model in ("vit", "glsim")]
    (first, _) = tables("table4", Data(accuracy=part))
    assert lines(first, **{"from": "measured here"}) == []
    assert first.notes[-1] == f"Tested on a part of the paper's data set, and left out: {told}."
    (first, _) = tables("table4", Data(accuracy=[*part, run("vit", dataset, 224, 90.0)]))
    assert [line["ViT B-16"] for line in lines(first, **{"from": "measured here"})] == ["90.00"]
    (second,) = tables("table2", Data(accuracy=part))
    assert ("measured here %" in second.printed, any(told in note for note in second.notes)) == (
        False,
        dataset == "nabirds",
    )


def test_images_that_could_not_be_read_leave_a_data_set_whole():
    whole = run("vit", "nabirds", 224, 90.0, images=24_630, unreadable_images=3)
    table = tables("table4", Data(accuracy=[whole]))[0]
    assert len(lines(table, **{"from": "measured here"})) == 1
    assert not any("left out" in note for note in table.notes)


def test_of_several_recipes_the_nearest_to_the_papers_is_compared():
    short = [run("vit", "cub", 224, 99.0, epochs=3, recipe={**RECIPE, "epochs": 3}, seed=seed) for seed in (1, 10, 100)]
    table = tables("table4", Data(accuracy=[*short, run("vit", "cub", 224, 90.0), *short]))[0]
    assert lines(table, Dataset="CUB")[1]["ViT B-16"] == "90.00"
    assert not any("Not trained as published" in note for note in table.notes)
    table = tables("table4", Data(accuracy=short))[0]
    assert any("vit on cub at 224 – epochs: 3" in note for note in table.notes)


def test_a_group_of_data_sets_is_one_command():
    first, *rest = missing("table4", Data(accuracy=[run("vit", "cub", 224, 90.0)]))
    assert first.what == "Table 4: measured accuracy of ResNet-101, CAL, TransFG, FFVT, GLSim on CUB, at 224"
    assert len(rest) == 1
    assert rest[0].command.startswith("for name in dafb dogs flowers food inat17 moe nabirds pets vegfru; do fgbench")
