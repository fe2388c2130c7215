"""Sizes that patches do not divide: the pixels at the edges are named, on stderr."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from fgbench.backbone_shape import cut_off_by, cut_off_line, pixels_cut_off
from fgbench.cli import app
from fgbench.errors import LeftOutNotice
from fgbench.measure.points import ModelSpec
from fgbench.measure.subjects.model import resolve
from fgbench.models import create_model
from fgbench.sweep import context
from fgbench.training import runs

TINY = ("--backbones", "vit_tiny_patch16_224", "--selectors", "gls", "--impl", "fast")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)


@pytest.mark.parametrize(
    ("size", "patch", "stride"),
    [(100, 16, 16), (96, 16, 16), (100, 16, 12), (110, 16, 12), (448, 14, 14), (768, 14, 14), (33, 32, 32)],
)
def test_what_is_cut_off_is_what_a_convolution_does_not_read(size, patch, stride):
    line = torch.zeros(1, 1, size)
    line.requires_grad_()
    after = torch.nn.functional.conv1d(line, torch.ones(1, 1, patch), stride=stride)
    after.sum().backward()
    assert pixels_cut_off(size, patch, stride, after.shape[-1]) == int((line.grad == 0).sum())


def count(*words):
    result = CliRunner().invoke(app, ["flops", "--format", "json", *words])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), result.stderr


def test_flops_says_that_four_pixels_are_cut_off_and_leaves_its_rows_as_they_are():
    rows, said = count("--sizes", "100", "96", *TINY)
    assert {(row["image_size"], row["num_tokens"]) for row in rows} == {(100, 37), (96, 37)}
    edges = "do not cover the right and the lower edge: 4 of 100 pixels are cut off"
    assert said == f"fgbench: the patches of 'vit_tiny_patch16_224' {edges}\n"
    _, said = count("--sizes", "96", *TINY)
    assert said == ""


def test_a_stride_of_one_s_own_and_whole_models_are_judged_by_it():
    _, said = count("--sizes", "100", "110", "--patch-stride", "12", *TINY)
    assert said.count("\n") == 1
    assert "edge: 10 of 110 pixels are cut off" in said
    _, said = count("--sizes", "100", "--models", "vit", *TINY[:2])
    assert "'vit on vit_tiny_patch16_224'" in said
    assert "4 of 100 pixels" in said


def test_models_without_patches_lose_nothing():
    with torch.device("meta"):
        assert cut_off_by(create_model("cal", img_size=100)) == 0
        assert cut_off_by(create_model("vit", "test_vit", img_size=100)) == 4
    assert cut_off_line("vit", {96: 0, 112: 0}) is None


def test_a_sweep_says_it_once_per_model():
    case = ModelSpec(model="vit", backbone="test_vit", selector=None, impl=None, image_size=100, num_classes=3)
    resolved, cut = resolve(case)
    assert (resolved.backbone, cut) == ("test_vit", 4)
    reported = []
    answers = [
        {"case": {"model": "vit", "backbone": "test_vit", "image_size": size}, "cut_off": size % 16}
        for size in (100, 96, 110)
    ]
    context._report_cut_off([*answers, {"refused": "…"}], reported.append)
    (notice,) = reported
    assert isinstance(notice, LeftOutNotice)
    assert "4 of 100 pixels, 14 of 110 pixels" in str(notice)


def test_training_says_it_before_hours_are_spent(monkeypatch):
    reported = []
    monkeypatch.setattr(runs, "check_recipe", lambda recipe: None)
    contender = SimpleNamespace(
        recipe={},
        label="vit at 100",
        image_size=100,
        build=lambda classes: create_model("vit", "test_vit", img_size=100, num_classes=classes),
    )
    training = SimpleNamespace(dataset=SimpleNamespace(num_classes=3), on_problem=reported.append)
    assert runs.Runs._can_be_built(SimpleNamespace(context=training), contender)
    assert ["4 of 100 pixels" in str(notice) for notice in reported] == [True]
