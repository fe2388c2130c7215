"""Google's .npz files: their weights fill the backbone of every model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.model_scenes import built, logits
from helpers.weight_files import google_arrays

import fgbench
from fgbench.errors import FgbenchError


@pytest.mark.parametrize("name", ["vit", "glsim", "ramstrans", "dcal", "transfg"])
def test_google_s_npz_fills_the_backbone_and_starts_what_hangs_on_it(name, tmp_path):
    arrays = google_arrays(head=21)
    np.savez(tmp_path / "vit.npz", **arrays)
    options = {"crop_class_token": True} if name == "glsim" else {}
    model = built(name, overlap=0, **options)
    report = fgbench.load_checkpoint(model, tmp_path / "vit.npz")
    vit = model.encoder.vit
    query = arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"].reshape(64, 64).T
    assert torch.equal(vit.blocks[1].attn.qkv.weight[:64], torch.from_numpy(query.copy()))
    assert torch.equal(vit.cls_token, torch.from_numpy(arrays["cls"]))
    assert torch.equal(vit.pos_embed, torch.from_numpy(arrays["Transformer/posembed_input/pos_embedding"]))
    assert report.resized == ()
    assert "head.weight" in report.missing
    assert set(report.unexpected) == {"head/bias", "head/kernel"}
    assert any(name.startswith("encoder.vit.blocks.3.") for name in report.started) == (name == "transfg")
    assert not set(report.loaded) & set(report.started)
    last = torch.from_numpy(arrays["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy())
    assert torch.equal(vit.blocks[3].mlp.fc1.weight, last) == (name != "transfg"), "TransFG renews its last block"
    if name == "glsim":
        assert torch.equal(model.crop_class_token, vit.cls_token)
    if name == "ramstrans":
        assert torch.equal(model.second_class_token, vit.cls_token + vit.pos_embed[:, :1])
    if name == "dcal":
        assert torch.equal(model.cross_block.mlp.fc1.weight, last)


def test_google_s_npz_of_another_grid_is_resized(tmp_path):
    np.savez(tmp_path / "vit.npz", **google_arrays(side=2))
    assert fgbench.load_checkpoint(built("vit"), tmp_path / "vit.npz").resized == ("encoder.vit.pos_embed",)


@pytest.mark.parametrize("name", ["vit", "transfg", "glsim"])
def test_an_npz_with_another_number_of_heads_is_refused_though_all_shapes_fit(name, tmp_path):
    model = built(name)
    before = logits(model)
    arrays = google_arrays()
    np.savez(tmp_path / "right.npz", **arrays)
    for key, array in arrays.items():
        if "MultiHead" in key and "/out/" not in key:  # (D, H, d) and (H, d)
            arrays[key] = array.reshape(*array.shape[:-2], 2 * array.shape[-2], array.shape[-1] // 2)
        elif key.endswith("/out/kernel"):  # (H, d, D)
            arrays[key] = array.reshape(2 * array.shape[0], array.shape[1] // 2, array.shape[2])
    np.savez(tmp_path / "other.npz", **arrays)
    own = model.encoder.num_heads
    with pytest.raises(FgbenchError, match=rf"attention has {2 * own} heads in .*; the model's has {own}"):
        fgbench.load_checkpoint(model, tmp_path / "other.npz")
    assert torch.equal(logits(model), before)
    fgbench.load_checkpoint(model, tmp_path / "right.npz")
    assert not torch.equal(logits(model), before)


def test_an_npz_of_another_width_or_for_a_convolutional_network_is_refused(tmp_path):
    np.savez(tmp_path / "wide.npz", **google_arrays(width=32))
    model = built("vit")
    before = logits(model)
    with pytest.raises(FgbenchError, match=r"54 shapes do not fit: .* and 46 more"):
        fgbench.load_checkpoint(model, tmp_path / "wide.npz")
    assert torch.equal(logits(model), before)
    with pytest.raises(FgbenchError, match=r"has no weight for a .?CAL"):
        fgbench.load_checkpoint(built("cal"), tmp_path / "wide.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FgbenchError, match="of no known format"):
        fgbench.load_checkpoint(model, tmp_path / "other.npz")


def test_google_s_npz_equals_timm_s_own_reading(tmp_path):
    arrays = google_arrays()
    np.savez(tmp_path / "vit.npz", **arrays)
    ours, theirs = built("vit", seed=1), built("vit", seed=2)
    fgbench.load_checkpoint(ours, tmp_path / "vit.npz")
    theirs.encoder.vit.load_pretrained(str(tmp_path / "vit.npz"))
    expected = theirs.encoder.vit.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.encoder.vit.state_dict().items())


def test_an_npz_with_more_than_the_model_has_says_so(tmp_path):
    np.savez(tmp_path / "deep.npz", **google_arrays(depth=5), **{"foo/bar": np.zeros(2)})
    report = fgbench.load_checkpoint(built("vit"), tmp_path / "deep.npz")
    assert "foo/bar" in report.unexpected
    assert any(name.startswith("Transformer/encoderblock_4/") for name in report.unexpected)


def test_queries_keys_and_values_of_other_shapes_are_named(tmp_path):
    stem = "transformer.encoder.layer.0.attn"
    weights = {f"{stem}.{part}.weight": torch.zeros(64, 64) for part in ("query", "value")}
    weights |= {f"{stem}.key.weight": torch.zeros(32, 32), "part_head.weight": torch.zeros(3, 64)}
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(FgbenchError, match=r"one shape, got .*attn.key.weight \(32, 32\)"):
        fgbench.load_checkpoint(built("transfg"), tmp_path / "odd.pth")
