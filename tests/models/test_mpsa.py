"""MPSA against its restatement; parts that are drawn, extremes of a batch, what it costs and refuses."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from helpers import randomness, restated_parts, restated_swin
from helpers.model_scenes import built, enliven, images
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.flops.count_models import count_model
from fgbench.models.build import create_model
from fgbench.models.parts import PartSampling, kept_parts, to_unit_range
from fgbench.results.recipe import published_model_options

CLASSES = 10
VIT = {"patch": 16, "heads": 2}  # of fgtest_vit
IMPLS = pytest.mark.parametrize("impl", ["fast", "published"])
CASES = {
    "swin, 64": ("fgtest_swin", 64, {}),
    "swin, 96": ("fgtest_swin_deep", 96, {"heads": 16, "parts_drop": 0.2}),
    "swin, 128, other windows": ("fgtest_swin", 128, {"window": 2, "parts_ratio": 4}),
    "swin, nothing dropped": ("fgtest_swin", 64, {"parts_drop": 0.0}),
    "vit": ("fgtest_vit", 64, {}),
}


def model_of(case: str, seed: int = 0, **options):
    """A model with random weights, and these weights."""
    backbone, size, own = CASES[case]
    model = create_model("mpsa", backbone, img_size=size, num_classes=CLASSES, **{**own, **options}).eval()
    weights = randomness.randomise(model.state_dict(), seed)
    for stage in range(len(model.stages)):  # parts of few tokens each; means of nearly all are nearly equal
        weights[f"stages.{stage}.sampling.linear.weight"] *= 4
    model.load_state_dict(weights)
    return model, weights, randomness.images(3, size)


def drawn_parts(model, seed: int) -> list[list[int]]:
    """The parts of every stage that the authors' code keeps after this seed."""
    torch.manual_seed(seed)
    return [torch.randperm(stage.parts)[stage.dropped :].tolist() for stage in model.stages]


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


# The forward pass -----------------------------------------------------------------------------------------------------


def test_the_restated_swin_has_the_stages_of_timm_s():
    model, weights, batch = model_of("swin, 128, other windows")
    for one in range(2):
        restated = restated_swin.normed_stages(weights, batch[one])
        for found, expected in zip(model.pyramid(batch[one : one + 1]), restated, strict=True):
            torch.testing.assert_close(found[0], expected, rtol=0, atol=2e-4)


@IMPLS
@pytest.mark.parametrize("case", CASES)
def test_a_batch_equals_the_restatement_image_by_image(case, impl):
    model, weights, batch = model_of(case, impl=impl)
    vit = VIT if case == "vit" else None
    expected = torch.stack([restated_parts.mpsa(weights, image, vit=vit) for image in batch])
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-4)
    assert 0.2 < expected.std() < 5
    assert (expected[0] - expected[1]).abs().max() > 0.01


@IMPLS
def test_the_released_extremes_are_those_of_the_batch(impl):
    model, weights, batch = model_of("swin, 64", impl=impl, normalize="batch")
    expected = restated_parts.mpsa_in_a_batch(weights, batch)
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-4)
    alone = torch.cat([model(image[None]) for image in batch])
    assert (alone - expected).abs().max() > 0.01, "the neighbours change nothing"
    model, _, _ = model_of("swin, 64", impl=impl, normalize="image")
    torch.testing.assert_close(model(batch), alone, rtol=0, atol=1e-5)


@IMPLS
@pytest.mark.parametrize("seed", [0, 3])
def test_with_dropout_at_test_the_parts_are_those_that_the_generator_of_the_cpu_draws(seed, impl):
    model, weights, batch = model_of("swin, 64", impl=impl, test_dropout=True, normalize="batch")
    kept = drawn_parts(model, seed)
    expected = restated_parts.mpsa_in_a_batch(weights, batch, kept=kept)
    torch.manual_seed(seed)
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-4)
    again = model(batch)
    assert (again - expected).abs().max() > 0.01, "other parts change nothing"


def test_without_dropout_at_test_no_number_is_drawn_and_answers_are_the_same():
    model, _, batch = model_of("swin, 64")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(model(batch), model(batch))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_the_tokens_are_the_scores_and_sum_to_one():
    model, weights, batch = model_of("swin, 96")
    found = model.explain(batch)
    expected = [restated_parts.finish(weights, restated_parts.look(weights, image))[1] for image in batch]
    torch.testing.assert_close(found.scores, torch.stack(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.scores.sum(dim=1), torch.ones(3))
    assert found.scores.shape == (3, 9)


def test_an_image_without_anything_in_it_has_logits():
    for normalize in ("image", "batch"):
        model = built("mpsa", normalize=normalize)
        assert model(torch.zeros(2, 3, 64, 64)).isfinite().all()
    assert (
        create_model("mpsa", "fgtest_swin", img_size=32, num_classes=3)
        .eval()(torch.randn(1, 3, 32, 32))
        .isfinite()
        .all()
    )


# Pieces ---------------------------------------------------------------------------------------------------------------


def test_importance_is_scaled_by_the_extremes_of_an_image_or_of_the_batch():
    importance = torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 9.0]]).unsqueeze(-1)
    by_image = to_unit_range(importance, over_batch=False).squeeze(-1)
    assert by_image.tolist() == [[0, 0.25, 1], [0, 0, 1]]
    by_batch = to_unit_range(importance, over_batch=True).squeeze(-1)
    assert by_batch.tolist() == [[0, 0.125, 0.5], [0.25, 0.25, 1]]
    assert to_unit_range(torch.full((2, 3, 1), 7.0), over_batch=False).tolist() == torch.ones(2, 3, 1).tolist()
    assert to_unit_range(torch.tensor([[[1.0], [float("nan")]]]), over_batch=False).isnan().all()


def test_a_part_of_one_token_is_that_token():
    sampling = PartSampling(4, 3, 2)
    nn.init.zeros_(sampling.linear.weight)
    nn.init.zeros_(sampling.linear.bias)
    sampling.position[0, 1, 0], sampling.position[0, 2, 1] = 1e4, 1e4
    tokens = torch.randn(2, 3, 4)
    torch.testing.assert_close(sampling(tokens), tokens[:, 1:])
    torch.testing.assert_close(sampling(tokens, slice(1, None)), tokens[:, 2:])
    torch.testing.assert_close(sampling(tokens, torch.tensor([1, 0])), tokens[:, [2, 1]])


def test_the_last_parts_are_kept_unless_they_are_drawn():
    assert kept_parts(10, 4, drawn=False) == slice(4, None)
    torch.manual_seed(1)
    drawn = kept_parts(10, 4, drawn=True)
    torch.manual_seed(1)
    assert drawn.tolist() == torch.randperm(10)[4:].tolist()
    assert kept_parts(10, 0, drawn=True) == slice(0, None)


@pytest.mark.parametrize(("drop", "dropped"), [(0.4, [3, 6, 12, 25]), (0.2, [1, 3, 6, 12]), (0, [0, 0, 0, 0])])
def test_as_many_parts_are_dropped_as_in_the_released_code(drop, dropped):
    model = create_model("mpsa", "fgtest_swin", img_size=64, num_classes=3, parts_drop=drop)
    assert [stage.parts for stage in model.stages] == [8, 16, 32, 64]
    assert [stage.dropped for stage in model.stages] == dropped
    assert [stage.attention.heads for stage in model.stages] == [4, 8, 16, 32]
    heads = [stage.attention.position.shape for stage in model.stages]
    assert heads == [(1, 4 << i, 4, 8 * 2**i - drop) for i, drop in enumerate(dropped)]


def test_dropout_acts_in_training_alone_and_leaves_the_names_of_weights():
    plain, dropping = built("mpsa"), built("mpsa", attention_dropout=0.3, head_dropout=0.3)
    batch = images(2, 64)
    assert torch.equal(plain(batch), dropping(batch))
    assert list(plain.state_dict()) == list(dropping.state_dict())
    found = []
    for model in (plain, dropping):
        torch.manual_seed(0)
        found.append(model.train()(batch))
    assert not torch.equal(*found)


# Initial weights ------------------------------------------------------------------------------------------------------


def test_layers_are_drawn_by_kaiming_s_rule_and_factors_begin_as_released():
    torch.manual_seed(0)
    model = create_model("mpsa", "fgtest_swin", img_size=64, num_classes=3)
    for stage in model.stages:
        for layer in (stage.sampling.linear, stage.attention.q, stage.attention.kv, stage.attention.out):
            assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.3)
            assert not layer.bias.any()
        assert not stage.sampling.position.any()
        assert not stage.attention.position.any()
        assert stage.attention.scale.item() == pytest.approx(0.1)
        assert stage.attention.importance.conv1.bias.any()
    assert model.pooling.flatten().tolist() == [0.25] * 4


@pytest.mark.parametrize(("how", "spread"), [(None, 0.02), ("zeros", 0.0), ("backbone", 0.02)])
def test_the_head_begins_as_timm_s_without_weights_unless_a_rule_is_given(how, spread):
    head = create_model("mpsa", "fgtest_swin", img_size=64, num_classes=300, head_init=how).head
    assert head.weight.std().item() == pytest.approx(spread, rel=0.05)


def test_timm_builds_it_by_its_name():
    model = timm.create_model("fgbench_mpsa", backbone="fgtest_swin", img_size=64, num_classes=3).eval()
    assert model(images(2, 64)).shape == (2, 3)
    assert {"fgbench_mpsa", "fgbench_vitnet"} <= set(timm.list_models("fgbench_*"))
    assert (model.year, model.passes) == (2024, 1)


@pytest.mark.parametrize(("dataset", "options"), [("nabirds", {"parts_drop": 0.2}), ("cub", {}), ("dogs", {})])
def test_fewer_parts_are_dropped_on_nabirds(dataset, options):
    assert published_model_options("mpsa", dataset, 384) == options


# What it costs and refuses --------------------------------------------------------------------------------------------


def test_fast_saves_the_sampling_of_the_parts_that_are_dropped():
    with torch.device("meta"):
        model = create_model("mpsa", "swin_base_patch4_window12_384", img_size=384).eval()
        counts = {}
        for impl in ("fast", "published"):
            model.impl = impl
            counts[impl] = count_model(model, 384).by_label["parts"].macs
    tokens, widths, dropped = (9216, 2304, 576, 144), (128, 256, 512, 1024), (25, 51, 102, 204)
    saved = sum(2 * s * d * r for s, d, r in zip(tokens, widths, dropped, strict=True))
    assert counts["published"] - counts["fast"] == saved


@pytest.mark.parametrize(
    ("backbone", "options", "said"),
    [
        ("fgtest_swin", {"heads": 24}, "heads do not divide stages of 16, 32, 64, 128 channels"),
        ("fgtest_swin", {"heads": 4}, "heads do not divide"),
        ("fgtest_vit", {"window": 7}, "only a Swin has windows"),
        ("fgtest_swin", {"window": 0}, "window"),
        ("fgtest_swin", {"normalize": "all"}, "unknown normalize 'all'"),
        ("fgtest_swin", {"parts_drop": 1}, "parts_drop"),
        ("fgtest_swin", {"img_size": (64, 96)}, "needs square images"),
        ("convnext_tiny", {}, "convnext_tiny"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(backbone, options, said):
    with pytest.raises(FgbenchError, match=said) as caught:
        create_model("mpsa", backbone, **{"img_size": 64, **options})
    assert "\n" not in str(caught.value)


def test_a_resnet_has_stages_too():
    model = enliven(create_model("mpsa", "fgtest_resnet_basic", img_size=64, num_classes=3, heads=4)).eval()
    assert [stage.norm.weight.shape[0] for stage in model.stages] == [8, 8, 16, 32]
    batch = images(2, 64)
    fast = model(batch)
    model.impl = "published"
    torch.testing.assert_close(model(batch), fast, rtol=0, atol=1e-5)
