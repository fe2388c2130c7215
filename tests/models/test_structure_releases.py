"""Files of SIM-Trans and AA-Trans: logits of the authors' modules, weights without a use, files of another model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import randomness, released_models, released_structure
from models.test_more_releases import POSITIONS, save, zoomed
from models.test_released_checkpoints import CLASSES, TINY, ours, trained
from torch import nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

IMAGES = randomness.images(2, 224)
FORMATS = {"simtrans": "sim-trans", "aatrans": "aa-trans"}
AUTHORS = {"simtrans": released_structure.SIMTrans, "aatrans": released_structure.AATrans}
VERSIONS = {
    "simtrans": ("simtrans", {}),
    "simtrans, with fewer modules": ("simtrans", {"complete": False}),
    "aatrans": ("aatrans", {}),
}


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("impl", ["fast", "published"])
@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_released_file_gives_the_logits_of_the_released_model(version, prefix, impl, tmp_path):
    name, shape = VERSIONS[version]
    module = trained(AUTHORS[name], IMAGES, **shape)
    model = ours(name, TINY, impl=impl)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin", prefix), strict=True)
    expected = module(IMAGES)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)
    assert (report.format, report.norm_eps, report.complete) == (FORMATS[name], 1e-6, True)


def test_a_file_beside_the_state_of_apex_is_read(tmp_path):
    module, model = trained(released_structure.SIMTrans, IMAGES), ours("simtrans", TINY)
    scaler = {"loss_scaler0": {"loss_scale": 2.0**20, "unskipped": 12}}
    torch.save({"model": module.state_dict(), "amp": scaler}, tmp_path / "cub_checkpoint.bin")
    assert fgbench.load_checkpoint(model, tmp_path / "cub_checkpoint.bin").complete
    torch.testing.assert_close(model(IMAGES), module(IMAGES), rtol=0, atol=1e-4)


@pytest.mark.parametrize("complete", [True, False])
def test_what_sim_trans_creates_and_never_uses_is_ignored_by_name(complete, tmp_path):
    module = trained(released_structure.SIMTrans, IMAGES, complete=complete)
    report = fgbench.load_checkpoint(ours("simtrans", TINY), save(module, tmp_path / "released.bin", ""))
    words = ("struc_token", "struct_head", "part_structure.fc1")
    unused = {name for name in module.state_dict() if any(word in name for word in words)}
    assert set(report.ignored) == unused
    assert len(unused) == (1 + 14 + 2 + 7 + 14 if complete else 1 + 14)
    assert report.unexpected == ()


def test_a_factor_of_the_maps_that_is_not_one_is_read_and_scales_them(tmp_path):
    module, model = trained(released_structure.AATrans, IMAGES), ours("aatrans", TINY)
    fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin", ""))
    sigma = module.transformer.encoder.part_select.sigma
    assert sigma != 1
    assert torch.equal(model.selector.sigma, sigma)
    fgbench.save_checkpoint(model, tmp_path / "own.safetensors")
    again = ours("aatrans", TINY)
    fgbench.load_checkpoint(again, tmp_path / "own.safetensors")
    assert torch.equal(again.selector.sigma, sigma)
    assert torch.equal(again(IMAGES), model(IMAGES))


@pytest.mark.parametrize("name", AUTHORS)
@pytest.mark.parametrize("size", [160, 288])
def test_positions_are_resized_as_the_authors_do(name, size, tmp_path):
    module, model = trained(AUTHORS[name], IMAGES), ours(name, TINY, size=size)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin"))
    positions = module.transformer.embeddings.position_embeddings
    expected = zoomed(positions, model.encoder.grid[0], 1)
    torch.testing.assert_close(model.state_dict()[POSITIONS], expected, rtol=0, atol=1e-5)
    assert report.interpolation == "bilinear"


OTHERS = {
    "a SIM-Trans in a vit": (released_structure.SIMTrans, "vit", "SIMTrans"),
    "a SIM-Trans in a transfg": (released_structure.SIMTrans, "transfg", "SIMTrans"),
    "an AA-Trans in a transfg": (released_structure.AATrans, "transfg", "AATrans"),
    "an AA-Trans in a simtrans": (released_structure.AATrans, "simtrans", "AATrans"),
    "a TransFG in an aatrans": (released_models.TransFG, "aatrans", "TransFG"),
    "a TransFG in a simtrans": (released_models.TransFG, "simtrans", "TransFG"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_model_is_named(case, tmp_path):
    author, name, kind = OTHERS[case]
    report = fgbench.load_checkpoint(ours(name, TINY), save(trained(author, IMAGES), tmp_path / "released.bin"))
    assert report.trained_as == kind
    assert not report.complete


def test_a_head_for_other_classes_is_told_by_their_numbers(tmp_path):
    path: Path = save(trained(released_structure.SIMTrans, IMAGES), tmp_path / "released.bin")
    model = create_model("simtrans", TINY, num_classes=CLASSES + 3)
    with pytest.raises(FgbenchError, match=f"has a head for {CLASSES} classes, the model for {CLASSES + 3}"):
        fgbench.load_checkpoint(model, path)


def test_small_activations_tell_the_epsilon_of_the_released_model(tmp_path):
    """Embeddings of a thousandth have a variance of 1e-6: with another epsilon their norm is another."""
    module = trained(released_structure.SIMTrans, IMAGES)
    for name, w in module.named_parameters():
        if "embeddings" in name:
            w *= 1e-3
    expected, model = module(IMAGES), ours("simtrans", TINY)
    fgbench.load_checkpoint(model, save(module, tmp_path / "released.bin"))
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)
    for norm in (m for m in module.modules() if isinstance(m, nn.LayerNorm)):
        norm.eps = 1e-12
    assert (module(IMAGES) - expected).abs().max() > 1e-2


def test_the_names_are_the_released_ones():
    sim, aa = (author(CLASSES).state_dict() for author in AUTHORS.values())
    shared = {"embeddings.cls_token", "embeddings.position_embeddings", "encoder.layer.10.attn.out.bias"}
    shared |= {"encoder.part_layer.ffn.fc2.weight", "encoder.part_norm.bias"}
    assert {f"transformer.{name}" for name in shared} < set(sim) & set(aa)
    assert sim["transformer.encoder.part_structure.gcn.gc1.weight"].shape == (2, 512)
    assert sim["transformer.encoder.part_structure.gcn.gc2.weight"].shape == (512, 192)
    assert {name.split(".")[1] for name in sim if name.startswith("part_head.")} == set("0124")
    assert sim["transformer.embeddings.struct_head.0.weight"].shape == (2740,)
    assert aa["transformer.encoder.part_select.sigma"].shape == (1,)
    assert {"part_head.weight", "part_head.bias"} < set(aa)
