"""Files of weights: matching weights are loaded, and all others are named."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from helpers.model_scenes import built, enliven, images, logits
from helpers.weight_files import google_arrays

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model, models


@pytest.mark.parametrize("name", models.names())
def test_our_own_files_give_the_same_logits_again(name, tmp_path):
    first, second = built(name, seed=1), built(name, seed=2)
    fgbench.save_checkpoint(first, tmp_path / "own.safetensors")
    report = fgbench.load_checkpoint(second, tmp_path / "own.safetensors")
    assert torch.equal(logits(first), logits(second))
    assert (report.format, report.missing, report.unexpected, report.resized) == ("fgbench", (), (), ())
    assert set(report.loaded) == set(first.state_dict())
    with safetensors.safe_open(tmp_path / "own.safetensors", "pt") as file:
        assert file.metadata()["model"] == type(first).__name__


def test_an_epsilon_that_a_file_of_ours_was_not_trained_with_is_said(tmp_path):
    fgbench.save_checkpoint(built("vit"), tmp_path / "timm.safetensors")
    fgbench.save_checkpoint(built("vit", norm_eps=1e-3), tmp_path / "own.safetensors")
    cases = (
        ("timm", None, 1e-6, ()),
        ("timm", 1e-2, 1e-2, ("the file was trained with norm_eps=None; the model has norm_eps=0.01",)),
        ("own", None, 1e-3, ()),
        ("own", 1e-2, 1e-3, ()),  # the file's, and the report says so
    )
    for file, eps, expected, said in cases:
        model = built("vit", norm_eps=eps)
        report = fgbench.load_checkpoint(model, tmp_path / f"{file}.safetensors")
        assert (report.differences, {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)}) == (
            said,
            {expected},
        )


def test_cal_s_centers_come_along_once_training_has_begun(tmp_path):
    trained = built("cal").train()
    trained(images(2, 64), torch.tensor([0, 2]))
    fgbench.save_checkpoint(trained, tmp_path / "cal.safetensors")
    fresh = built("cal", seed=3)
    assert fresh.feature_center is None
    report = fgbench.load_checkpoint(fresh, tmp_path / "cal.safetensors")
    assert torch.equal(fresh.feature_center, trained.feature_center)
    assert report.unexpected == ()
    plain = built("cal", seed=4)
    plain.load_state_dict(trained.state_dict())
    assert torch.equal(plain.feature_center, trained.feature_center)


def test_positions_of_another_grid_are_resized_and_said(tmp_path):
    small, large = built(size=64), built(size=128, seed=5)
    fgbench.save_checkpoint(small, tmp_path / "small.safetensors")
    report = fgbench.load_checkpoint(large, tmp_path / "small.safetensors")
    assert report.resized == ("encoder.vit.pos_embed",)
    assert "resized" in str(report)
    given, kept = small.encoder.vit.pos_embed, large.encoder.vit.pos_embed
    assert kept.shape == (1, 65, 64)
    assert torch.equal(kept[:, :1], given[:, :1])
    # the corners of a resized grid lie near those of the old one
    assert torch.nn.functional.cosine_similarity(kept[0, 1], given[0, 1], dim=0) > 0.8


def test_what_is_missing_and_what_nobody_asked_for_is_listed(tmp_path):
    model = built()
    weights = model.state_dict()
    del weights["aggregator_norm.weight"]
    weights["extra.weight"] = torch.zeros(2)
    torch.save(weights, tmp_path / "part.pth")
    kept = model.aggregator_norm.weight.clone()
    report = fgbench.load_checkpoint(model, tmp_path / "part.pth")
    assert report.missing == ("aggregator_norm.weight",)
    assert report.unexpected == ("extra.weight",)
    assert torch.equal(model.aggregator_norm.weight, kept)
    for word in ("aggregator_norm.weight", "extra.weight"):
        assert word in str(report)


def test_shapes_that_cannot_fit_are_named_and_the_model_stays_as_it_was(tmp_path):
    other = enliven(create_model("glsim", "fgtest_vit", img_size=64, num_classes=7))
    fgbench.save_checkpoint(other, tmp_path / "seven.safetensors")
    model = built(seed=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(FgbenchError, match="the checkpoint has a head for 7 classes, the model for 3"):
        fgbench.load_checkpoint(model, tmp_path / "seven.safetensors")
    narrow = {**other.state_dict(), "encoder.vit.norm.bias": torch.zeros(5)}
    safetensors.torch.save_file(narrow, tmp_path / "narrow.safetensors")
    with pytest.raises(FgbenchError, match=r"3 shapes do not fit: .*head.weight \(7, 64\) in the file, \(3, 64\)"):
        fgbench.load_checkpoint(model, tmp_path / "narrow.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w}, lambda w: {"state_dict": w, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_files_are_taken_whole_or_bare_with_or_without_prefix(wrap, prefix, tmp_path):
    first, second = built(seed=1), built(seed=2)
    weights = {prefix + name: tensor for name, tensor in first.state_dict().items()}
    torch.save(wrap(weights), tmp_path / "file.pth")
    fgbench.load_checkpoint(second, tmp_path / "file.pth")
    assert torch.equal(logits(first), logits(second))


# Two backbones of one set of names and shapes, which differ in their activation.
def test_a_file_that_names_another_backbone_says_so(tmp_path):
    names = ("vit_base_patch32_clip_224", "vit_base_patch32_clip_quickgelu_224")
    weights = timm.create_model(names[0], img_size=32, num_classes=3).state_dict()
    for arch, said in ((names[0], True), (f"{names[1]}.openai", False), ("vit_base", False), (3, False)):
        torch.save({"arch": arch, "state_dict": weights, "version": 2}, tmp_path / "timm.pth")
        model = create_model("vit", names[1], img_size=32, num_classes=3)
        report = fgbench.load_checkpoint(model, tmp_path / "timm.pth")
        words = (f"the file names its backbone {arch}; the model has {names[1]}",) if said else ()
        assert report.differences == words
        assert report.complete


@pytest.mark.parametrize(("name", "backbone"), [("glsim", "fgtest_vit"), ("cal", "fgtest_resnet")])
def test_timm_s_own_weights_fill_the_backbone_whatever_their_classes(name, backbone, tmp_path):
    import timm

    theirs = enliven(timm.create_model(backbone, num_classes=11), seed=8)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = built(name, size=224)
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth")
    home = model.encoder.vit if name == "glsim" else model.features
    assert report.format.startswith("timm")
    shared = [key for key in home.state_dict() if key in theirs.state_dict()]
    assert len(shared) > 30
    assert all(torch.equal(home.state_dict()[key], theirs.state_dict()[key]) for key in shared)
    assert any("head" in key or "fc" in key for key in report.unexpected)


def test_strict_loading_refuses_what_is_missing_or_too_much_and_changes_nothing(tmp_path):
    model = built()
    weights = {f"model.{name}": tensor + 1 for name, tensor in model.state_dict().items()}
    weights["model.extra"] = torch.zeros(1)
    del weights["model.head.bias"]
    torch.save(weights, tmp_path / "part.pth")
    before = logits(model)
    with pytest.raises(FgbenchError, match=r"missing: head.bias; unexpected: extra"):
        fgbench.load_checkpoint(model, tmp_path / "part.pth", strict=True)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 64).to_sparse(),
        torch.zeros(3, 64, dtype=torch.complex64),
        torch.zeros(3, 64, device="meta"),
        torch.zeros(1).expand(3, 64),
        torch.zeros(1).expand(10**6, 10**7),
    ],
)
def test_a_tensor_that_is_no_weight_is_refused_before_anything_changes(tensor, tmp_path):
    model = built()
    before = logits(model)
    weights = {name: value + 1 for name, value in model.state_dict().items()} | {"head.weight": tensor}
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(
        FgbenchError, match=r"head.weight in the checkpoint is no weight|more than weights|cannot be read"
    ) as caught:
        fgbench.load_checkpoint(model, tmp_path / "odd.pth")
    assert "\n" not in str(caught.value)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    "prefix", ["encoder.", "vit.", "module.student.", "visual.trunk.", "0.", "module.image_encoder."]
)
def test_a_network_is_recognised_in_a_wrapper_of_any_name(prefix, tmp_path):
    theirs = enliven(timm.create_model("test_vit", num_classes=3, img_size=64)).eval()
    weights = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": weights | {"n_averaged": torch.tensor(5)}}, tmp_path / "file.pth")
    model = create_model("vit", "test_vit", img_size=64, num_classes=3).eval()
    report = fgbench.load_checkpoint(model, tmp_path / "file.pth")
    batch = images(2, 64)
    torch.testing.assert_close(model(batch), theirs(batch), rtol=0, atol=1e-5)
    assert report.complete
    assert report.ignored == ("n_averaged",)  # the steps of an average are no weight


@pytest.mark.parametrize("outside", ["head.weight", "norm.bias", "blocks.0.attn.qkv.weight"])
@pytest.mark.parametrize("prefix", ["model.", "backbone.", "module.", "encoder.", "module.model."])
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_two_weights_for_one_place_are_refused_unless_they_are_equal(first, prefix, outside, tmp_path):
    own = timm.create_model("test_vit", num_classes=3, img_size=64).state_dict()
    inside, beside = {prefix + name: tensor for name, tensor in own.items()}, {outside: own[outside] + 1}
    model = create_model("vit", "test_vit", img_size=64, num_classes=3)
    before = logits(model)
    torch.save(inside | beside if first == "inside" else beside | inside, tmp_path / "file.pth")
    with pytest.raises(FgbenchError, match=rf"one place in the model, \S*{outside} and '{outside}'"):
        fgbench.load_checkpoint(model, tmp_path / "file.pth")
    assert torch.equal(logits(model), before)
    torch.save(inside | {outside: own[outside].clone()}, tmp_path / "file.pth")
    assert fgbench.load_checkpoint(model, tmp_path / "file.pth").complete


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "module."])
def test_what_stands_beside_the_state_dict_does_not_hide_it(prefix, tmp_path):
    first, second = built(seed=1), built(seed=2)
    weights = {prefix + name: tensor for name, tensor in first.state_dict().items()} | {"criterion.w": torch.zeros(1)}
    torch.save({"model": {"state_dict": weights}, "best": torch.tensor(0.9)}, tmp_path / "file.pth")
    report = fgbench.load_checkpoint(second, tmp_path / "file.pth")
    assert torch.equal(logits(first), logits(second))
    assert report.unexpected == ("criterion.w",)


def test_tied_weights_and_other_metadata_are_saved_and_another_suffix_is_refused(tmp_path):
    model = built()
    model.aggregator.norm1.weight = model.aggregator.norm2.weight
    fgbench.save_checkpoint(model, tmp_path / "tied.safetensors", epoch=3)
    second = built(seed=2)
    fgbench.load_checkpoint(second, tmp_path / "tied.safetensors")
    assert torch.equal(logits(model), logits(second))
    with pytest.raises(FgbenchError, match=r"as .safetensors, not as 'own.pth'"):
        fgbench.save_checkpoint(model, tmp_path / "own.pth")


@pytest.mark.parametrize("name", ["transfg", "ffvt"])
@pytest.mark.parametrize("fresh", [True, False])
def test_the_last_block_starts_anew_unless_it_is_to_keep_the_backbone_s(name, fresh, tmp_path):
    np.savez(tmp_path / "vit.npz", **google_arrays())
    model = built(name, overlap=0, fresh_last_block=fresh)
    fgbench.load_checkpoint(model, tmp_path / "vit.npz")
    given = google_arrays()["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy()
    assert torch.equal(model.encoder.vit.blocks[3].mlp.fc1.weight, torch.from_numpy(given)) != fresh


def test_a_file_of_another_depth_whose_last_block_would_hide_another_is_refused(tmp_path):
    names = [
        "part_head.weight",
        "transformer.encoder.layer.3.ffn.fc1.weight",
        "transformer.encoder.part_layer.ffn.fc1.weight",
    ]
    torch.save({name: torch.zeros(3, 64) for name in names}, tmp_path / "deep.pth")
    with pytest.raises(FgbenchError, match=r"layer.3.ffn.fc1.weight and .*part_layer.* does its depth fit"):
        fgbench.load_checkpoint(built("transfg"), tmp_path / "deep.pth")
