"""``vit`` loaded from timm's own state dict computes what timm computes, for every family, or is refused by name."""

from __future__ import annotations

import pytest
import timm
import torch
from helpers.model_scenes import enliven, images

import fgbench
from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.backbone import backbone_names
from fgbench.models.build import create_model

CLASSES = 5
# A small member of each family, and a size of a few patches.
FAMILIES = {
    "vit_tiny_patch16_224": 64,
    "vit_small_patch32_224": 96,
    "deit_tiny_patch16_224": 64,
    "deit_tiny_distilled_patch16_224": 64,  # two heads
    "deit3_small_patch16_224": 64,  # no position for the class token, layer scale
    "vit_xsmall_patch16_clip_224": 64,  # a norm before the blocks
    "vit_base_patch32_clip_quickgelu_224": 96,
    "vit_base_patch16_siglip_224": 64,  # no class token, attention pooling
    "vit_base_patch16_siglip_gap_224": 64,
    "vit_wee_patch16_reg1_gap_256": 64,  # registers, the mean of the patches
    "eva02_tiny_patch14_224": 56,  # rotary positions, the mean of the patches
    "vit_small_patch14_dinov2": 56,
    "vit_small_patch14_reg4_dinov2": 56,
    "vit_tiny_patch16_dinov3_qkvb": 64,
    "vit_small_patch16_dinov3": 64,
    "vit_small_patch16_rope_224": 64,
    "vit_small_patch16_rope_mixed_ape_224": 64,
    "vit_pe_core_tiny_patch16_384": 64,
    "vit_pe_spatial_tiny_patch16_512": 64,
    "flexivit_small": 96,
    "vit_base_patch16_radio_v3": 64,  # ten prefix tokens, no norm of its own
    "test_vit": 64,
    "test_vit2": 64,
    "test_vit3": 64,
    "test_vit4": 64,
}
# Their ways to read positions and tokens are asked below, too.
WIDE = ("vit_base", "vit_small", "vit_pe", "deit3_small", "flexivit")


def _often(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """Wide networks take seconds each; a smaller one of most families is asked every time."""
    kept = ("vit_base_patch16_siglip_224", "vit_small_patch14_dinov2", "vit_base_patch16_radio_v3")
    return (pytest.mark.thorough,) if name.startswith(WIDE) and name not in kept else ()


REFUSED = (
    *("beit_base_patch16_224", "beitv2_base_patch16_224", "samvit_base_patch16_224", "vit_tiny_r_s16_p8_224"),
    *("vit_relpos_small_patch16_224", "vit_base_patch16_rpn_224", "vit_small_patch16_18x2_224", "cait_xxs24_224"),
    *("naflexvit_base_patch16_gap", "hiera_tiny_224", "xcit_nano_12_p16_224", "vit_dpwee_patch16_reg1_gap_256"),
    *("vit_dwee_patch16_reg1_gap_256", "vit_dlittle_patch16_reg1_gap_256"),  # the difference of two attentions
)


def of_timm(name: str, size: int, **options) -> torch.nn.Module:
    return enliven(timm.create_model(name, img_size=size, num_classes=CLASSES, **options)).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", [pytest.param(name, marks=_often(name)) for name in FAMILIES])
def test_vit_gives_timm_s_logits(name, tmp_path):
    size = FAMILIES[name]
    theirs, batch = of_timm(name, size), images(2, size)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = create_model("vit", name, img_size=size, num_classes=CLASSES).eval()
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth", strict=True)
    expected = theirs(batch)
    assert expected.std() > 0.05
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-4)
    assert report.complete
    assert report.resized == ()


# timm's own way to load a file for another size is the reference.
@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        *("flexivit_small", "vit_base_patch16_radio_v3"),
        *("deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "vit_wee_patch16_reg1_gap_256"),
    ],
)
def test_positions_are_resized_as_timm_resizes_them(name, tmp_path):
    torch.save(of_timm(name, 64 if "14" not in name else 56).state_dict(), tmp_path / "timm.pth")
    size = 84 if "14" in name else 96
    overlay = {"file": str(tmp_path / "timm.pth"), "num_classes": CLASSES}
    options = {"img_size": size, "num_classes": CLASSES}
    theirs = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options).eval()
    model, batch = create_model("vit", name, **options).eval(), images(2, size)
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth", strict=True)
    torch.testing.assert_close(model(batch), theirs(batch), rtol=0, atol=1e-4)
    assert report.grids == (4, 6)
    own = {"flexivit_small": "timm's bilinear", "vit_base_patch16_radio_v3": "bilinear"}
    assert report.interpolation == own.get(name, "bicubic")
    other = "bicubic" if report.interpolation == "bilinear" else "bilinear"
    fgbench.load_checkpoint(model, tmp_path / "timm.pth", interpolation=other)
    assert (model(batch) - theirs(batch)).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_vit_costs_what_timm_s_model_costs(name):
    size = FAMILIES[name]
    with torch.device("meta"):
        ours = create_model("vit", name, img_size=size, num_classes=CLASSES).eval()
        theirs = timm.create_model(name, img_size=size, num_classes=CLASSES).eval()
    expected = fgbench.count_flops(theirs, torch.empty(1, 3, size, size, device="meta"))
    counted = count_model(ours, size)
    assert (counted.macs, counted.total) == (expected.macs, expected.total)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_vit_is_refused_by_name(name):
    with pytest.raises(FgbenchError, match=name) as caught, torch.device("meta"):
        create_model("vit", name, num_classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_no_refused_backbone_is_listed():
    assert not {name for name in REFUSED if "_rpn_" not in name} & set(backbone_names())


@torch.no_grad()
@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"])
def test_the_class_token_is_read_where_that_was_asked_for(name, tmp_path):
    size = FAMILIES[name]
    theirs, batch = of_timm(name, size), images(2, size)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = create_model("vit", name, img_size=size, num_classes=CLASSES, readout="class_token").eval()
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth", strict=True)
    tokens = theirs.forward_features(batch)[:, 0]
    torch.testing.assert_close(model(batch), theirs.head(theirs.fc_norm(tokens)), rtol=0, atol=1e-4)
    assert (model(batch) - theirs(batch)).abs().max() > 1e-2
    assert report.complete
    assert all(left.startswith("head_dist") for left in report.ignored)


def test_there_is_no_class_token_to_read_without_one():
    with pytest.raises(FgbenchError, match="no class token to classify by"), torch.device("meta"):
        create_model("vit", "vit_base_patch16_siglip_224", readout="class_token")


@torch.no_grad()
@pytest.mark.parametrize("name", ["glsim", "ev", "dcal"])
def test_a_head_that_read_other_tokens_is_not_taken_for_one_of_the_class_token(name, tmp_path):
    theirs = of_timm("eva02_tiny_patch14_224", 56)
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    model = create_model(name, "eva02_tiny_patch14_224", img_size=56, num_classes=CLASSES)
    report = fgbench.load_checkpoint(model, tmp_path / "timm.pth")
    assert {"head.weight", "head.bias"} <= {*report.missing, *report.started}
    assert {"head.weight", "head.bias"} <= set(report.unread)
    assert not torch.equal(model.head.weight, theirs.head.weight)


# Files that earlier versions of fgbench wrote hold a ViT whose class token was read.
@torch.no_grad()
@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"])
def test_a_vit_of_an_earlier_version_reads_the_class_token(name, tmp_path):
    from fgbench.models.checkpoints.files import write_weights

    size = FAMILIES[name]
    options = {"img_size": size, "num_classes": CLASSES}
    earlier = enliven(create_model("vit", name, readout="class_token", **options)).eval()
    write_weights(earlier.state_dict(), tmp_path / "earlier.safetensors", {"format": "fgbench", "model": "ViT"})
    model = create_model("vit", name, **options).eval()
    report = fgbench.load_checkpoint(model, tmp_path / "earlier.safetensors", strict=True)
    torch.testing.assert_close(model(images(2, size)), earlier(images(2, size)), rtol=0, atol=1e-5)
    assert "the class token is read" in str(report)

    fgbench.save_checkpoint(model, tmp_path / "again.safetensors")
    again = create_model("vit", name, readout="class_token", **options).eval()
    assert fgbench.load_checkpoint(again, tmp_path / "again.safetensors", strict=True).variants == ()
    other = create_model("vit", name, **options).eval()
    assert "readout=class_token" in str(fgbench.load_checkpoint(other, tmp_path / "again.safetensors"))


def test_a_bare_state_dict_does_not_say_what_its_classifier_reads(tmp_path):
    model = create_model("vit", "eva02_tiny_patch14_224", img_size=56, num_classes=CLASSES)
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    assert "timm's readout is assumed" in str(fgbench.load_checkpoint(model, tmp_path / "bare.pth"))
    plain = create_model("vit", "fgtest_vit", img_size=64, num_classes=CLASSES)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    assert fgbench.load_checkpoint(plain, tmp_path / "plain.pth").variants == ()
