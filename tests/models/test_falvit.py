"""FAL-ViT: finer patches and their places, backbones of other families, its loss, its start and its cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from helpers.model_scenes import backbones_of, built, enliven, images
from helpers.plain_models import Encoder
from helpers.restated_falvit import finer_tokens
from helpers.weight_files import google_arrays
from models.test_more_releases import zoomed
from torch import nn
from torch.nn import functional

import fgbench
from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.build import create_model
from fgbench.models.falvit import FALViT
from fgbench.models.losses import contrastive_loss

# Finer patches --------------------------------------------------------------------------------------------------------


def test_the_finer_patches_of_a_patch_by_hand():
    finer = built("falvit", 64).finer  # 4×4 patches, 8×8 finer ones
    assert finer.finer_index(torch.tensor([[0, 5, 15]])).tolist() == [[0, 18, 54, 1, 19, 55, 8, 26, 62, 9, 27, 63]]


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("which", "size"), [(0, 64), (0, 75), (1, 70), (1, 90)])
def test_finer_patches_are_cut_out_of_the_image(which, size, published):
    """Also where pixels are left at the border; the second backbone has registers, and no positions for them."""
    name = backbones_of(FALViT)[which]
    model, batch = built("falvit", size, backbone=name), images(2, size)
    side = model.encoder.grid[0]
    index = torch.tensor([[0, side + 1, side**2 - 1], [2, side, 1]])
    with torch.no_grad():
        state = model.finer.start(model.encoder, batch, None, index, published=published)
        for image, chosen, found in zip(batch, index.tolist(), state.tokens, strict=True):
            plain = Encoder(dict(model.state_dict()), *((16, 2, 1) if which == 0 else (14, 3, 5)))
            torch.testing.assert_close(found, finer_tokens(plain, image, chosen), rtol=0, atol=1e-4)


def test_a_finer_patch_sees_its_own_pixels_alone():
    model, batch = built("falvit", 64), images(1, 64)
    index = torch.arange(16)[None]
    with torch.no_grad():
        before = model.finer.start(model.encoder, batch, None, index, published=False).tokens
        batch[:, :, 24:32, 40:48] += 1  # row 3 and column 5 of finer patches: patch 6, its last but one row
        after = model.finer.start(model.encoder, batch, None, index, published=False).tokens
    changed = (before != after).any(dim=2)[0].nonzero().flatten().tolist()
    place = model.finer.finer_index(index)[0].tolist().index(3 * 8 + 5)
    assert changed == [1 + place]


# Backbones of other families: two prefix tokens, norms before the blocks, rotary positions, none for the class token.
FAMILIES = {
    "deit_tiny_distilled_patch16_224": 64,
    "deit3_small_patch16_224": 64,
    "vit_xsmall_patch16_clip_224": 64,
    "eva02_tiny_patch14_224": 56,
    "vit_small_patch16_dinov3": 64,
    "vit_small_patch16_rope_mixed_ape_224": 64,
    "vit_small_patch14_reg4_dinov2": 56,
    "test_vit": 64,
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("model_name", ["accvit", "falvit"])
def test_fast_and_published_agree_on_backbones_of_every_family(model_name, name):
    size = FAMILIES[name]
    model, batch = built(model_name, size, backbone=name), images(2, size)
    with torch.no_grad():
        fast = model.explain(batch)
        model.impl = "published"
        published = model.explain(batch)
    assert torch.equal(fast.selected.sort(dim=1).values, published.selected.sort(dim=1).values)
    torch.testing.assert_close(fast.logits, published.logits, rtol=1e-4, atol=1e-4)
    assert (fast.logits[0] - fast.logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["test_vit", "eva02_tiny_patch14_224", "vit_small_patch16_dinov3"])
def test_the_first_pass_is_the_backbone_of_timm(name):
    size = FAMILIES[name]
    theirs = enliven(timm.create_model(name, img_size=size, num_classes=3)).eval()
    model, batch = built("falvit", size, backbone=name), images(2, size)
    model.encoder.vit.load_state_dict(theirs.state_dict(), strict=False)
    seen = []
    theirs.blocks[-1].register_forward_hook(lambda _, given, out: seen.append(out))
    with torch.no_grad():
        theirs(batch)
        token, _, _ = model.first_pass(batch)
    torch.testing.assert_close(token, seen[0][:, 0], rtol=1e-4, atol=1e-4)


def test_patches_that_cannot_be_split_are_refused_in_one_line():
    for options, words in (
        ({"overlap": 4}, "patches that are split in four cannot overlap, got overlap 4; give 0"),
        ({"backbone": "vit_small_patch14_dinov2", "overlap": 2}, "cannot overlap, got overlap 2"),
    ):
        with pytest.raises(FgbenchError, match=words) as caught, torch.device("meta"):
            create_model("falvit", **{"backbone": "fgtest_vit", "img_size": 56, "num_classes": 3, **options})
        assert "\n" not in str(caught.value)


def test_a_share_of_the_patches_is_split():
    for size, count in ((448, 314), (224, 79), (32, 2)):
        with torch.device("meta"):
            assert create_model("falvit", "vit_tiny_patch16_224", img_size=size).top_k == count
            assert count == math.ceil(0.4 * (size // 16) ** 2)


# Loss -----------------------------------------------------------------------------------------------------------------


def test_both_heads_and_a_contrastive_term_are_trained():
    model = built("falvit", contrastive=2.0)
    batch, targets = images(3, 64), torch.tensor([0, 0, 2])
    loss, logits = model(batch, targets)
    found = model.flow(batch)
    heads = [functional.cross_entropy(found.heads[name], targets, label_smoothing=0.1) for name in ("coarse", "fine")]
    expected = heads[0] + heads[1] + 2 * contrastive_loss(found.token, targets, 0.4)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(logits, found.heads["fine"])
    assert abs(heads[0] - heads[1]) > 0.01


def test_the_first_pass_learns_by_its_own_head():
    model = built("falvit", contrastive=0.0)
    result = model.flow(images(2, 64))
    result.heads["coarse"].sum().backward()
    patch_grad = model.encoder.vit.patch_embed.proj.weight.grad
    assert patch_grad.abs().max() > 0
    assert model.finer.proj.weight.grad is None
    model.zero_grad()
    model.flow(images(2, 64)).logits.sum().backward()
    assert model.encoder.vit.patch_embed.proj.weight.grad is None, "the first pass reaches the logits by indices alone"
    assert model.finer.proj.weight.grad.abs().max() > 0


def test_one_image_does_not_train():
    model = built("falvit").train()
    with pytest.raises(FgbenchError, match="the head of FAL-ViT normalises over the batch; to train it takes 2 images"):
        model(images(1, 64), torch.tensor([0]))
    assert model.eval()(images(1, 64)).shape == (1, 3)


# Initial weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 128])
def test_it_begins_as_the_released_code_does(size, tmp_path):
    """Positions of both scales are resized from the file's own 4×4, not one from the other."""
    arrays = google_arrays(head=21)
    np.savez(tmp_path / "vit.npz", **arrays)
    torch.manual_seed(0)
    model = create_model("falvit", "fgtest_vit", img_size=size, num_classes=21)
    report = fgbench.load_checkpoint(model, tmp_path / "vit.npz")
    positions = torch.from_numpy(arrays["Transformer/posembed_input/pos_embedding"])
    for own, side in ((model.encoder.vit.pos_embed, size // 16), (model.finer.pos_embed, size // 8)):
        torch.testing.assert_close(own, nn.Parameter(zoomed(positions, side, 1)), rtol=0, atol=1e-5)
    assert torch.equal(model.encoder.vit.norm.weight, torch.from_numpy(arrays["Transformer/encoder_norm/scale"]))
    given = arrays["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"].T.copy()
    assert torch.equal(model.encoder.vit.blocks[3].mlp.fc1.weight, torch.from_numpy(given))
    bound = 1 / math.sqrt(3 * 8 * 8)  # torch's own, of a convolution: the file has none of this size
    assert 0.95 * bound < model.finer.proj.weight.abs().max() <= bound
    assert {"finer.proj.weight", "finer.proj.bias", "coarse_head.weight", "head.fc.weight"} <= set(report.missing)
    assert "finer.pos_embed" in report.loaded
    assert report.resized == (("encoder.vit.pos_embed",) if size > 64 else ()) + ("finer.pos_embed",)
    for layer in (model.coarse_head, model.head.hidden, model.head.fc):
        bound = 1 / math.sqrt(layer.in_features)
        assert 0.9 * bound < layer.weight.abs().max() <= bound


def test_without_a_file_the_finer_positions_are_those_of_the_encoder_resized():
    model = create_model("falvit", "fgtest_vit", img_size=64, num_classes=3)
    with torch.no_grad():
        expected = zoomed(model.encoder.vit.pos_embed.detach(), 8, 1)
    torch.testing.assert_close(model.finer.pos_embed.detach(), expected, rtol=0, atol=1e-6)
    rotary = create_model("falvit", "vit_small_patch16_dinov3", img_size=64, num_classes=3)
    assert not rotary.finer.pos_embed.any()


def test_a_file_of_another_size_gives_the_positions_of_both_scales(tmp_path):
    small, large = built("falvit", 64), built("falvit", 96)
    fgbench.save_checkpoint(small, tmp_path / "own.safetensors")
    report = fgbench.load_checkpoint(large, tmp_path / "own.safetensors", strict=True)
    assert report.resized == ("encoder.vit.pos_embed", "finer.pos_embed")
    assert report.grids == (4, 6)


# Cost -----------------------------------------------------------------------------------------------------------------


def test_the_second_pass_is_the_larger_one_and_the_fast_one_embeds_what_it_reads():
    with torch.device("meta"):
        model = create_model("falvit", "vit_tiny_patch16_224", img_size=448, impl="published").eval()
    published = count_model(model, 448).by_label
    model.impl = "fast"
    fast = count_model(model, 448).by_label
    width, patches, chosen = 192, 784, 314
    coarse, fine = 1 + patches, 1 + 4 * chosen
    assert fine == 1257

    def blocks(tokens: int) -> int:
        return 12 * (tokens * 12 * width**2 + 2 * tokens**2 * width)

    def saved(tokens: int) -> int:
        """Of the last block, which only the class token reads: queries too, where nothing is recorded."""
        return (tokens - 1) * 9 * width**2 + 2 * (tokens**2 - tokens) * width

    assert published["pass 1"].macs == patches * 3 * 16**2 * width + blocks(coarse)
    assert published["pass 2"].macs == 4 * patches * 3 * 8**2 * width + blocks(fine)
    assert fast["pass 1"].macs == published["pass 1"].macs - saved(coarse)
    embedded = 4 * (patches - chosen) * 3 * 8**2 * width
    assert fast["pass 2"].macs == published["pass 2"].macs - saved(fine) - (fine - 1) * width**2 - embedded
    assert published["selector"].macs == 0
    assert fast["selector"].macs == 9 * coarse * width
    head = 3 * width * 1024 + 1024 * 200 + width * 200
    assert published["fusion"].macs == fast["fusion"].macs == head
