"""Initial weights with a backbone's file, and options that are refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.model_scenes import enliven, images, on_small_vit
from helpers.weight_files import google_arrays
from torch import Tensor, nn
from torch.nn import functional

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model
from fgbench.models.initialization import BLOCK_INITS, HEAD_INITS, start_block
from fgbench.values import key_values, literal

CLASSES, WIDTH = 21, 64
NPZ_MODELS = ("vit", "transfg", "ffvt", "ramstrans", "glsim", "dcal", "ev", "aftrans", "ielt", "r2trans")
OWN_HEADS = ("transfg", "ffvt", "ramstrans", "glsim", "ielt")  # whose codes never take the head of the .npz


def built(name: str, **options: Any) -> Any:
    return on_small_vit(name, CLASSES, **options)


def begun(name: str, tmp_path: Any, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A model on a Google .npz whose head has as many classes as the model; the report; the arrays."""
    arrays = google_arrays(head=CLASSES)
    np.savez(tmp_path / "vit.npz", **arrays)
    model = built(name, **options)
    return model, fgbench.load_checkpoint(model, tmp_path / "vit.npz"), arrays


def check_uniform(values: Tensor, bound: float) -> None:
    """Values lie within ±bound, reach close to it, and have the spread of a uniform distribution."""
    assert values.abs().max() <= bound
    assert values.abs().max() > 0.95 * bound
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert abs(values.mean().item()) < 0.1 * bound


def check_linear(layer: nn.Linear, how: str) -> None:
    """A layer is what its rule draws; queries, keys and values in one matrix are three of (D, D)."""
    outputs, inputs = layer.weight.shape
    outputs = inputs if outputs == 3 * inputs else outputs
    if how == "zeros":
        assert not layer.weight.any()
        assert not layer.bias.any()
    elif how == "linear":
        check_uniform(layer.weight, 1 / math.sqrt(inputs))
        assert layer.bias.abs().max() <= 1 / math.sqrt(inputs)
        assert layer.bias.abs().max() > 0.5 / math.sqrt(inputs)
    elif how == "xavier":
        check_uniform(layer.weight, math.sqrt(6 / (inputs + outputs)))
        assert 0 < layer.bias.abs().max() < 1e-5
    else:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert layer.weight.abs().max() > 0.04
        assert not layer.bias.any()


# On a backbone --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how"),
    [("transfg", "linear"), ("ffvt", "zeros"), ("ramstrans", "linear"), ("glsim", "zeros"), ("ielt", "zeros")],
)
def test_the_head_begins_as_in_the_released_code_and_that_of_the_npz_is_not_taken(name, how, tmp_path):
    model, report, _ = begun(name, tmp_path)
    check_linear(model.head, how)
    assert {"head.weight", "head.bias"} <= set(report.missing)
    assert set(report.unexpected) == {"head/kernel", "head/bias"}
    assert not any(name.startswith("head") for name in report.loaded)


@pytest.mark.parametrize("name", NPZ_MODELS)
@pytest.mark.parametrize("how", HEAD_INITS)
def test_every_way_to_begin_a_head_can_be_asked_for(name, how, tmp_path):
    model, report, arrays = begun(name, tmp_path, head_init=how)
    if how == "backbone":
        assert torch.equal(model.head.weight, torch.from_numpy(arrays["head/kernel"].T.copy()))
        assert {"head.weight", "head.bias"} <= set(report.loaded)
    else:
        check_linear(model.head, how)
    if name == "dcal" and how != "backbone":
        assert torch.equal(model.cross_head.weight, model.head.weight)


@pytest.mark.parametrize("how", HEAD_INITS)
def test_what_is_asked_for_holds_without_a_backbone_s_weights_too(how):
    for name in ("vit", "glsim"):
        check_linear(built(name, head_init=how).head, "timm" if how == "backbone" else how)
        check_linear(built(name).head, "timm")
    for name in ("transfg", "glsim"):
        block = built(name, block_init="xavier")
        block = block.aggregator if name == "glsim" else block.encoder.vit.blocks[3]
        check_linear(block.attn.qkv, "xavier")


def test_the_head_of_another_number_of_classes_is_drawn_by_the_same_rule(tmp_path):
    np.savez(tmp_path / "vit.npz", **google_arrays(head=5))
    for name, how in (("transfg", "linear"), ("ffvt", "zeros"), ("vit", "timm")):
        model = built(name)
        fgbench.load_checkpoint(model, tmp_path / "vit.npz")
        check_linear(model.head, how)


@pytest.mark.parametrize(
    ("name", "options", "fresh"),
    [
        ("ffvt", {}, True),
        ("ffvt", {"fresh_last_norm": False}, False),
        ("ielt", {}, True),
        ("ielt", {"fresh_last_norm": False}, False),
        ("ramstrans", {}, True),
        ("ramstrans", {"fresh_last_norm": False}, False),
        ("transfg", {}, False),
        ("transfg", {"fresh_last_norm": True}, True),
        ("glsim", {}, False),
    ],
)
def test_the_last_norm_is_that_of_the_npz_or_stays_1_and_0(name, options, fresh, tmp_path):
    model, report, arrays = begun(name, tmp_path, **options)
    norm, own = model.encoder.vit.norm, {"encoder.vit.norm.weight", "encoder.vit.norm.bias"}
    if fresh:
        assert torch.equal(norm.weight, torch.ones(WIDTH))
        assert torch.equal(norm.bias, torch.zeros(WIDTH))
        assert own <= set(report.started)
        assert not own & set(report.loaded)
    else:
        assert torch.equal(norm.weight, torch.from_numpy(arrays["Transformer/encoder_norm/scale"]))
        assert own <= set(report.loaded)


@pytest.mark.parametrize("name", ["transfg", "ffvt", "ielt"])
@pytest.mark.parametrize("how", BLOCK_INITS)
def test_the_last_block_is_drawn_by_its_rule_and_its_norms_are_1_and_0(name, how, tmp_path):
    model, _, _ = begun(name, tmp_path, block_init=how)
    block = model.encoder.vit.blocks[3]
    attention, mlp = ("linear", "xavier") if how == "released" else (how, how)
    check_linear(block.attn.qkv, attention)
    check_linear(block.attn.proj, attention)
    check_linear(block.mlp.fc1, mlp)
    check_linear(block.mlp.fc2, mlp)
    for norm in (block.norm1, block.norm2):
        assert torch.equal(norm.weight, torch.ones(WIDTH))
        assert torch.equal(norm.bias, torch.zeros(WIDTH))


@pytest.mark.parametrize("how", BLOCK_INITS)
def test_ielt_s_cross_layer_block_is_drawn_as_its_last_one_and_by_itself(how, tmp_path):
    model, report, _ = begun("ielt", tmp_path, block_init=how)
    block, last = model.cross_layer_block, model.encoder.vit.blocks[3]
    attention, mlp = ("linear", "xavier") if how == "released" else (how, how)
    check_linear(block.attn.qkv, attention)
    check_linear(block.mlp.fc2, mlp)
    assert not torch.equal(block.mlp.fc1.weight, last.mlp.fc1.weight)
    for norm in (block.norm1, block.norm2, model.cross_layer_norm):
        assert torch.equal(norm.weight, torch.ones(WIDTH))
        assert torch.equal(norm.bias, torch.zeros(WIDTH))
    own = {name for name in model.state_dict() if name.startswith("cross_layer_")}
    assert own <= set(report.started)
    without = built("ielt")
    assert not torch.equal(without.cross_layer_block.mlp.fc1.weight, without.encoder.vit.blocks[3].mlp.fc1.weight)


def test_ielt_can_start_from_the_backbone_s_last_block_and_norm(tmp_path):
    model, report, _ = begun("ielt", tmp_path, fresh_last_block=False, fresh_last_norm=False)
    vit = model.encoder.vit
    for own, source in ((model.cross_layer_block, vit.blocks[3]), (model.cross_layer_norm, vit.norm)):
        for name, tensor in source.state_dict().items():
            assert torch.equal(own.state_dict()[name], tensor), name
    assert not any(name.startswith("encoder.vit.") for name in report.started)


def test_glsim_s_aggregator_is_drawn_by_xavier_s_rule_on_a_backbone_and_as_torch_does_without(tmp_path):
    model, report, _ = begun("glsim", tmp_path, crop_class_token=True)
    for layer in (model.aggregator.attn.qkv, model.aggregator.attn.proj, model.aggregator.mlp.fc1):
        check_linear(layer, "xavier")
    assert torch.equal(model.aggregator_norm.weight, torch.ones(WIDTH))
    assert report.started == ("crop_class_token",)
    assert any(name.startswith("aggregator.") for name in report.missing)
    check_linear(built("glsim").aggregator.mlp.fc1, "linear")


@pytest.mark.parametrize("name", OWN_HEADS)
def test_timm_s_pretrained_weights_begin_as_a_file_does(name, monkeypatch):
    from fgbench.models import vision_transformer as vit

    def enlivened(*where: Any, pretrained: bool, **how: Any) -> nn.Module:
        assert pretrained
        return enliven(build(*where, **how), seed=5)

    build = vit.build_vit
    monkeypatch.setattr(vit, "build_vit", enlivened)
    model = built(name, pretrained=True)
    check_linear(model.head, model.released_head)
    assert bool((model.encoder.vit.norm.weight == 1).all()) == (name in ("ffvt", "ramstrans", "ielt"))
    if name in ("transfg", "ffvt", "ielt"):
        check_linear(model.encoder.vit.blocks[3].mlp.fc1, "xavier")


def test_a_glsim_checkpoint_keeps_its_head_where_the_crop_s_token_begins_anew(tmp_path):
    first = enliven(built("glsim"))
    fgbench.save_checkpoint(first, tmp_path / "trained.safetensors")
    second = built("glsim", crop_class_token=True)
    fgbench.load_checkpoint(second, tmp_path / "trained.safetensors")
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    assert torch.equal(second.crop_class_token, first.encoder.vit.cls_token)


def test_a_block_of_eva_is_drawn_anew_with_its_own_biases():
    block = create_model("vit", "eva02_tiny_patch14_224", img_size=28, num_classes=2).encoder.vit.blocks[0]
    enliven(block)
    start_block(block, "released", released=("linear", "xavier"))
    projections = block.attn.qkv if block.attn.qkv is not None else block.attn.q_proj
    check_uniform(projections.weight, 1 / math.sqrt(192))
    check_uniform(block.mlp.fc2.weight, math.sqrt(6 / sum(block.mlp.fc2.weight.shape)))
    assert (block.norm1.weight == 1).all()


@pytest.mark.parametrize("name", ["simtrans", "aatrans"])
def test_simtrans_and_aatrans_begin_as_transfg_does(name, tmp_path):
    """The last block is drawn and the last norm is loaded; heads are torch's own, that of the .npz is not taken."""
    model, report, arrays = begun(name, tmp_path)
    block = model.encoder.vit.blocks[3]
    check_linear(block.attn.qkv, "linear")
    check_linear(block.mlp.fc1, "xavier")
    assert torch.equal(model.encoder.vit.norm.weight, torch.from_numpy(arrays["Transformer/encoder_norm/scale"]))
    given = arrays["Transformer/encoderblock_2/MlpBlock_3/Dense_0/kernel"].T.copy()
    assert torch.equal(model.encoder.vit.blocks[2].mlp.fc1.weight, torch.from_numpy(given))
    assert set(report.unexpected) == {"head/kernel", "head/bias"}
    for layer in (layer for layer in model.head.modules() if isinstance(layer, nn.Linear)):
        check_linear(layer, "linear")
    if name == "simtrans":
        assert model.head.fc.out_features == CLASSES
        assert {"structure.weight1", "structure.weight2", "head.norm.running_var"} <= set(report.missing)
    kept, _, _ = begun(name, tmp_path, fresh_last_block=False, fresh_last_norm=True)
    given = arrays["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy()
    assert torch.equal(kept.encoder.vit.blocks[3].mlp.fc1.weight, torch.from_numpy(given))
    assert (kept.encoder.vit.norm.weight == 1).all()


@pytest.mark.parametrize("how", HEAD_INITS)
def test_every_way_to_begin_can_be_asked_for_of_all_layers_of_a_head(how, tmp_path):
    for model in (built("simtrans", head_init=how), begun("simtrans", tmp_path, head_init=how)[0]):
        for layer in (model.head.hidden, model.head.fc):
            check_linear(layer, "linear" if how == "backbone" else how)


# Losses and options ---------------------------------------------------------------------------------------------------


def test_ramstrans_trains_both_predictions_or_the_first_alone():
    batch, targets = images(3, 64), torch.tensor([0, 5, 2])
    losses = {}
    for heads in ("both", "first"):
        model = enliven(built("ramstrans", loss_heads=heads, label_smoothing=0.0)).eval()
        losses[heads], logits = model(batch, targets)
        found = model.flow(batch)
        assert torch.equal(logits, found.logits)
    image, crop = (functional.cross_entropy(found.heads[name], targets) for name in ("image", "crop"))
    assert losses["first"].item() == pytest.approx(image.item(), rel=1e-6)
    assert losses["both"].item() == pytest.approx((image + crop).item(), rel=1e-6)
    assert abs(crop.item()) > 0.1
    model.zero_grad()
    losses["first"].backward()
    assert model.second_class_token.grad.abs().max() > 0, "it takes part in the first pass"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit", {"head_init": "zero"}),
        ("vit", {"dropout": 1}),
        ("vit", {"dropout": "0.1"}),
        ("vit", {"dropout_at": "head"}),
        ("transfg", {"block_init": "zeros"}),
        ("transfg", {"fresh_last_block": "no"}),
        ("ffvt", {"fresh_last_norm": 1}),
        ("ramstrans", {"loss_heads": "second"}),
        ("ielt", {"fresh_last_block": None}),
        ("ramstrans", {"fresh_last_norm": None}),
        ("glsim", {"block_init": None, "crop_class_token": 0}),
        ("ev", {"search": "cells"}),
        ("ev", {"min_area": 9}),
        ("ev", {"search": "pixels", "min_area": 0}),
    ],
)
def test_a_bad_option_is_one_line(name, options):
    with pytest.raises(FgbenchError) as caught:
        built(name, **options)
    assert "\n" not in str(caught.value)


def test_the_commands_of_the_page_name_options_that_the_models_have():
    page = Path(__file__).parents[2].joinpath("docs", "differences.md").read_text(encoding="utf-8")
    commands = re.findall(r"`fgbench accuracy --model (\w+) [^`]*--model-options ([^`]+)`", page)
    models = {"transfg", "ffvt", "ramstrans", "glsim", "ielt", "simtrans", "aatrans", "accvit", "falvit", "mpsa"}
    assert {model for model, _ in commands} == models
    for model, words in commands:
        options = {key: literal(value) for key, value in key_values(words.split(), "--model-options").items()}
        with torch.device("meta"):  # on the backbone of its paper
            made = create_model(model, num_classes=CLASSES, **options)
        assert all(getattr(made, name, value) == value for name, value in options.items())
