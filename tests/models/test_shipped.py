"""The backbone that is shipped with its weights: in timm, in lists, in the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from hatchling.builders.wheel import WheelBuilder
from safetensors.torch import load_file

from fgbench.models import create_model
from fgbench.models.backbone import backbone_names, brought_by, build_vit
from fgbench.models.timm_list import shape_of
from fgbench.plugins import timm_names
from fgbench.results.shipped import FAMILIES, FIGURES, IMAGE_SIZE, PATCH, SHIPPED, WEIGHTS, is_shipped

ROOT = Path(__file__).parents[2]
MOST_BYTES = 8 * 10**6


def test_timm_makes_it_by_name_with_the_weights_of_the_file():
    model = timm.create_model(SHIPPED, pretrained=True)
    written = load_file(WEIGHTS)
    assert model.state_dict().keys() == written.keys()
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, written[name].float()), name
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
    assert all(torch.isfinite(tensor).all() for tensor in written.values())


def test_an_import_is_all_that_timm_needs():
    make = f"timm.create_model('{SHIPPED}', pretrained=True, num_classes=7)"
    code = f"import fgbench.models, timm; print({make}.num_classes)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, "7"), result.stderr


def test_timm_knows_how_its_images_are_normalised():
    cfg = timm.get_pretrained_cfg(SHIPPED)
    assert (cfg.mean, cfg.std, cfg.input_size) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (3, IMAGE_SIZE, IMAGE_SIZE))
    assert (cfg.num_classes, cfg.license) == (FAMILIES, "apache-2.0")


def test_the_file_is_small_and_has_a_card_beside_it():
    assert WEIGHTS.stat().st_size <= MOST_BYTES
    card = (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    for words in ("license: apache-2.0", "## Data", "## Recipe", "## Limits", SHIPPED):
        assert words in card


def test_the_wheel_has_weights_and_card():
    files = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = "fgbench/pretraining/weights"
    assert {f"{folder}/{WEIGHTS.name}", f"{folder}/README.md"} <= files


def test_it_is_listed_without_torch_with_the_figures_that_torch_counts():
    assert tuple(shape_of(SHIPPED) or ()) == FIGURES
    assert SHIPPED in timm_names.backbone_names()
    assert SHIPPED in backbone_names()
    assert timm_names.is_timm_model(f"{SHIPPED}.world")
    assert not timm_names.is_timm_model(f"{SHIPPED}.other")
    assert brought_by(SHIPPED) == []


@pytest.mark.parametrize("name", [SHIPPED, f"{SHIPPED}.world"])
def test_its_name_is_known_with_and_without_the_tag(name):
    assert is_shipped(name)
    assert not is_shipped("test_vit")
    assert not is_shipped(None)


def test_it_takes_other_sizes_and_classes_and_keeps_its_blocks():
    model = build_vit(SHIPPED, 144, num_classes=5, overlap=4, pretrained=True)
    written = load_file(WEIGHTS)
    assert model.patch_embed.proj.stride == (PATCH - 4, PATCH - 4)
    assert torch.equal(model.blocks[3].mlp.fc1.weight, written["blocks.3.mlp.fc1.weight"].float())
    assert model.head.out_features == 5
    assert model(torch.zeros(1, 3, 144, 144)).shape == (1, 5)


def test_no_hub_is_asked_for_its_weights(monkeypatch):
    def refuse(*_):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("fgbench.models.backbone.hub_or_cache", refuse)
    build_vit(SHIPPED, IMAGE_SIZE, pretrained=True)


@pytest.mark.parametrize("model", ["glsim", "transfg", "ffvt", "dcal"])
def test_models_begin_from_it(model):
    built = create_model(model, SHIPPED, img_size=IMAGE_SIZE, num_classes=6, pretrained=True).eval()
    written = load_file(WEIGHTS)
    assert torch.equal(built.encoder.vit.blocks[0].attn.qkv.weight, written["blocks.0.attn.qkv.weight"].float())
    with torch.no_grad():
        assert built(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)).shape == (1, 6)
