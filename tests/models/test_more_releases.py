"""Files of RAMS-Trans, IELT and R2-Trans, GLSim's port to timm, positions of another grid, files of another model."""

from __future__ import annotations

from pathlib import Path

import helpers.backbones  # noqa: F401  # timm knows them from now on
import numpy as np
import pytest
import timm
import torch
from helpers import randomness, released_models, released_port
from models.test_released_checkpoints import CLASSES, TINY, ours, trained
from scipy.ndimage import zoom
from torch import Tensor, nn

import fgbench
from fgbench.errors import FgbenchError
from fgbench.models.build import create_model

IMAGES = randomness.images(2, 224)
POSITIONS = "encoder.vit.pos_embed"


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


def save(module: nn.Module, path: Path, prefix: str = "model.") -> Path:
    torch.save({"model": {f"{prefix}{name}": w for name, w in module.state_dict().items()}}, path)
    return path


# RAMS-Trans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", ["fast", "published"])
def test_a_file_of_rams_trans_gives_both_of_its_predictions(tmp_path, impl):
    module = trained(released_models.RAMSTrans, IMAGES)
    model = ours("ramstrans", TINY, impl=impl)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "rams.pth", prefix=""), strict=True)
    image, crop = module(IMAGES)
    heads = model.explain(IMAGES).heads
    torch.testing.assert_close(heads["image"], image, rtol=0, atol=1e-4)
    torch.testing.assert_close(heads["crop"], crop, rtol=0, atol=1e-4)
    assert (image - crop).abs().max() > 0.1
    assert (report.format, report.norm_eps, report.complete) == ("rams-trans", 1e-6, True)


def test_the_second_class_token_keeps_its_own_position_on_another_grid(tmp_path):
    module = trained(released_models.RAMSTrans, IMAGES)
    model = ours("ramstrans", TINY, size=288)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "rams.pth"))
    embeddings = module.transformer.embeddings
    both = embeddings.cls_token2 + embeddings.position_embeddings[:, 1:2]
    torch.testing.assert_close(model.second_class_token, both, rtol=0, atol=0)
    assert (report.grids, report.interpolation) == ((14, 18), "bilinear")


# IELT and R2-Trans ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", ["fast", "published"])
def test_a_file_of_ielt_holds_a_block_twice_and_is_read_once(tmp_path, impl):
    module = trained(released_models.IELT, IMAGES)
    model = ours("ielt", TINY, impl=impl)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "ielt.pth", prefix=""), strict=True)
    torch.testing.assert_close(model(IMAGES), module(IMAGES), rtol=0, atol=1e-4)
    assert (report.format, report.norm_eps, report.complete) == ("ielt", 1e-6, True)
    state = {name: w for name, w in module.state_dict().items() if not name.startswith("encoder.clr_layer.")}
    torch.save({"model": state}, tmp_path / "once.pth")
    again = ours("ielt", TINY, impl=impl)
    assert fgbench.load_checkpoint(again, tmp_path / "once.pth", strict=True).complete
    assert torch.equal(again(IMAGES), model(IMAGES))


def test_a_file_of_ielt_that_holds_two_different_blocks_is_refused(tmp_path):
    state = dict(trained(released_models.IELT, IMAGES).state_dict())
    state["encoder.clr_layer.ffn.fc1.bias"] = state["encoder.clr_layer.ffn.fc1.bias"] + 1
    torch.save({"model": state}, tmp_path / "ielt.pth")
    with pytest.raises(FgbenchError, match="their values differ: which is meant") as caught:
        fgbench.load_checkpoint(ours("ielt", TINY), tmp_path / "ielt.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("impl", ["fast", "published"])
def test_a_file_of_r2_trans_gives_all_three_predictions(tmp_path, impl):
    module = trained(released_models.R2Trans, IMAGES)
    model = ours("r2trans", TINY, impl=impl, predict="mixture")
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "r2.pth", prefix=""), strict=True)
    expected = module.predictions(IMAGES)
    heads = model.explain(IMAGES).heads
    for head, logits in zip(("first", "second", "both"), expected, strict=True):
        torch.testing.assert_close(heads[head], logits, rtol=0, atol=1e-4)
    ranked = 4 * expected[0] + 4 * expected[1] + 2 * expected[2]
    torch.testing.assert_close(10 * model(IMAGES), ranked, rtol=0, atol=1e-3)
    assert (report.format, report.norm_eps, report.complete) == ("r2-trans", 1e-6, True)


def test_a_file_of_r2_trans_is_of_one_grid(tmp_path):
    path = save(trained(released_models.R2Trans, IMAGES), tmp_path / "r2.pth", prefix="")
    with pytest.raises(FgbenchError, match=r"score_norm.weight \(196,\) in the file, \(324,\) in the model") as caught:
        fgbench.load_checkpoint(ours("r2trans", TINY, size=288), path)
    assert "\n" not in str(caught.value)


# GLSim's port to timm -------------------------------------------------------------------------------------------------

PORTS = {
    "of today": {},
    "with a last norm, as in its first versions": {"last_norm": True},
    "of 32-pixel patches": {"patch": 32},
}


@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("port", PORTS)
def test_a_file_of_glsim_s_port_gives_the_port_s_logits(tmp_path, port, prefix):
    module = trained(released_port.GLSimPort, IMAGES, **PORTS[port])
    backbone = "vit_small_patch32_224" if "patch" in PORTS[port] else TINY
    if "patch" in PORTS[port]:
        module = trained(released_port.GLSimPort, IMAGES, width=384, heads=6, **PORTS[port])
    model = ours("glsim", backbone)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "port.pth", prefix), strict=True)
    expected = module(IMAGES)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)
    assert report.complete
    assert "port" in report.format
    assert any("crop_class_token" in line for line in report.variants)
    assert any("encoder_norm=False" in line for line in report.variants) != PORTS[port].get("last_norm", False)


def test_small_activations_tell_the_port_s_epsilon(tmp_path):
    """With weights that leave an aggregated token of a variance near 1e-5, another ε gives other logits."""
    module = trained(released_port.GLSimPort, IMAGES)
    for name, w in module.named_parameters():
        if name.startswith(("cls_token", "pos_embed", "patch_embed")) or name.endswith(("proj.weight", "fc2.weight")):
            w *= 1e-3
        elif name.endswith(("proj.bias", "fc2.bias")):
            w *= 1e-2
    expected = module(IMAGES)
    model = ours("glsim", TINY)
    fgbench.load_checkpoint(model, save(module, tmp_path / "port.pth"))
    torch.testing.assert_close(model(IMAGES), expected, rtol=0, atol=1e-4)
    module.aggregator[1].eps = 1e-6
    assert (module(IMAGES) - expected).abs().max() > 1e-2


def test_the_port_s_aggregator_has_the_layer_scale_of_its_backbone(tmp_path):
    images = randomness.images(2, 112)
    shape = {"patch": 14, "width": 48, "heads": 3, "depth": 3, "scaled": True, "top_k": 4}
    module = trained(released_port.GLSimPort, images, size=112, **shape)
    for name in ("cls_token", "pos_embed", "cls_token_crops"):  # positions for all tokens, no registers
        assert name in dict(module.named_parameters())
    model = create_model("glsim", "fgtest_vit_scaled", img_size=112, num_classes=CLASSES).eval()
    fgbench.load_checkpoint(model, save(module, tmp_path / "port.pth"), strict=True)
    torch.testing.assert_close(model(images), module(images), rtol=0, atol=1e-4)


def test_what_the_port_became_is_saved_and_read_again(tmp_path):
    module = trained(released_port.GLSimPort, IMAGES)
    model = ours("glsim", TINY)
    fgbench.load_checkpoint(model, save(module, tmp_path / "port.pth"))
    fgbench.save_checkpoint(model, tmp_path / "ours.safetensors")
    again = ours("glsim", TINY)
    report = fgbench.load_checkpoint(again, tmp_path / "ours.safetensors", strict=True)
    torch.testing.assert_close(again(IMAGES), module(IMAGES), rtol=0, atol=1e-4)
    assert len(report.variants) == 3
    assert report.differences == ()


def test_a_port_of_another_width_is_refused_and_the_model_stays_a_plain_glsim(tmp_path):
    module = trained(released_port.GLSimPort, IMAGES, width=128, heads=2)
    model = ours("glsim", TINY)
    before, logits = {name: w.clone() for name, w in model.state_dict().items()}, model(IMAGES)
    with pytest.raises(FgbenchError, match="shapes do not fit"):
        fgbench.load_checkpoint(model, save(module, tmp_path / "narrow.pth"))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(w, before[name]) for name, w in after.items())
    assert torch.equal(model(IMAGES), logits)


def test_a_plain_vit_does_not_pass_for_the_port(tmp_path):
    module = trained(released_port.GLSimPort, IMAGES)
    report = fgbench.load_checkpoint(ours("vit", TINY), save(module, tmp_path / "port.pth"))
    assert report.trained_as == "GLSim"
    assert not report.complete
    assert {"encoder.vit.norm.weight", "encoder.vit.norm.bias"} == set(report.missing)


def test_a_glsim_without_a_last_norm_is_read_as_one(tmp_path):
    module = trained(released_models.GLSim, IMAGES)
    module.encoder_norm = nn.Identity()
    model = ours("glsim", TINY)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.pth"))
    torch.testing.assert_close(model(IMAGES), module(IMAGES), rtol=0, atol=1e-4)
    assert (report.complete, report.format) == (True, "glsim")


def test_glsim_s_resnet_is_a_resnet(tmp_path):
    theirs = timm.create_model("resnet26", num_classes=CLASSES)
    theirs.load_state_dict(randomness.randomise(theirs.state_dict()))
    theirs.eval()
    state = {f"model.{'head' if n.startswith('fc.') else 'encoder'}.{n}": w for n, w in theirs.state_dict().items()}
    torch.save({"model": {n.replace("head.fc.", "head."): w for n, w in state.items()}}, tmp_path / "resnet.pth")
    model = create_model("resnet101", "resnet26", img_size=64, num_classes=CLASSES).eval()
    assert fgbench.load_checkpoint(model, tmp_path / "resnet.pth", strict=True).complete
    torch.testing.assert_close(model(IMAGES[..., :64, :64]), theirs(IMAGES[..., :64, :64]), rtol=0, atol=1e-4)


# Positions of another grid --------------------------------------------------------------------------------------------


def zoomed(positions: Tensor, side: int, prefix: int) -> Tensor:
    """As the authors of GLSim, TransFG, FFVT, RAMS-Trans, IELT and Google do it."""
    grid = positions[0, prefix:].numpy()
    old = round(len(grid) ** 0.5)
    patches = zoom(grid.reshape(old, old, -1), (side / old, side / old, 1), order=1)
    return torch.cat([positions[:, :prefix], torch.from_numpy(patches.reshape(1, side * side, -1))], dim=1)


AUTHORS = {
    "glsim": ("glsim", released_models.GLSim, "positional_embedding.pos_embedding", 1),
    "transfg": ("transfg", released_models.TransFG, "transformer.embeddings.position_embeddings", 1),
    "ffvt": ("ffvt", released_models.FFVT, "transformer.embeddings.position_embeddings", 1),
    "rams-trans": ("ramstrans", released_models.RAMSTrans, "transformer.embeddings.position_embeddings", 2),
    "ielt": ("ielt", released_models.IELT, "embeddings.position_embeddings", 1),
}


@pytest.mark.parametrize("authors", AUTHORS)
@pytest.mark.parametrize("size", [160, 288])
def test_positions_are_resized_as_the_authors_do(tmp_path, authors, size):
    name, author, key, prefix = AUTHORS[authors]
    module = trained(author, IMAGES)
    model = ours(name, TINY, size=size)
    report = fgbench.load_checkpoint(model, save(module, tmp_path / "released.pth"))
    expected = zoomed(dict(module.named_parameters())[key], model.encoder.grid[0], prefix)
    if prefix == 2:
        expected = torch.cat([expected[:, :1], expected[:, 2:]], dim=1)
    torch.testing.assert_close(model.state_dict()[POSITIONS], expected, rtol=0, atol=1e-5)
    assert report.interpolation == "bilinear"
    assert f"{report.grids[0]}×{report.grids[0]} positions became" in str(report)


def test_google_s_positions_are_resized_as_google_does_and_timm_s_as_timm_does(tmp_path):
    from timm.layers import resample_abs_pos_embed

    positions = torch.randn(1, 197, 192, generator=torch.Generator().manual_seed(0))
    np.savez(
        tmp_path / "google.npz",
        **{
            "Transformer/posembed_input/pos_embedding": positions.numpy(),
            "embedding/kernel": np.zeros((16, 16, 3, 192), dtype=np.float32),
        },
    )
    torch.save({"pos_embed": positions, "patch_embed.proj.weight": torch.zeros(192, 3, 16, 16)}, tmp_path / "timm.pth")
    bilinear, bicubic = zoomed(positions, 28, 1), resample_abs_pos_embed(positions, [28, 28], [14, 14])
    assert (bilinear - bicubic).abs().max() > 0.1

    def loaded(file: str, **how: str) -> Tensor:
        model = ours("vit", TINY, size=448)
        fgbench.load_checkpoint(model, tmp_path / file, **how)
        return model.state_dict()[POSITIONS]

    torch.testing.assert_close(loaded("google.npz"), bilinear, rtol=0, atol=1e-5)
    torch.testing.assert_close(loaded("timm.pth"), bicubic, rtol=0, atol=1e-6)
    torch.testing.assert_close(loaded("google.npz", interpolation="bicubic"), bicubic, rtol=0, atol=1e-6)
    torch.testing.assert_close(loaded("timm.pth", interpolation="bilinear"), bilinear, rtol=0, atol=1e-5)
    with pytest.raises(FgbenchError, match="interpolation of position embeddings"):
        loaded("timm.pth", interpolation="nearest")


# Files of another model -----------------------------------------------------------------------------------------------

OTHERS = {
    "a TransFG in a vit": (released_models.TransFG, "vit", "TransFG"),
    "an FFVT in a vit": (released_models.FFVT, "vit", "FFVT"),
    "an FFVT in a transfg": (released_models.FFVT, "transfg", "FFVT"),
    "a TransFG in an ffvt": (released_models.TransFG, "ffvt", "TransFG"),
    "a GLSim in a vit": (released_models.GLSim, "vit", "GLSim"),
    "a GLSim's plain vit in a transfg": (released_models.GLSimViT, "transfg", "ViT"),
    "a RAMS-Trans in a vit": (released_models.RAMSTrans, "vit", "RAMSTrans"),
    "a RAMS-Trans in a transfg": (released_models.RAMSTrans, "transfg", "RAMSTrans"),
    "an IELT in a vit": (released_models.IELT, "vit", "IELT"),
    "an IELT in an ffvt": (released_models.IELT, "ffvt", "IELT"),
    "an R2-Trans in a vit": (released_models.R2Trans, "vit", "R2Trans"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_model_is_named_even_where_every_weight_finds_a_place(tmp_path, case):
    author, name, kind = OTHERS[case]
    module = trained(author, IMAGES)
    report = fgbench.load_checkpoint(ours(name, TINY), save(module, tmp_path / "released.pth"))
    assert report.trained_as == kind
    assert not report.complete
    assert f"another model: {kind}" in str(report)


def test_a_file_of_our_own_says_which_model_and_which_options_it_is_of(tmp_path):
    small = {"img_size": 64, "num_classes": 3}
    fgbench.save_checkpoint(create_model("ffvt", "fgtest_vit", num_tokens=2, **small), tmp_path / "ffvt.safetensors")
    plain = fgbench.load_checkpoint(create_model("vit", "fgtest_vit", **small), tmp_path / "ffvt.safetensors")
    assert (plain.trained_as, plain.missing, plain.unexpected, plain.complete) == ("FFVT", (), (), False)
    other = create_model("ffvt", "fgtest_vit", num_tokens=3, **small)
    assert fgbench.load_checkpoint(other, tmp_path / "ffvt.safetensors").differences == (
        "the file was trained with num_tokens=2; the model has num_tokens=3",
    )
    same = create_model("ffvt", "fgtest_vit", num_tokens=2, impl="published", **small)
    report = fgbench.load_checkpoint(same, tmp_path / "ffvt.safetensors")
    assert (report.differences, report.trained_as, report.complete) == ((), None, True)


def test_the_epsilon_of_a_released_file_outlives_a_file_of_our_own(tmp_path):
    model = ours("glsim", TINY)
    fgbench.load_checkpoint(model, save(trained(released_models.GLSim, IMAGES), tmp_path / "released.pth"))
    fgbench.save_checkpoint(model, tmp_path / "ours.safetensors")
    again = ours("glsim", TINY)
    assert fgbench.load_checkpoint(again, tmp_path / "ours.safetensors").norm_eps == 1e-12
    assert {m.eps for m in again.modules() if isinstance(m, nn.LayerNorm)} == {1e-12}
