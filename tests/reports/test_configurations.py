"""Measured points with their accuracies, and the front of points."""

from __future__ import annotations

from dataclasses import fields

import pytest
from helpers.growth import assert_work_grows_with
from helpers.saved_rows import accuracy
from helpers.throughput_rows import CPU, GPU, HOSTILE, VIT, row, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.models.build import model_class
from fgbench.results.paper import OTHER_BACKBONES, VIT_B16, published_backbones
from fgbench.results.recipe import RECIPE_FIELDS, Recipe
from fgbench_reports.choose.configurations import (
    MEASURED,
    PUBLISHED,
    accuracies,
    configurations,
    fits,
    pareto_front,
    published_accuracies,
)
from fgbench_reports.data import Data
from fgbench_reports.dataset_subset import without_part

RECIPE_VALUES = {"epochs": 50, "optimizer": "momentum"}


def means(rows):
    """The accuracies over seeds of rows as files have them."""
    return accuracies(Data(accuracy=rows).accuracy)


def timed(**fields):
    """A record of throughput."""
    return Data(throughput=[row(**fields)]).throughput[0]


def test_a_seed_that_was_trained_again_counts_once():
    runs = [accuracy(seed=1, top1=90.0), accuracy(seed=2, top1=92.0), accuracy(seed=1, top1=90.5, seconds=9.0)]
    (one,) = means(runs)
    assert (one.runs, one.top1_percent) == (2, pytest.approx((90.5 + 92.0) / 2))
    files = [accuracy(seed=None, checkpoint="a", top1=top1) for top1 in (90.0, 91.0)]
    assert [one.runs for one in means(files)] == [2], "nothing tells which of two files of one name is which"


def test_the_fields_of_a_recipe_are_told_from_options_of_models():
    assert {field.name for field in fields(Recipe)} == RECIPE_FIELDS
    assert not {"top_k", "num_tokens", "overlap"} & RECIPE_FIELDS


@pytest.mark.parametrize("model", sorted({one.model for one in published_accuracies()}))
def test_published_accuracies_are_of_models_as_they_are_built_here(model):
    import torch

    (selector,) = {one.selector for one in published_accuracies() if one.model == model}
    backbone = model_class(model).default_backbone
    assert backbone in published_backbones(model)
    if model not in OTHER_BACKBONES:
        from fgbench.models.build import create_model

        with torch.device("meta"):
            built = create_model(model, backbone, img_size=224, num_classes=200)
        assert built.selector_name == selector


def test_an_accuracy_is_the_mean_over_seeds():
    one, other = means([accuracy(seed=1, top1=90.0), accuracy("vit", top1=80.0), accuracy(seed=10, top1=91.0)])
    assert (one.model, one.top1_percent, one.runs) == ("glsim", 90.5, 2)
    assert one.top1_std_percent == pytest.approx(0.5**0.5)
    assert (other.model, other.top1_percent, other.runs, other.top1_std_percent) == ("vit", 80.0, 1, None)
    assert (one.recipe, one.options, one.source) == ({"epochs": 50, "optimizer": "momentum"}, {}, MEASURED)


def test_means_that_are_means_already_are_left_out():
    assert means([accuracy(seed=None, seeds=[1, 10])]) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"selector": "psm"},
        {"backbone": "vit_tiny_patch16_224"},
        {"image_size": 448},
        {"dataset": "dogs"},
        {"num_classes": 120},
        {"train_images": 100},
        {"epochs": 10},
        {"lr": 0.03},
        {"flip": True},
        {"recipe": {**RECIPE_VALUES, "augreg": "weak"}},
        {"recipe": {**RECIPE_VALUES, "top_k": 4}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_runs_that_differ_in_more_than_their_seed_have_no_common_mean(changed):
    assert [one.runs for one in means([accuracy(seed=1), accuracy(seed=10, **changed)])] == [1, 1]


def test_checkpoints_that_were_only_tested_stand_for_themselves():
    tested = [accuracy(seed=None, epochs=None, lr=None, recipe={}, checkpoint=name, top1=top1) for name, top1 in
              (("a", 80.0), ("b", 90.0))]  # fmt: skip
    assert [one.top1_percent for one in means(tested)] == [80.0, 90.0]


def test_a_part_of_a_data_set_is_a_data_set_of_its_own_and_takes_no_published_place():
    part = accuracy(top1=99.0, num_classes=20, images=580)
    found = configurations(Data(throughput=[row()], accuracy=[part]))
    by_name = {one.accuracy.dataset: (one.accuracy.top1_percent, one.accuracy.source) for one in found}
    assert by_name["cub, 20 of 200 classes"] == (99.0, MEASURED)
    assert by_name["cub"][1] == PUBLISHED
    (alone,) = configurations(Data(throughput=[row()], accuracy=[part]), dataset="cub")
    assert alone.accuracy.source == PUBLISHED
    fewer = [accuracy(seed=1), accuracy(seed=10, images=5000)]
    assert [one.dataset for one in means(fewer)] == ["cub", "cub, 5,000 of 5,794 test images"]


def test_the_options_that_the_paper_has_for_a_data_set_are_those_of_its_part():
    part = accuracy(dataset="dogs", recipe={**RECIPE_VALUES, "top_k": 16}, num_classes=20)
    (one,) = means([part])
    assert (one.dataset, without_part(one.dataset), fits(one, timed())) == ("dogs, 20 of 120 classes", "dogs", True)
    assert [without_part(name) for name in ("cub", "moths, 2 of 9 classes", "cub, cropped")] == [
        "cub", "moths, 2 of 9 classes", "cub, cropped"]  # fmt: skip


def test_options_of_the_model_are_in_its_label():
    (one,) = means([accuracy(recipe={**RECIPE_VALUES, "top_k": 4, "overlap": 2})])
    assert one.label == "glsim, overlap=2, top_k=4"


def test_every_point_that_has_figures_is_a_configuration_and_one_batch_the_best():
    rows = [row(batch=batch, img_s=speed) for batch, speed in ((1, 10.0), (2, 30.0), (4, 20.0))]
    rows += [tried("oom", "too much", batch=8), row(batch=16, img_s=25.0, status="contended")]
    found = configurations(Data(throughput=rows), dataset="cub", best_only=False)
    assert [(each.row["batch_size"], each.best) for each in found] == [(1, False), (2, True), (4, False), (16, False)]
    assert [each.row["batch_size"] for each in configurations(Data(throughput=rows), dataset="cub")] == [2]
    assert (found[1].img_s, found[1].latency_s) == (30.0, 2 / 30)


def test_of_repeats_the_median_counts():
    rows = [row(img_s=speed, repeat=number) for number, speed in enumerate((10.0, 30.0, 20.0), 1)]
    (found,) = configurations(Data(throughput=rows), dataset="cub", best_only=False)
    assert found.img_s == 20.0


@pytest.mark.parametrize("changed", [{"dtype": "amp"}, {"environment": CPU, "device": "cpu"}, {"compiled": True}])
def test_every_mode_has_a_best_batch_and_a_name(changed):
    rows = [row(batch=1, img_s=10.0), row(batch=2, img_s=20.0), row(batch=1, img_s=5.0, **changed)]
    found = configurations(Data(throughput=rows), dataset="cub")
    assert [each.img_s for each in found] == [20.0, 5.0]
    assert len({each.mode_name for each in found}) == 2


def test_rows_of_other_versions_are_told_apart():
    rows = [row(), row(environment={**GPU, "torch": "2.8.0"})]
    first, second = configurations(Data(throughput=rows), dataset="cub")
    assert ("torch 2.9.0" in first.mode_name, "torch 2.8.0" in second.mode_name) == (True, True)


def test_memory_is_what_tensors_held_on_a_gpu_and_the_resident_set_on_a_cpu():
    on_gpu, on_cpu = configurations(Data(throughput=[row(), row(device="cpu", environment=CPU)]), dataset="cub")
    assert (on_gpu.memory_bytes, on_cpu.memory_bytes) == (431_000_000, 1_234_567_890)


def test_an_accuracy_belongs_to_its_model_backbone_size_and_selector():
    (one,) = means([accuracy()])
    assert fits(one, timed())
    assert fits(one, timed(impl="published"))
    for changed in ({"model": "ffvt"}, {"selector": "psm"}, {"backbone": "deit"}, {"size": 448}):
        assert not fits(one, timed(**changed))
    for other in (accuracy(recipe={"top_k": 4}), accuracy(flip=True)):  # they cost another time than was taken
        assert not fits(means([other])[0], timed())


def test_published_accuracies_stand_in_on_the_papers_backbone_alone():
    for backbone in VIT_B16:
        (found,) = configurations(Data(throughput=[row(backbone=backbone)]), dataset="cub")
        assert (found.accuracy.top1_percent, found.accuracy.source) == (90.93, PUBLISHED)
    for other in (row(backbone="vit_tiny_patch16_224"), row(selector="psm"), row(size=768), row(HOSTILE)):
        (found,) = configurations(Data(throughput=[other]), dataset="cub")
        assert found.accuracy is None
    resnet = row("resnet101", selector=None, impl=None, backbone="resnet101", size=448)
    assert configurations(Data(throughput=[resnet]), dataset="cub")[0].accuracy.top1_percent == 86.37


def test_a_measured_accuracy_takes_the_place_of_the_published_one():
    timed = [row()]
    (found,) = configurations(Data(throughput=timed, accuracy=[accuracy(top1=88.0)]), dataset="cub")
    assert (found.accuracy.top1_percent, found.accuracy.source) == (88.0, MEASURED)
    of_another = [accuracy(top1=50.0, backbone="vit_tiny_patch16_224"), accuracy(top1=60.0, recipe={"top_k": 4})]
    (found,) = configurations(Data(throughput=timed, accuracy=of_another), dataset="cub")
    assert found.accuracy.source == PUBLISHED


def test_a_point_has_one_configuration_per_data_set():
    data = Data(throughput=[row()], accuracy=[accuracy(dataset="synthetic", top1=70.0)])
    by_dataset = {each.accuracy.dataset: each.accuracy.source for each in configurations(data)}
    assert by_dataset == {"synthetic": MEASURED, "cub": PUBLISHED}  # nobody asked for the others
    (dogs,) = configurations(data, dataset="dogs")
    assert (dogs.accuracy.dataset, dogs.accuracy.source) == ("dogs", PUBLISHED)
    (found,) = configurations(data, dataset="nowhere")
    assert found.accuracy is None


def dominates(one, other) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


coordinates = st.one_of(st.integers(0, 3).map(float), st.floats(0, 1), st.just(float("inf")))


@given(st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[coordinates] * size), max_size=25)))
@settings(deadline=None)  # the first one imports numpy
def test_the_front_is_what_nothing_dominates(points):
    assert pareto_front(points) == [not any(dominates(other, point) for other in points) for point in points]


def test_the_calls_for_a_large_front_grow_with_its_points():
    points = [(float(number), float(-number), 1.0, float(number % 7)) for number in range(5_000)]
    assert pareto_front(points) == [True] * len(points)
    assert_work_grows_with(points, pareto_front)


def test_no_points_have_no_front():
    assert pareto_front([]) == []


def test_the_work_for_ten_thousand_points_is_ten_times_that_for_a_thousand():
    one = row()
    rows = [{**one, "model": f"m{number % 50}", "batch_size": number + 1} for number in range(10_000)]
    runs = [accuracy(f"m{number}", dataset=f"d{name}") for number in range(50) for name in range(3)]

    def judge(rows) -> None:
        found = configurations(Data(throughput=rows, accuracy=runs), best_only=False)
        assert len(found) == 3 * len(rows)

    assert_work_grows_with(rows, judge)


def test_backbones_keep_accuracies_apart():
    rows = [row(backbone=VIT), row(backbone="vit_tiny_patch16_224")]
    runs = [accuracy(top1=91.0), accuracy(top1=75.0, backbone="vit_tiny_patch16_224")]
    found = configurations(Data(throughput=rows, accuracy=runs), dataset="cub")
    assert [each.accuracy.top1_percent for each in found] == [91.0, 75.0]


def test_plain_mappings_become_records_and_fields_that_they_lack_are_none():
    data = Data(throughput=[row()], accuracy=[accuracy()])
    assert (data.throughput[0].model, data.accuracy[0].seed, data.flops) == ("glsim", 1, ())
    assert Data(throughput=data.throughput).throughput is data.throughput
    assert (Data(accuracy=[{"seed": 1}]).accuracy[0].model, Data(accuracy=[{"seed": 1}]).accuracy[0].flip) == (
        None,
        False,
    )
