"""Files of DynamicViT and Evo-ViT, under the names of their authors' code, and of EViT, which has timm's."""

from __future__ import annotations

import re

import pytest
import torch
from helpers.backbones import fgtest_vit  # noqa: F401  # registers the small backbones
from helpers.model_scenes import enliven, images
from torch import Tensor

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

SIZE, WIDTH = 96, 64


def built(reduction: str, seed: int, **options):
    at = {"reduction_at": (2, 3)}
    model = create_model("vit", "fgtest_vit", img_size=SIZE, num_classes=3, reduction=reduction, **at, **options)
    return enliven(model, seed).eval()


def without(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


def evo_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of Evo-ViT's code: queries and keys, values, norms and projections in lists of their own."""
    found: dict[str, Tensor] = {}
    for name, tensor in without("encoder.vit.", weights).items():
        match = re.fullmatch(r"blocks\.(\d+)\.(attn\.qkv|attn\.proj|norm1)\.(weight|bias)", name)
        if match is None:
            found[re.sub(r"^class_(norm|head)", r"\1_cls", name)] = tensor
        elif match[2] == "attn.qkv":
            found[f"qks.{match[1]}.qk.{match[3]}"] = tensor[: 2 * WIDTH].clone()
            found[f"vs.{match[1]}.v.{match[3]}"] = tensor[2 * WIDTH :].clone()
        else:
            lists = {"attn.proj": "projs", "norm1": "norms"}
            found[f"{lists[match[2]]}.{match[1]}.{match[3]}"] = tensor
    return found


def dynamic_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {name.replace("encoder.reduction.predictors.", "score_predictor."): w for name, w in weights.items()}
    return without("encoder.vit.", renamed)


@pytest.mark.parametrize(
    ("reduction", "options", "names", "format_name"),
    [
        ("evovit", {"readout": "mean_patch"}, evo_names, "evo-vit"),
        ("dynamicvit", {}, dynamic_names, "dynamicvit"),
        ("evit", {}, lambda weights: without("encoder.vit.", weights), "timm ViT"),
    ],
)
def test_a_released_file_gives_its_logits(tmp_path, reduction, options, names, format_name):
    trained, fresh = (built(reduction, seed, **options) for seed in (0, 1))
    path = tmp_path / "released.pth"
    torch.save({"model": names(trained.state_dict())}, path)
    report = fgbench.load_checkpoint(fresh, path)
    assert report.format == format_name
    assert report.complete, str(report)
    batch = images(2, SIZE)
    with torch.no_grad():
        assert torch.allclose(fresh(batch), trained(batch), atol=1e-6)


def test_a_file_of_evo_vit_needs_the_readout_that_it_was_trained_with(tmp_path):
    path = tmp_path / "evo.pth"
    torch.save({"model": evo_names(built("evovit", 0, readout="mean_patch").state_dict())}, path)
    with pytest.raises(FgbenchError, match="mean_patch"):
        fgbench.load_checkpoint(built("evovit", 1), path)


def test_predictors_have_no_place_in_a_model_without_them(tmp_path):
    path = tmp_path / "dynamic.pth"
    torch.save({"model": dynamic_names(built("dynamicvit", 0).state_dict())}, path)
    report = fgbench.load_checkpoint(built("topk", 1), path)
    assert any(name.startswith("score_predictor.") for name in report.unread)
    assert not report.complete


def test_our_own_file_keeps_the_options_of_the_reduction(tmp_path):
    model = built("dynamicvit", 0)
    path = tmp_path / "own.safetensors"
    fgbench.save_checkpoint(model, path)
    other = built("dynamicvit", 1)
    assert fgbench.load_checkpoint(other, path).complete
    report = fgbench.load_checkpoint(built("dynamicvit", 1, keep_rate=0.5), path)
    assert any("keep_rate" in line for line in report.differences)
