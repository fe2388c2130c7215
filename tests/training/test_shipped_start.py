"""Which runs begin from the weights of the shipped backbone, their recipes, keys and rows."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.datasets.build import open_dataset
from fgbench.errors import FgbenchError
from fgbench.models import create_model
from fgbench.models.checkpoints.load import save_checkpoint
from fgbench.results.shipped import SHIPPED, WEIGHTS
from fgbench.training.config import training_configs
from fgbench.training.context import open_training
from fgbench.training.request import AccuracyRequest

DATA = {"classes": "3", "train_images": "12", "test_images": "6", "side": "48"}


@pytest.fixture(scope="module")
def dataset():
    return open_dataset("synthetic", None, {})


def config_of(dataset, **asked):
    (config,) = training_configs(AccuracyRequest(**{"models": ("vit",), **asked}), dataset, pytest.fail)
    return config


def context_of(tmp_path, **asked):
    request = AccuracyRequest(checkpoints=tmp_path, dataset_options=DATA, device="cpu", **asked)
    return open_training(request, None, pytest.fail)


def test_the_drawn_set_begins_from_the_shipped_backbone(dataset):
    config = config_of(dataset)
    assert (config.backbone, config.begins_shipped, config.image_size) == (SHIPPED, True, 96)
    assert config.recipe.epochs < 24


@pytest.mark.parametrize("asked", [{"backbone": SHIPPED}, {"backbone": f"{SHIPPED}.world"}, {"pretrained": True}])
def test_who_names_it_gets_its_weights_and_its_recipe(dataset, asked):
    config = config_of(dataset, **asked)
    assert config.begins_shipped
    assert (config.recipe, config.lrs) == (config_of(dataset).recipe, config_of(dataset).lrs)


@pytest.mark.parametrize("asked", [{"backbone": "test_vit"}, {"from_scratch": True}, {"models": ("cal",)}])
def test_who_names_another_start_or_cannot_take_it_trains_as_before(dataset, asked):
    config = config_of(dataset, **asked)
    assert not config.begins_shipped
    assert (config.recipe.epochs, config.recipe.batch_size, config.lrs) == (24, 32, (1e-3,))
    if "models" not in asked:
        assert config.backbone == asked.get("backbone", SHIPPED)
    else:
        assert config.backbone is None


def test_an_option_comes_before_the_recipe_of_the_start(dataset):
    config = config_of(dataset, recipe={"epochs": 3}, lrs=(0.1,))
    assert (config.recipe.epochs, config.lrs) == (3, (0.1,))


def test_a_file_is_tested_on_the_backbone_that_it_was_made_with(dataset, tmp_path):
    for backbone in ("test_vit", SHIPPED):
        path = tmp_path / f"{backbone}.safetensors"
        save_checkpoint(create_model("vit", backbone, img_size=96, num_classes=20), path)
        config = config_of(dataset, checkpoint=path)
        assert (config.backbone, config.begins_shipped) == (backbone, False)


def test_keys_differ_by_the_digest_of_the_weights(tmp_path, monkeypatch):
    context = context_of(tmp_path)
    (config,) = training_configs(context.request, context.dataset, pytest.fail)
    key = context.key_of_run(config, 1e-3, 0)
    assert context.key_of_run(config, 1e-3, 0) == key
    other = tmp_path / "other.safetensors"
    content = bytearray(WEIGHTS.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    monkeypatch.setattr("fgbench.training.context.WEIGHTS", other)
    assert context.key_of_run(config, 1e-3, 0) != key


def test_keys_of_runs_that_do_not_take_it_do_not_know_of_it(tmp_path, monkeypatch):
    context = context_of(tmp_path, backbone="test_vit")
    (config,) = training_configs(context.request, context.dataset, pytest.fail)
    key = context.key_of_run(config, 1e-3, 0)
    monkeypatch.setattr("fgbench.training.context.WEIGHTS", tmp_path / "gone")
    assert context.key_of_run(config, 1e-3, 0) == key


def test_asked_for_or_by_default_it_is_one_run(tmp_path):
    keys = set()
    for asked in ({}, {"pretrained": True}):
        context = context_of(tmp_path, **asked)
        (config,) = training_configs(context.request, context.dataset, pytest.fail)
        keys.add(context.key_of_run(config, 1e-3, 0))
    assert len(keys) == 1


@pytest.mark.parametrize("other", [{"pretrained": True}, {"checkpoint": WEIGHTS}])
def test_two_starts_are_refused(other):
    with pytest.raises(FgbenchError, match="--from-scratch"):
        AccuracyRequest(from_scratch=True, **other).check()


@pytest.mark.parametrize(("words", "begun_from"), [((), "shipped"), (("--from-scratch",), "random")])
def test_the_row_says_what_it_began_from(words, begun_from, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    options = [f"{name}={value}" for name, value in DATA.items()]
    command = ["accuracy", "--model", "vit", "--dataset-options", *options, "--sizes", "36", "--epochs", "1"]
    result = CliRunner().invoke(app, [*command, "--device", "cpu", "--lr", "1e-9", *words, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert (row["begun_from"], row["backbone"]) == (begun_from, SHIPPED)
    kept = create_model("vit", SHIPPED, img_size=36, num_classes=3, pretrained=True)
    first = kept.encoder.vit.blocks[0].attn.qkv.weight
    trained = load_file(row["checkpoint"])["encoder.vit.blocks.0.attn.qkv.weight"]
    assert torch.allclose(trained, first, atol=1e-4) == (begun_from == "shipped")
