"""Without named weights ``visualize`` shows the shipped backbone, where a model takes it."""

from __future__ import annotations

import pytest
from helpers.small_pictures import rows_of, run
from PIL import Image

from fgbench.results.shipped import SHIPPED

FEW = ("--selectors", "gls", "attention")


def test_by_default_it_has_the_shipped_weights(here):
    result = run("a.png", *FEW)
    assert (result.exit_code, result.stderr) == (0, "fgbench: wrote visualize.png\n")
    with Image.open("visualize.png") as image:
        about = image.info["Description"]
    assert "RANDOM" not in about
    assert f"vit on {SHIPPED}, weights: shipped, of a drawn world: {SHIPPED}.world." in about
    assert "96 × 96 pixels from the centre" in about
    assert "--pretrained" not in about


def test_rows_say_backbone_size_and_weights_and_no_prediction(here):
    (row,) = rows_of("a.png", "--selectors", "gls")
    assert (row["backbone"], row["image_size"], row["grid"]) == (SHIPPED, 96, [8, 8])
    assert row["weights"].startswith("shipped")
    assert row["prediction"] is None


@pytest.mark.parametrize("named", [("--backbone", SHIPPED), ("--pretrained", "--backbone", SHIPPED)])
def test_who_names_it_gets_the_same(here, named):
    assert rows_of("a.png", *FEW, *named) == rows_of("a.png", *FEW)


def test_another_size_resizes_its_positions(here):
    (row,) = rows_of("a.png", "--selectors", "gls", "--size", "144")
    assert (row["backbone"], row["image_size"], row["grid"]) == (SHIPPED, 144, [12, 12])


def test_from_scratch_is_random_and_says_so(here):
    result = run("a.png", *FEW, "--from-scratch", "--backbone", SHIPPED, "--size", "96")
    assert result.exit_code == 0
    with Image.open("visualize.png") as image:
        assert image.info["Description"].startswith("RANDOM WEIGHTS")


@pytest.mark.parametrize("model", ["glsim", "transfg"])
def test_models_that_select_begin_from_it_and_say_what_is_random(here, model):
    result = run("a.png", "--model", model)
    assert result.exit_code == 0, result.stderr
    with Image.open("visualize.png") as image:
        about = image.info["Description"]
    assert f"{model} on {SHIPPED}" in about
    assert "The shipped weights are the backbone's alone" in about


def test_models_that_do_not_take_it_are_as_before(here):
    result = run("a.png", "--model", "cal", "--backbone", "resnet18", "--size", "64")
    assert result.exit_code == 0, result.stderr
    with Image.open("visualize.png") as image:
        assert image.info["Description"].startswith("RANDOM WEIGHTS")


@pytest.mark.parametrize("other", [("--pretrained",), ("--checkpoint", "a.png")])
def test_two_starts_are_refused_in_one_line(here, other):
    result = run("a.png", "--from-scratch", *other)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "--from-scratch means random weights" in result.stderr
