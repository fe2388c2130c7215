"""Tables of measured rows: different measurements have different lines and different files."""

from __future__ import annotations

import re

import pytest
from helpers.paper_rows import flops_row
from helpers.saved_rows import accuracy
from helpers.saved_rows import quality as quality_row
from helpers.throughput_rows import CPU, GPU, VIT, row, tried
from reports.test_selection_tables import SELECTIONS

from fgbench.plugins.reports import make_reports, render_reports
from fgbench_reports.choose.configurations import accuracies
from fgbench_reports.conventions import environments
from fgbench_reports.data import Data
from fgbench_reports.folder import PAGE, folder, tables_of
from fgbench_reports.report import Figure, Missing
from fgbench_reports.tables.formats import to_rows
from fgbench_reports.tables.table import distinct

ROOF = {"product_flop_s": 1e12, "copy_bytes_s": 1e11}
SITE = {name: value for name, value in GPU.items() if name != "code"}
TINY = "vit_tiny_patch16_224"


def unheard(problem):
    raise AssertionError(problem)


def tables(name: str, data: Data):
    return tables_of(make_reports([name], data, unheard))


def quality(selector="gls", **fields):
    return {"environment": GPU, **quality_row(selector, **fields)}


def plain(seed=1, top1=90.0, **fields):
    return accuracy("vit", seed, top1, selector=None, **{"begun_from": "pretrained", **fields})


def test_a_mean_is_over_seeds_alone():
    runs = [plain(), plain(seed=2, top1=92.0), plain(top1=60.0, begun_from="random"), plain(top1=70.0, backbone=TINY)]
    (table,) = tables("accuracy_vs_cost", Data(accuracy=runs))
    assert list(table.printed["top-1 %"]) == ["91.0 ± 1.4", "60.0", "70.0"]
    assert list(table.printed["backbone"]) == [VIT, VIT, TINY]
    assert list(table.printed["begun from"]) == ["pretrained", "random", "pretrained"]


def test_work_speed_and_what_is_found_are_those_of_the_same_backbone_and_selector():
    timed = {"impl": "fast", "model": "glsim"}
    data = Data(
        accuracy=[plain(), plain(backbone=TINY), accuracy(), accuracy(selector="psm", top1=80.0)],
        flops=[
            flops_row("full", VIT, None, 224, 197, 2 * 10**10, model="vit"),
            flops_row("full", TINY, None, 224, 197, 2 * 10**9, model="vit"),
            flops_row("full", VIT, "gls", 224, 197, 4 * 10**10, **timed),
            flops_row("full", VIT, "psm", 224, 197, 6 * 10**10, **timed),
        ],
        throughput=[
            row("vit", img_s=200.0, selector=None, impl=None),
            row("vit", img_s=900.0, selector=None, impl=None, backbone=TINY),
            row("glsim", img_s=100.0, selector="gls"),
            row("glsim", img_s=50.0, selector="psm"),
        ],
        selection_quality=[
            quality("gls", trained_with="gls", pointing_percent=80.0),
            quality("psm", trained_with="gls", pointing_percent=10.0),
            quality("psm", trained_with="psm", pointing_percent=60.0),
        ],
    )
    (table,) = tables("accuracy_vs_cost", data)
    assert list(table.frame["img/s"]) == [200.0, 900.0, 100.0, 50.0]
    assert list(table.frame["× vit"]) == [1.0, 1.0, 2.0, 3.0]
    assert list(table.frame["pointing %"]) == [None, None, 80.0, 60.0]
    assert [len(found.frame) for found in tables("selector_quality", data)] == [2, 1]


TRAININGS = {
    "backbone": (VIT, TINY),
    "begun_from": ("random", "pretrained"),
    "epochs": (1, 50),
    "weights": ("model", "model_ema"),
}


@pytest.mark.parametrize("field", TRAININGS)
def test_what_is_found_on_two_trainings_of_a_model_is_never_one_mean(field):
    told = {"begun_from": "random", "epochs": 50, "backbone": VIT}
    runs = [accuracy(**{**told, field: value}) for value in TRAININGS[field]]
    rows = [
        quality(pointing_percent=points, trained_with="gls", **{**told, field: value})
        for points, value in zip((20.0, 80.0), TRAININGS[field], strict=True)
    ]
    data = Data(accuracy=runs, selection_quality=rows)
    found = tables("selector_quality", data)
    assert [list(table.frame["pointing %"]) for table in found] == [[20.0], [80.0]]
    assert len({table.title for table in found}) == 2
    figures = [item for item in make_reports(["curves"], data, unheard)[0].items if isinstance(item, Figure)]
    assert [item.curves["gls"].runs for item in figures] == [1, 1]
    assert len({item.title for item in figures}) == 2
    own = [value for table in tables("accuracy_vs_cost", data) for value in table.frame["pointing %"]]
    assert own == [20.0, 80.0]


def test_rows_from_before_they_told_their_training_stand_beside_its_accuracy():
    data = Data(accuracy=[accuracy()], selection_quality=[quality(pointing_percent=20.0, trained_with="gls")])
    assert list(tables("accuracy_vs_cost", data)[0].frame["pointing %"]) == [20.0]
    assert tables("selector_quality", data)[0].title == "What selectors find · glsim, trained on cub at 224"


@pytest.mark.parametrize("field", ["code", "git_revision", "torch", "driver", "threads"])
def test_selections_of_different_environments_stand_apart_and_only_then_say_so(field):
    def timed(seconds, **environment):
        return {**SELECTIONS[2], "latency_s": seconds, "environment": {**SITE, **environment}}

    alike = tables("selections", Data(selection=[timed(0.1), timed(0.1)]))
    assert [table.title for table in alike] == ["Selections by themselves · NVIDIA H200 · float32 · batch 1"]
    assert any("torch 2.9.0" in note for note in alike[0].notes)
    apart = tables("selections", Data(selection=[timed(0.1), timed(0.2, **{field: "77"})]))
    assert [list(table.frame["ms"]) for table in apart] == [[100.0], [200.0]]
    assert "77" in apart[1].title
    assert "77" not in apart[0].title


def test_a_gain_is_over_the_plain_model_of_the_same_start():
    better = "One seed alone, which tells no model from vit: glsim (+1.0 points, 1 of 1 seed better)."
    other = plain(top1=60.0, begun_from="random")
    (table,) = tables("accuracy_vs_cost", Data(accuracy=[plain(), other, accuracy(top1=91.0, begun_from="pretrained")]))
    assert table.notes[-1] == better
    (alone,) = tables("accuracy_vs_cost", Data(accuracy=[accuracy()]))
    assert alone.notes[-1] == "Nothing was trained beside the plain vit with the same seed: no gain is told."


def test_files_that_were_only_tested_are_neither_averaged_nor_paired():
    files = [accuracy(top1=top1, seed=None, checkpoint=name) for top1, name in ((91.0, "a"), (20.0, "b"))]
    (table,) = tables("accuracy_vs_cost", Data(accuracy=[*files, plain(seed=None, checkpoint="c")]))
    assert [*zip(table.frame["file"], table.frame["top-1 %"], strict=True)] == [("a", 91.0), ("b", 20.0), ("c", 90.0)]
    assert table.notes[-1] == "Nothing was trained beside the plain vit with the same seed: no gain is told."


def test_a_throughput_that_was_disturbed_is_said_beside_what_it_buys():
    noisy = row(width=0.6, status="unconverged", reason="after 6 s the interval is ±60 %, not ±0.3 %")
    (table,) = tables("accuracy_vs_cost", Data(accuracy=[accuracy()], throughput=[noisy]))
    assert any(note.startswith("unconverged: ") and "±60 %" in note for note in table.notes)


def test_the_plain_model_with_overlapping_patches_has_its_own_work():
    overlapped = flops_row("full", VIT, None, 224, 325, 4 * 10**10, model="vit, patches overlap")
    run = plain(recipe={"epochs": 50, "optimizer": "momentum", "overlap": True})
    (table,) = tables("accuracy_vs_cost", Data(accuracy=[run], flops=[overlapped]))
    assert list(table.frame["MACs"]) == [2 * 10**10]


def test_notes_explain_the_columns_that_are_there():
    (table,) = tables("selector_quality", Data(selection_quality=[quality("gls", pointing_percent=80.0)]))
    told = next(note for note in table.notes if note.startswith("pointing"))
    assert "IoU" not in told
    assert [part.partition(":")[0].strip() for part in told.split(";")] == [
        "pointing",
        "insertion",
        "deletion",
        "% of backbone",
    ]


def of_classes(classes: int | None, flops: int, backbone=VIT):
    told = {"environment": {"num_classes": classes}}
    return [
        flops_row("full", backbone, None, 224, 197, 10 * flops, **told),
        flops_row("full", backbone, "gls", 224, 197, flops, percent=10.0, impl="fast", **told),
        flops_row("full", backbone, "gls", 224, 197, flops, percent=10.0, impl="fast", model="glsim", **told),
    ]


def test_counts_with_other_heads_stand_in_tables_of_their_own():
    found = tables("flops", Data(flops=[*of_classes(200, 5), *of_classes(1000, 7), *of_classes(None, 5)]))
    assert [table.title.rpartition(" · ")[2] for table in found] == [
        "convention full",
        "1000 classes",
        "convention full",
        "1000 classes",
    ]
    assert [to_rows(table)[-1]["fast FLOPs"] for table in found] == [5, 7, 5, 7]


def test_sweeps_with_other_heads_are_other_modes():
    rows = [row(img_s=100.0 * n, environment={**GPU, "num_classes": n}) for n in (2, 200)]
    assert [table.title for table in tables("throughput", Data(throughput=rows))] == [
        "Throughput · NVIDIA H200 · float32 · eager · 2 classes",
        "Throughput · NVIDIA H200 · float32 · eager",
    ]
    wide = [row(size=size, environment={**GPU, "num_classes": 2}) for size in (224, 448)]
    assert "measured on" not in tables("ratios", Data(throughput=wide))[0].frame


@pytest.mark.parametrize("report", ["flops", "accuracy_vs_cost"])
def test_names_that_come_to_the_same_have_files_of_their_own(report):
    flops = [each for name in ("vit.a", "vit-a", "VIT a", "vit a 2") for each in of_classes(200, 5, name)]
    runs = [accuracy(dataset=name, epochs=epochs) for name in ("a", "a!", "a 2") for epochs in (1, 2)]
    data = Data(flops=flops, accuracy=runs)
    parts = render_reports(make_reports([report], data, unheard), unheard)
    paths = [file.path for file in folder(parts, data, version="", made="")]
    assert len(set(paths)) == len(paths)


def test_a_number_behind_a_name_is_no_other_name():
    assert distinct(["a", "a-2", "a", "a", "a-2"]) == ["a", "a-2", "a-3", "a-4", "a-2-2"]


def test_points_that_something_else_disturbed_are_named_beside_their_price():
    rows = [row(batch=8, status="contended", reason="another process used the GPU")]
    (table,) = tables("price", Data(throughput=rows))
    assert any("another process used the GPU" in note for note in table.notes)


def test_several_trainings_of_a_model_are_told():
    timed = [row("vit", img_s=100.0, selector=None, impl=None)]
    twice = Data(throughput=timed, accuracy=[plain(epochs=10), plain(top1=80.0, epochs=20)])
    once = Data(throughput=timed, accuracy=[plain(), plain(seed=2)])
    said = "Of several trainings of a model the most accurate one is shown."
    assert [said in tables("price", data)[0].notes for data in (twice, once)] == [True, False]
    figures = [make_reports(["tradeoff"], data, unheard)[0].items[0] for data in (twice, once)]
    told = [any("trained in several ways" in note for note in figure.notes) for figure in figures]
    assert told == [True, False]


@pytest.mark.parametrize("report", ["accuracy_vs_cost", "selector_quality"])
def test_a_mean_over_several_machines_says_so(report):
    places = [{**GPU, "device_name": name} for name in ("NVIDIA A100", "NVIDIA L4")]
    runs = [accuracy(seed=seed, environment=place) for seed, place in enumerate(places)]
    judged = [quality(seed=seed) | {"environment": place} for seed, place in enumerate(places)]
    (table,) = tables(report, Data(accuracy=runs, selection_quality=judged))
    assert all(any(place["device_name"] in note for note in table.notes) for place in places)


SEVERAL = r"(?<![\w.,/])1 (figures|points|threads|rows|runs|seeds|epochs|classes|images|selectors|trained models)\b"


def test_one_thing_is_told_as_one():
    single = {"dataset": "mine", "epochs": 1, "num_classes": 1, "images": 1, "train_images": 1}
    cpu = {**CPU, "threads": 1, "num_classes": 1}
    (backbone, selection, *_) = SELECTIONS
    alone = [{**each, "environment": {**cpu, "roof": ROOF}} for each in (backbone, selection)]
    work = {"matrix_rate_flop_s": 1e12, "copy_rate_bytes_s": 1e11, "macs_per_image": 1e9, "bytes_per_image": 4e8}
    data = Data(
        throughput=[row(environment={**cpu, **work}, device="cpu"), tried("timeout", "too long", batch=2)],
        accuracy=[{**each, "environment": cpu} for each in (accuracy(**single), plain(**single))],
        selection_quality=[{**quality(dataset="mine", images=1, perturbed_images=1), "environment": cpu}],
        selection=alone,
        flops=[{**each, "environment": cpu} for each in of_classes(1, 5)],
    )
    made = make_reports(None, data, unheard)
    items = [item for each in made for item in each.items if not isinstance(item, Missing)]
    said = [*environments(data), *(text for item in items for text in (item.title, *item.notes))]
    said += [item.alt for item in items if isinstance(item, Figure)]
    page = next(file.content for file in folder([], data, version="", made="") if file.path == PAGE)
    assert [text for text in [*said, page] if re.search(SEVERAL, text)] == []
    filled = {each.name for each in made if each.items}
    assert {"tradeoff", "curves", "roofline", "accuracy_vs_cost", "selector_quality"} <= filled


def test_two_sets_of_weights_of_one_file_are_two_results():
    tested = {"seed": None, "epochs": None, "lr": None, "begun_from": None, "checkpoint": "two.pth"}
    rows = [{**plain(top1=top1), **tested, "weights": key} for top1, key in ((40.0, "model"), (60.0, "model_ema"))]
    (table,) = tables("accuracy_vs_cost", Data(accuracy=rows))
    assert list(table.printed["weights"]) == ["model", "model_ema"]
    assert list(table.printed["top-1 %"]) == ["40.0", "60.0"]
    assert sorted(one.top1_percent for one in accuracies(Data(accuracy=rows).accuracy)) == [40.0, 60.0]
