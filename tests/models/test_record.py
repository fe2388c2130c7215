"""One pass, recorded for several selectors at once."""

from __future__ import annotations

import pytest
import torch
from helpers.model_scenes import backbones_of, enliven, images

from fgbench.errors import FeaturesError
from fgbench.models.build import create_model, models
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Needs
from fgbench_selectors.registry import selectors

ON_A_VIT = [name for name in models.names() if issubclass(models.load(name), VisionTransformerModel)]
EVERY_NEED = [selectors.load(name).needs for name in selectors.names()]


def build(name: str, backbone: str = "fgtest_vit"):
    return enliven(create_model(name, backbone, img_size=112, num_classes=3)).eval()


def needs_of(model) -> list[Needs]:
    """What selectors need, but for logits of tokens where the head reads no single token."""
    return [needs for needs in EVERY_NEED if model.classifies_tokens or not needs.class_logits]


@pytest.mark.parametrize("name", [name for name in ON_A_VIT if models.load(name).accepts])
@pytest.mark.parametrize("which", [0, 1])
def test_a_models_own_selector_scores_what_was_recorded_as_it_does_in_the_forward_pass(name, which):
    model, batch = build(name, backbones_of(models.load(name))[which]), images(2, 112)
    with torch.no_grad():
        *_, features = model.record(batch, [*needs_of(model), model.selector.needs])
        scores, expected = model.selector(features), model.explain(batch).scores
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("name", ON_A_VIT)
def test_each_gets_what_it_declares_and_nothing_else_whatever_the_others_declare(name):
    model, batch = build(name), images(2, 112)
    with torch.no_grad():
        together = model.record(batch, needs_of(model))
        for needs, features in zip(needs_of(model), together, strict=True):
            (alone,) = model.record(batch, [needs])
            assert (features.tokens is None) == (not needs.tokens)
            assert (features.class_logits is None) == (not needs.class_logits)
            assert [block is None for block in features.attention] == [block is None for block in alone.attention]
            expected: list[torch.Tensor] = []
            alone.map(lambda tensor, kept=expected: kept.append(tensor) or tensor)
            found: list[torch.Tensor] = []
            features.map(lambda tensor, kept=found: kept.append(tensor) or tensor)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["transfg", "ffvt"])
def test_a_selector_of_all_blocks_reads_those_that_have_run_when_the_model_selects(name):
    model, batch = build(name), images(1, 112)
    with torch.no_grad():
        all_blocks, all_but_last = model.record(batch, [Needs(blocks=slice(None)), Needs(blocks=slice(None, -1))])
    assert [block is not None for block in all_blocks.attention] == [True] * 3
    assert [block is not None for block in all_but_last.attention] == [True] * 3 + [False]


def test_blocks_that_the_model_does_not_have_are_refused():
    with torch.no_grad(), pytest.raises(FeaturesError, match="empty"):
        build("vit").record(images(1, 112), [Needs(blocks=slice(7, 9))])


def test_logits_of_tokens_are_those_of_the_head_and_not_had_where_it_reads_no_single_token():
    model, batch = build("vit"), images(2, 112)
    with torch.no_grad():
        (features,) = model.record(batch, [Needs(class_logits=True)])
        assert torch.equal(features.class_logits, model.head(model.encoder(batch)))
        assert torch.equal(features.class_logits[:, 0], model(batch))
        with pytest.raises(FeaturesError, match="empty"):
            build("simtrans").record(batch, [Needs(class_logits=True)])
