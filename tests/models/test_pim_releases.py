"""Files of PIM, HERBS and of backbones for them: logits of the authors' modules, names without a use, other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers import randomness, released_pim
from models.test_more_releases import zoomed
from torch import nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

CLASSES, WIDTH = 6, 24
SIZES = {"fgtest_swin": 64, "fgtest_vit": 96, "fgtest_resnet": 64}
RELEASES = {
    "pim on a Swin": ("pim", "fgtest_swin", [50, 12, 3, 1]),
    "pim on a ViT": ("pim", "fgtest_vit", [32] * 4),
    "pim on a ResNet": ("pim", "fgtest_resnet", [32, 32, 16, 4]),
    "herbs on a Swin": ("herbs", "fgtest_swin", [16, 9, 4, 2]),
}


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


def drawn(module: nn.Module, seed: int) -> nn.Module:
    """Draw all weights of a module, but no masks."""
    state = module.state_dict()
    weights = {name: w for name, w in state.items() if not name.endswith(released_pim.MASKS)}
    module.load_state_dict({**state, **randomness.randomise(weights, seed)})
    return module.eval()


def released(case: str, size: int | None = None) -> nn.Module:
    """The authors' module with random weights, in eval mode."""
    name, backbone, tokens = RELEASES[case]
    made = released_pim.herbs if name == "herbs" else released_pim.PIM
    module = made(backbone, size or SIZES[backbone], WIDTH, tokens, CLASSES)
    return drawn(module, seed=3)


def ours(case: str, size: int | None = None, **options: Any) -> Any:
    name, backbone, tokens = RELEASES[case]
    shape = {"img_size": size or SIZES[backbone], "num_classes": CLASSES, "width": WIDTH, "num_tokens": tokens}
    return create_model(name, backbone, **{**shape, **options}).eval()


def save(module: nn.Module, path: Path) -> Path:
    """As the authors' script does."""
    torch.save({"model": module.state_dict(), "optimizer": {"state": {0: torch.ones(3)}}, "epoch": 49}, path)
    return path


@pytest.mark.parametrize("impl", ["fast", "published"])
@pytest.mark.parametrize("case", RELEASES)
def test_a_released_file_gives_the_logits_of_the_released_model(case, impl, tmp_path):
    module, model = released(case), ours(case, impl=impl)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "best.pt"), strict=True)
    images = randomness.images(3, SIZES[RELEASES[case][1]])
    expected = module(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-4)
    assert (report.format, report.norm_eps, report.complete) == (RELEASES[case][0], None, True)
    again = ours(case, impl=impl)
    fgbench.save_checkpoint(model, tmp_path / "own.safetensors")
    assert fgbench.load_checkpoint(again, tmp_path / "own.safetensors", strict=True).complete
    assert torch.equal(again(images), model(images))


def test_what_stands_behind_the_last_level_and_masks_are_ignored_by_name(tmp_path):
    module = released("pim on a Swin")
    report = fgbench.load_checkpoint(ours("pim on a Swin"), save(module, tmp_path / "best.pt"))
    unused = {name for name in module.state_dict() if name.endswith(released_pim.MASKS)}
    assert len(unused) == 6 + 1  # indices per block, a mask where windows are shifted
    unused |= {f"backbone.{layer}.{kind}" for layer in ("norm", "head") for kind in ("weight", "bias")}
    assert set(report.ignored) == unused
    assert report.unexpected == report.missing == ()


def test_the_names_are_the_released_ones():
    pim, vit, resnet, herbs = (set(released(case).state_dict()) for case in RELEASES)
    shared = {"combiner.adj1", "combiner.alpha1", "combiner.param_pool0.weight", "combiner.batch_norm1.running_var"}
    shared |= {"combiner.conv_q1.bias", "combiner.conv_k1.weight", "combiner.classifier.weight"}
    own = {"fpn.Proj_layer1.0.weight", "fpn.Proj_layer4.2.bias", "fpn_classifier_layer2.1.running_mean"}
    own |= {"fpn_classifier_layer3.3.weight", "fpn_classifier_layer1.0.bias"}
    assert shared | own < pim & vit & resnet
    assert {name for name in pim if ".Up_" in name} == {
        f"fpn.Up_layer{n}.{w}" for n in (2, 3) for w in ("weight", "bias")
    }
    assert not any(".Up_" in name for name in vit | resnet)
    assert {"backbone.layers.0.downsample.reduction.weight", "backbone.layers.2.downsample.norm.bias"} < pim
    assert "backbone.layers.3.downsample.reduction.weight" not in pim
    names = {"fpn_down.Up_layer4.weight", "fpn_up.Down_layer1.weight", "fpn_up.Down_layer3.bias"}
    names |= {"fpn_classifier_down_layer1.3.weight", "fpn_classifier_up_layer4.0.weight", "fpn_up.Proj_layer4.2.bias"}
    assert shared | names < herbs


def test_positions_of_a_vit_are_resized_as_the_authors_do_and_nothing_else_depends_on_the_size(tmp_path):
    module, model = released("pim on a ViT"), ours("pim on a ViT", size=128)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "best.pt"))
    name = "pyramid.net.vit.pos_embed"
    torch.testing.assert_close(model.state_dict()[name], zoomed(module.backbone.pos_embed, 8, 1), rtol=0, atol=1e-5)
    assert (report.resized, report.grids, report.interpolation) == ((name,), (6, 8), "bilinear")
    assert report.complete


def test_a_file_for_another_size_names_the_maps_of_positions(tmp_path):
    path = save(released("pim on a Swin"), tmp_path / "best.pt")
    with pytest.raises(FgbenchError, match=r"top_down\.steps\.0\.linear\.weight \(64, 16\) in the file"):
        fgbench.load_checkpoint(ours("pim on a Swin", size=96), path)


def test_a_head_for_other_classes_is_told_by_their_numbers(tmp_path):
    path = save(released("herbs on a Swin"), tmp_path / "best.pt")
    with pytest.raises(FgbenchError, match=f"has a head for {CLASSES} classes, the model for 9"):
        fgbench.load_checkpoint(ours("herbs on a Swin", num_classes=9), path)


def test_a_file_of_the_other_model_is_named(tmp_path):
    pim, herbs = (save(released(f"{name} on a Swin"), tmp_path / name) for name in ("pim", "herbs"))
    tokens = {"num_tokens": [50, 12, 3, 1]}
    report = fgbench.load_checkpoint(ours("herbs on a Swin", num_tokens=[16, 9, 4, 2]), herbs)
    assert report.trained_as is None
    model = create_model("vit", "fgtest_vit", img_size=96, num_classes=CLASSES)
    report = fgbench.load_checkpoint(model, save(released("pim on a ViT"), tmp_path / "vit.pt"))
    assert report.trained_as == "PIM"
    assert not report.complete
    with pytest.raises(FgbenchError, match="shapes do not fit"):
        fgbench.load_checkpoint(ours("herbs on a Swin", **tokens), pim)


BACKBONE_FILES = {
    "timm's Swin": ("pim on a Swin", lambda: timm.create_model("fgtest_swin", img_size=64, num_classes=9)),
    "an earlier Swin": ("herbs on a Swin", lambda: released_pim.EarlierSwin(64)),
    "timm's ViT": ("pim on a ViT", lambda: timm.create_model("fgtest_vit", img_size=96, num_classes=9)),
    "timm's ResNet": ("pim on a ResNet", lambda: timm.create_model("fgtest_resnet", num_classes=9)),
}


@pytest.mark.parametrize("kind", BACKBONE_FILES)
def test_a_file_of_a_backbone_gives_its_levels(kind, tmp_path):
    case, build = BACKBONE_FILES[kind]
    network, model = drawn(build(), seed=2), ours(case)
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    before = {name: w.clone() for name, w in model.state_dict().items() if not name.startswith("pyramid.")}
    report = fgbench.load_checkpoint(model, tmp_path / "backbone.pth")
    assert report.backbone_only
    assert not report.complete
    assert set(report.loaded) == {name for name in model.state_dict() if name.startswith("pyramid.")}
    assert report.unread == ()
    assert all(torch.equal(model.state_dict()[name], w) for name, w in before.items())
    images = randomness.images(2, model.image_size)
    last = model.pyramid(images)[-1]
    if "ViT" in kind:
        network.norm = nn.Identity()
        torch.testing.assert_close(last, network.forward_features(images))
    elif kind == "timm's Swin":
        network.norm = nn.Identity()
        torch.testing.assert_close(last, network.forward_features(images).flatten(1, 2))
    elif "ResNet" in kind:
        torch.testing.assert_close(last, network.forward_features(images).flatten(2).mT)
    else:
        torch.testing.assert_close(last, network(images)[-1])


def test_timm_knows_both_models():
    for name in ("pim", "herbs"):
        model = timm.create_model(f"fgbench_{name}", backbone="fgtest_swin", img_size=64, num_classes=3)
        assert type(model).__name__ == name.upper()
        assert model.num_classes == 3
