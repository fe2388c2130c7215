"""DynamicViT: masks in training, patches that are left out at test, and the scores by which both are decided."""

from __future__ import annotations

import pytest
import torch
from helpers.backbones import fgtest_vit  # noqa: F401  # registers the small backbones
from helpers.model_scenes import enliven, images

from fgbench.models.build import create_model
from fgbench.models.reductions.dynamicvit import Predictor

SIZE = 96


def built(name: str = "vit", **options):
    options = {"reduction": "dynamicvit", "reduction_at": (2, 3), **options}
    return enliven(create_model(name, "fgtest_vit", img_size=SIZE, num_classes=3, **options)).eval()


def test_dynamicvit_masks_in_training_and_pulls_the_share_to_the_rate():
    torch.manual_seed(0)
    model = built().train()
    state = model.encoder.start(images(3, SIZE))
    model.encoder.run(state, range(4))
    assert state.tokens.shape[1] == 37
    kept = state.memo["kept"]
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(state.sources.present[:, 1:], kept.bool())
    distances = model.reduction._distances
    expected = 2.0 * torch.stack(distances).mean()
    assert torch.equal(model.reduction.loss(), expected)
    assert model.reduction.loss() is None
    assert distances[1].item() == pytest.approx(((kept.mean(dim=1) - 0.7**2) ** 2).mean().item(), abs=1e-6)


def test_a_masked_patch_changes_no_other_token():
    """In training as at test: with the same patches kept, the class token of both is the same."""
    model = built(reduction_at=2)
    state = model.encoder.start(images(1, SIZE))
    with torch.no_grad():
        model.encoder.run(state, range(4))
        kept = state.sources.present[:, 1:].float()
        model.reduction.train()
        masked = model.encoder.start(images(1, SIZE))
        model.encoder.run(masked, range(1))
        masked.memo["kept"] = kept
        model.reduction.at = ()
        model.encoder.run(masked, range(1, 4))
    # The released softmax adds 1e-6 before it divides, which counts where a masked logit is the largest by far.
    assert (state.tokens[:, 0] - masked.tokens[:, 0]).abs().max() < 5e-3


@pytest.mark.parametrize("asking", [slice(0, 1), slice(1, 2)])
def test_in_training_some_prefix_tokens_are_computed_as_among_all(asking):
    """The class token by itself, and RAMS-Trans' second one: models compute the last block for one of them alone."""
    model = built("ramstrans", reduction_at=2).train()
    torch.manual_seed(0)
    state = model.start(images(2, SIZE))
    with torch.no_grad():
        model.encoder.run(state, range(3))
        assert 0 < state.memo["kept"].sum() < state.memo["kept"].numel()
        alone = model.encoder.block_on(3, state, asking)
        model.encoder.run(state, range(3, 4))
    assert alone.shape == (2, 1, 64)
    assert torch.allclose(alone, state.tokens[:, asking], atol=1e-5)


def test_the_aggregator_of_glsim_gets_two_tokens_in_training():
    model = built("glsim").train()
    seen: list[int] = []
    model.aggregator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    loss, _ = model(images(2, SIZE), torch.tensor([0, 1]))
    assert seen == [2]
    assert torch.isfinite(loss)


def test_an_image_of_which_no_patch_is_kept_has_a_loss():
    """Where a stage drops all patches, there is no mean of them; one image in 16 of four patches has that."""
    predictor = enliven(Predictor(16))
    patches = torch.randn(2, 4, 16, requires_grad=True)
    kept = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    found = predictor(patches, kept)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(patches.grad).all()
    assert torch.allclose(found[1:], predictor(patches[1:], kept[1:]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_in_half_precision_tell_patches_apart(dtype):
    """Log-probabilities of new predictors are all near ln ½, where bfloat16 has steps of 0.002."""
    torch.manual_seed(0)
    predictor, patches = Predictor(64), torch.randn(1, 200, 64)
    with torch.no_grad():
        exact = predictor(patches)[0, :, 0]
        halved = predictor.to(dtype)(patches.to(dtype))[0, :, 0]
    best, found = (set(scores.sort(descending=True, stable=True).indices[:100].tolist()) for scores in (exact, halved))
    assert len(best & found) >= 90


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_trained_in_either_precision(dtype):
    torch.manual_seed(0)
    model = built().train().to(dtype)
    loss, logits = model(images(2, SIZE).to(dtype), torch.tensor([0, 1]))
    loss.backward()
    assert logits.dtype == dtype
    assert torch.isfinite(loss)


def test_a_pass_without_a_loss_leaves_nothing_behind():
    """Terms of passes whose loss nobody asked for neither count later, nor keep their graphs in memory."""
    model, batch, targets = built(dropout=0.0).train(), images(2, SIZE), torch.tensor([0, 1])
    for _ in range(3):
        model(batch)
    assert len(model.reduction._distances) == 2
    torch.manual_seed(0)
    loss, _ = model(batch, targets)
    fresh = built(dropout=0.0).train()
    torch.manual_seed(0)
    expected, _ = fresh(batch, targets)
    assert torch.equal(loss, expected)
    loss.backward()
    again, _ = model(batch, targets)
    again.backward()  # no graph of an earlier pass is in it


def test_the_epsilon_of_a_file_is_not_that_of_the_predictors():
    """In the released code the backbone's norms have 1e-6, those of the predictors torch's 1e-5."""
    model, patches = built(), 1e-3 * torch.randn(1, 6, 64)
    with torch.no_grad():
        before = model.reduction.predictors[0](patches)
        model.read_norm_eps(0.1)
        assert torch.equal(model.reduction.predictors[0](patches), before)
