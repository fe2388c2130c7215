"""ACC-ViT: collages, their loss, the weights of four heads, what the extra block trains, its start and its cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.model_scenes import backbones_of, built, enliven, images
from helpers.restated_accvit import collages, heads_of
from helpers.weight_files import google_arrays
from torch.nn import functional

import fgbench
from fgbench.flops.count_models import count_model
from fgbench.models.accvit import ACCViT
from fgbench.models.build import create_model
from fgbench.models.collage import make_collages
from fgbench.results.recipe import published_model_options

HEADS = ("first", "second", "last", "object")

# Collages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "side", "cells"),
    [(64, 4, 4), (112, 7, 4), (230, 14, 4), (66, 4, 2), (96, 6, 3), (64, 4, 5)],
)
def test_collages_equal_those_that_are_cut_cell_by_cell(size, side, cells):
    batch, partner = images(4, size), [2, 1, 3, 0]  # one of them is its own partner
    scores = torch.rand(4, side**2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = make_collages(batch, scores, torch.tensor(partner), grid=(side, side), cells=cells)
    expected = collages(batch, scores, partner, side, cells)
    assert torch.equal(found[0], expected[0])
    assert found[1].tolist() == pytest.approx(expected[1], rel=1e-9)
    assert found[2].tolist() == pytest.approx(expected[2], rel=1e-9)
    for whole, made in zip(batch, found[0], strict=True):
        assert 0.3 < (whole != made).float().mean() < 0.7


def test_a_collage_by_hand():
    """Four cells of one pixel: the two with little are replaced by the partner's two with much, in their order."""
    batch = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    scores = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.0, 0.5, 0.2, 0.3]])
    made, own, other = make_collages(batch, scores, torch.tensor([1, 0]), grid=(2, 2), cells=2)
    # image 0 loses 4 (the third by its scores) and 2 (the fourth), and gets 6 and 8; image 1 loses 7 and 5
    assert made.flatten(1).tolist() == [[1, 8, 3, 6], [3, 6, 1, 8]]
    assert own.tolist() == pytest.approx([0.7, 0.8])
    assert other.tolist() == pytest.approx([0.8, 0.7])


@pytest.mark.parametrize(
    "scores", [torch.zeros(2, 16), torch.full((2, 16), -0.3), torch.linspace(-1, 1, 32).view(2, 16)]
)
def test_scores_of_any_sign_give_weights_from_0_to_1(scores):
    _, own, other = make_collages(images(2, 64), scores, torch.tensor([1, 0]), grid=(4, 4))
    for weights in (own, other):
        assert ((weights >= 0) & (weights <= 1)).all()


# Loss -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [1.0, 0.01])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_has_four_cross_entropies_of_images_and_four_of_collages(early, smoothing):
    model = built("accvit", early_weight=early, label_smoothing=smoothing)
    batch, targets, partner = images(3, 64), torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2])
    shape = {"patch": 16, "heads": 2}
    with torch.no_grad():
        loss, logits = model.loss(batch, targets, partner)
        weights = dict(model.state_dict())
        restated = [heads_of(weights, image, **shape) for image in batch]
        mixed, own, other = collages(batch, torch.stack([scores for _, scores, _ in restated]), partner.tolist(), 4)
        again = [heads_of(weights, image, **shape)[0] for image in mixed]

    def cost(head: torch.Tensor, target: int) -> float:
        return functional.cross_entropy(head[None], torch.tensor([target]), label_smoothing=smoothing).item()

    expected = 0.0
    for place, weight in enumerate((early, early, 1.0, 1.0)):
        plain = [cost(restated[b][0][place], b) for b in range(3)]
        joint = [own[b] * cost(again[b][place], b) + other[b] * cost(again[b][place], partner[b]) for b in range(3)]
        expected += weight * (sum(plain) + sum(joint)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert torch.equal(logits, model(batch))


def test_without_collages_no_second_pass_is_run():
    model, batch, targets = built("accvit", collage=0), images(3, 64), torch.tensor([0, 1, 2])
    passes = []
    model.encoder.vit.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        loss, _ = model(batch, targets)
        heads = model.flow(batch).heads
    expected = sum(functional.cross_entropy(heads[name], targets, label_smoothing=0.1) for name in HEADS)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(passes) == 2
    model.collage = 0.5
    model(batch, targets)
    assert len(passes) == 4


def test_the_extra_block_trains_itself_alone():
    model = built("accvit").train()
    result = model.flow(images(2, 64))
    result.heads["object"].sum().backward()
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"object_block", "object_norm", "object_head"}


def test_partners_are_drawn_anew_in_every_step():
    model, batch, targets = built("accvit"), images(4, 64), torch.tensor([0, 1, 2, 0])
    losses = []
    with torch.no_grad():
        for seed in (0, 0, 1, 2, 3):
            torch.manual_seed(seed)
            losses.append(model(batch, targets)[0].item())
    assert losses[0] == losses[1]
    assert len(set(losses)) > 2


# Heads ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "weights"), [(None, (0.2, 0.2, 0.8, 0.8)), (1, (1, 1, 1, 1)), ([0, 0.5, 1, 2], (0, 0.5, 1, 2))]
)
def test_the_logits_are_the_weighted_sum_of_the_heads(given, weights):
    model = built("accvit", head_weights=given)
    with torch.no_grad():
        found = model.flow(images(2, 64))
    assert tuple(found.heads) == HEADS
    expected = sum(weight * found.heads[name] for name, weight in zip(HEADS, weights, strict=True))
    torch.testing.assert_close(found.logits, expected)


def test_the_heads_of_the_data_sets_are_those_of_the_released_configuration():
    assert published_model_options("accvit", "cub", 448) == {}
    assert published_model_options("accvit", "nabirds", 448) == {"head_weights": 1.0}
    assert published_model_options("accvit", "dogs", 448) == {"head_weights": 1.0, "early_weight": 0.01}
    made = create_model("accvit", "fgtest_vit", img_size=64, **published_model_options("accvit", "dogs", 448))
    assert made.head_weights == [1.0] * 4


def test_a_fifth_of_the_patches_is_selected():
    for size, count in ((448, 156), (224, 39), (64, 3), (32, 1)):
        with torch.device("meta"):
            assert create_model("accvit", "vit_tiny_patch16_224", img_size=size).top_k == count


# The fast last block --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("selector", ["rollout", "column_mass", "gls"])
def test_the_last_block_is_computed_for_the_class_token_alone_unless_tokens_are_read(selector, which):
    name = backbones_of(ACCViT)[which]
    model = built("accvit", 112, backbone=name, selector=selector)
    seen = []
    last = model.encoder.vit.blocks[-1]
    last.mlp.register_forward_hook(lambda _, given, out: seen.append(given[0].shape[1]))
    handed_over = []
    model.selector.register_forward_pre_hook(lambda _, given: handed_over.append(given[0]))
    with torch.no_grad():
        fast = model.explain(images(2, 112))
        model.impl = "published"
        published = model.explain(images(2, 112))
    tokens = model.encoder.num_tokens
    assert seen == [tokens if selector == "gls" else 1, tokens]
    torch.testing.assert_close(fast.scores, published.scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fast.logits, published.logits, rtol=0, atol=1e-4)
    assert handed_over[0].num_prefix_tokens == model.encoder.num_prefix_tokens
    if selector == "rollout":
        lses = [block.lse for block in handed_over[0].attention]
        assert lses[-1] is None
        assert all(lse is not None for lse in lses[:-1])


def test_the_fast_one_saves_what_nobody_reads():
    with torch.device("meta"):
        model = create_model("accvit", "vit_tiny_patch16_224", num_classes=200, impl="published").eval()
    published = count_model(model, 224).by_label
    model.impl = "fast"
    fast = count_model(model, 224).by_label
    width, tokens, chosen = 192, 197, 1 + 39
    whole = tokens * 9 * width**2 + 2 * tokens**2 * width  # of the last block: attention, output and MLP
    assert published["pass 1"].macs - fast["pass 1"].macs == whole - 9 * width**2 - 2 * tokens * width
    extra = chosen * 12 * width**2 + 2 * chosen**2 * width
    short = chosen * 2 * width**2 + width**2 + 2 * chosen * width + 9 * width**2
    assert published["fusion"].macs == extra + 4 * 200 * width
    assert fast["fusion"].macs == short + 4 * 200 * width
    assert published["selector"].macs == 11 * tokens**3
    assert fast["selector"].macs == 11 * tokens**2 * (width + 3) + tokens * width


# Initial weights ------------------------------------------------------------------------------------------------------


def begun(tmp_path, classes=21, **options):
    np.savez(tmp_path / "vit.npz", **google_arrays(head=21))
    torch.manual_seed(0)
    model = create_model("accvit", "fgtest_vit", img_size=64, num_classes=classes, **options)
    return model, fgbench.load_checkpoint(model, tmp_path / "vit.npz")


def test_it_begins_as_the_released_code_does(tmp_path):
    model, report = begun(tmp_path)
    last = model.encoder.vit.blocks[-1].state_dict()
    for name, tensor in model.object_block.state_dict().items():
        assert torch.equal(tensor, last[name]), name
    for norm in (model.first_norm, model.second_norm, model.encoder.vit.norm, model.object_norm):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
    heads = [model.first_head, model.second_head, model.head, model.object_head]
    for head in heads:
        assert 0.9 / 8 < head.weight.abs().max() <= 1 / 8  # torch's own, of 64 inputs
    assert len({head.weight[0, 0].item() for head in heads}) == 4
    assert set(report.unexpected) == {"head/kernel", "head/bias"}
    assert any(name.startswith("object_block.") for name in report.started)
    assert "encoder.vit.norm.weight" in report.started


def test_norms_and_heads_can_be_those_of_the_backbone(tmp_path):
    model, report = begun(tmp_path, fresh_last_norm=False, head_init="backbone")
    arrays = google_arrays(head=21)
    for norm in (model.first_norm, model.second_norm, model.encoder.vit.norm, model.object_norm):
        assert torch.equal(norm.weight, torch.from_numpy(arrays["Transformer/encoder_norm/scale"]))
    for head in (model.first_head, model.second_head, model.head, model.object_head):
        assert torch.equal(head.weight, torch.from_numpy(arrays["head/kernel"].T.copy()))
    assert report.missing == ()


@pytest.mark.parametrize("how", ["zeros", "xavier"])
def test_every_head_is_begun_by_the_rule_that_is_asked_for(how, tmp_path):
    for model in (begun(tmp_path, head_init=how)[0], create_model("accvit", "fgtest_vit", img_size=64, head_init=how)):
        for head in (model.first_head, model.second_head, model.head, model.object_head):
            assert bool(head.weight.any()) == (how == "xavier")


def test_weights_of_timm_begin_it_as_a_file_does(monkeypatch):
    from fgbench.models import vision_transformer

    def drawn(*given, pretrained, **how):
        assert pretrained
        return enliven(build(*given, **how), seed=5)

    build = vision_transformer.build_vit
    monkeypatch.setattr(vision_transformer, "build_vit", drawn)
    model = create_model("accvit", "fgtest_vit", img_size=64, num_classes=3, pretrained=True)
    last = model.encoder.vit.blocks[-1].state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in model.object_block.state_dict().items())
    assert (model.encoder.vit.norm.weight == 1).all()
