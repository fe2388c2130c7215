"""The places of tokens that a reduction leaves: prefix tokens stay first, and positions and logits follow patches."""

from __future__ import annotations

import pytest
import torch
from helpers.backbones import fgtest_vit  # noqa: F401  # registers the small backbones
from helpers.model_scenes import enliven, images
from torch import nn

from fgbench.models.build import create_model
from fgbench.plugins.kinds import reductions
from fgbench_selectors import Needs

NAMES = reductions.names()
REGISTERS = 5  # prefix tokens of the backbone with registers


def built(model: str, reduction: str, backbone: str = "fgtest_vit", size: int = 96, **options):
    options = {"reduction_at": (2, 3), **options}
    made = create_model(model, backbone, img_size=size, num_classes=3, reduction=reduction, **options)
    return enliven(made).eval()


@pytest.mark.parametrize("name", NAMES)
def test_prefix_tokens_stay_in_their_places_and_by_themselves(name):
    model = built("vit", name, "fgtest_vit_reg4", 84)
    state = model.encoder.start(images(2, 84))
    with torch.no_grad():
        model.encoder.run(state, range(3))
    for sources in state.places:
        assert torch.equal(sources.owner[:, :REGISTERS], torch.arange(REGISTERS).expand(2, -1))
        assert torch.equal(sources.share[:, :REGISTERS], torch.ones(2, REGISTERS))
    if name != "evovit":  # behind its last block all patches are back
        assert state.tokens.shape[1] < REGISTERS + 36


def silence(model) -> None:
    """Let every block add nothing to its tokens."""
    for block in model.encoder.vit.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


@pytest.mark.parametrize("impl", ["published", "fast"])
@pytest.mark.parametrize("name", NAMES)
def test_rams_trans_reads_its_second_class_token(name, impl):
    model, batch = built("ramstrans", name, impl=impl), images(2, 96)
    silence(model)
    with torch.no_grad():
        found = model.last_token(model.start(batch), index=1)
        expected = model.encoder.norm(model.start(batch).tokens[:, 1:2])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_distilled_backbone_is_read_by_both_of_its_heads(name):
    model, batch = built("vit", name, "deit_tiny_distilled_patch16_224", 64), images(2, 64)
    silence(model)
    with torch.no_grad():
        tokens = model.encoder.vit.norm(model.start(batch).tokens)
        expected = (model.head(tokens[:, 0]) + model.head_dist(tokens[:, 1])) / 2
        assert torch.allclose(model(batch), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["topk", "dynamicvit", "ats", "evovit"])
def test_finer_patches_have_the_rotary_positions_of_all_patches(name):
    """FAL-ViT's second pass begins with all patches again, whatever its first pass has dropped."""
    model, batch = built("falvit", name, "eva02_tiny_patch14_224", 56), images(2, 56)
    ropes: list[torch.Tensor | None] = []
    second = model.second_pass

    def record(images, rope, index):
        ropes.append(rope)
        return second(images, rope, index)

    model.second_pass = record
    with torch.no_grad():
        assert torch.isfinite(model(batch)).all()
        assert torch.equal(ropes[0], model.encoder.start(batch).rope)


@pytest.mark.parametrize("name", NAMES)
def test_every_token_of_the_image_has_the_logits_of_the_token_that_it_is_in(name):
    model, batch = built("vit", name), images(2, 96)
    with torch.no_grad():
        (features,) = model.record(batch, [Needs(class_logits=True)])
        state = model.start(batch)
        model.encoder.run(state, range(4))
        expected = model.head(model.encoder.norm(state.sources.lift(state.tokens)))
    assert features.class_logits.shape == (2, 37, 3)
    assert torch.allclose(features.class_logits, expected, atol=1e-6)
