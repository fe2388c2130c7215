"""Token reductions: held to independent restatements, alone and in a batch, published and fast."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.backbones import fgtest_vit  # noqa: F401  # registers the small backbones
from helpers.model_scenes import enliven, images
from helpers.restated_reduction import reduced_vit
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fgbench.errors import FgbenchError
from fgbench.models.build import create_model
from fgbench.models.reductions.evit import EViT, TopK
from fgbench.models.reductions.reduction import Reduction
from fgbench.models.reductions.sources import Sources, new_places, with_prefix
from fgbench.models.reductions.tome import ToMe, match
from fgbench.plugins.kinds import reductions
from fgbench_selectors import get

NAMES = reductions.names()
SHAPES = {"fgtest_vit": (96, 16, 2, 1), "fgtest_vit_reg4": (84, 14, 3, 5)}  # size, patch, heads, prefix tokens
AT = {"evovit": (2, 3)}
RATES = {"tome": 0.6, "evovit": 0.5}


def built(name: str, backbone: str = "fgtest_vit", **options):
    options = {"reduction_at": AT.get(name, (2, 3)), "keep_rate": RATES.get(name, 0.7), **options}
    size = SHAPES.get(backbone, (96,))[0]
    model = create_model("vit", backbone, img_size=size, num_classes=3, reduction=name, **options)
    return enliven(model).eval()


def logits_of(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return model.head(model.encoder.norm(tokens[None])[:, 0])[0]


@pytest.mark.parametrize("backbone", list(SHAPES))
@pytest.mark.parametrize("name", NAMES)
def test_a_reduced_vit_is_its_restatement(name, backbone):
    model = built(name, backbone)
    size, patch, heads, prefix = SHAPES[backbone]
    batch = images(3, size)
    reduction = model.reduction
    merged = None
    if name == "tome":
        merged = lambda stage, tokens: tokens - prefix - math.ceil(reduction.keep_rate * (tokens - prefix))  # noqa: E731
    options = {"at": reduction.at, "rate": reduction.keep_rate, "patch": patch, "heads": heads, "num_prefix": prefix}
    for impl in ("fast", "published"):
        model.impl = impl
        with torch.no_grad():
            found = model(batch)
            for image, mine in zip(batch, found, strict=True):
                tokens, _ = reduced_vit(model.state_dict(), image, name, **options, merged=merged)
                expected = logits_of(model, tokens)
                assert (mine - expected).abs().max() <= 1e-4 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_one_answer_alone_and_in_a_batch_and_by_both_implementations(name):
    model, batch = built(name), images(4, 96, seed=3)
    with torch.no_grad():
        together = model(batch)
        alone = torch.cat([model(image[None]) for image in batch])
        model.impl = "published"
        published = model(batch)
    assert (together - alone).abs().max() <= 1e-5
    assert (together - published).abs().max() <= 1e-4


def lengths(model, size: int = 224) -> list[int]:
    """Tokens that the MLP of each block reads."""
    seen: list[int] = []
    hooks = [
        block.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        for block in model.encoder.vit.blocks
    ]
    with torch.no_grad():
        model(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("reduction", "options", "expected"),
    [
        ("evit", {}, [*[197] * 3, *[140] * 3, *[100] * 3, *[72] * 3]),
        ("topk", {}, [*[197] * 3, *[138] * 3, *[97] * 3, *[68] * 3]),
        ("tome", {}, [*[197] * 3, *[139] * 3, *[98] * 3, *[69] * 3]),
        ("tome", {"reduction_options": {"r": 16}}, [197 - 16 * block for block in range(1, 12)] + [11]),
        ("dynamicvit", {}, [*[197] * 3, *[138] * 3, *[97] * 3, *[68] * 3]),
        ("ats", {}, [*[197] * 3, *[138] * 3, *[97] * 3, *[68] * 3]),  # the most, where no values are known
        ("evovit", {}, [*[197] * 4, *[99] * 8]),
        ("evit", {"keep_rate": 0.5, "reduction_at": 6}, [*[197] * 5, *[100] * 7]),
    ],
)
def test_the_published_schedules(reduction, options, expected):
    with torch.device("meta"):
        model = create_model("vit", "vit_tiny_patch16_224", reduction=reduction, **options).eval()
    assert lengths(model) == expected


def test_tome_merges_at_most_the_tokens_that_have_a_partner():
    """Block 12 of 12 at r = 16 has 21 tokens left of 197, of which 10 can be merged, and not 16."""
    with torch.device("meta"):
        model = create_model("vit", "vit_tiny_patch16_224", reduction="tome", reduction_options={"r": 16})
    assert model.reduction.num_merged(11, 21, 1) == 10
    falling = create_model(
        "vit", "fgtest_vit", img_size=96, reduction="tome", reduction_options={"r": 6, "decreasing": True}
    )
    assert [falling.reduction.num_merged(stage, 100, 1) for stage in range(4)] == [12, 8, 4, 0]


def test_a_rate_of_one_keeps_everything():
    batch = images(2, 96)
    for name in ("evit", "tome"):
        model = built(name, keep_rate=1.0)
        plain = create_model("vit", "fgtest_vit", img_size=96, num_classes=3).eval()
        plain.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.equal(model(batch), plain(batch))


@pytest.mark.parametrize("selector", ["gls", "column_mass", "attention", "rollout", "mhv"])
@pytest.mark.parametrize("name", ["evit", "topk", "evovit", "ats"])
def test_any_selector_that_reads_what_a_block_has_can_score_the_tokens(name, selector):
    options = {"reduction_selector": selector}
    if selector == "mhv":  # it reads all blocks but the last one: of one block, none
        with pytest.raises(FgbenchError, match="what one block has"):
            built(name, **options)
        return
    model, batch = built(name, **options), images(2, 96)
    with torch.no_grad():
        fast = model(batch)
        model.impl = "published"
        published = model(batch)
    assert (fast - published).abs().max() <= 1e-4
    if selector == "attention":
        with torch.no_grad():
            assert torch.equal(published, _as_published(built(name))(batch))


def _as_published(model):
    model.impl = "published"
    return model


def test_ats_samples_by_distances_too_whose_scores_are_all_below_zero():
    model, batch = built("ats", reduction_selector=get("gls", metric="l1"), keep_rate=1.0), images(2, 96)
    with torch.no_grad():
        fast = model(batch)
        model.impl = "published"
        assert (model(batch) - fast).abs().max() <= 1e-4
        state = model.encoder.start(batch[:1])
        model.encoder.run(state, range(2))
    assert 2 < state.tokens.shape[1] < 37


def test_the_scores_of_a_selector_decide_which_tokens_stay():
    from fgbench_selectors import Needs, Selector

    class Last(Selector):
        """The later a patch, the better."""

        needs = Needs(tokens=True)
        score_shape = ("batch", "patches")

        def published(self, features):
            places = torch.arange(features.num_patches, dtype=torch.float32)
            return places.expand(len(features.read_tokens()), -1)

    model = built("topk", reduction_selector=Last(), reduction_at=2, keep_rate=0.5)
    state = model.encoder.start(images(1, 96))
    with torch.no_grad():
        model.encoder.run(state, range(2))
    assert state.sources.present[0].nonzero().flatten().tolist() == [0, *range(19, 37)]
    assert model.reduction_options["reduction_selector"] == "last"


@given(st.integers(2, 60), st.integers(0, 3), st.floats(0.5, 1.0), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_matching_pairs_each_token_once_and_leaves_the_prefix(patches, prefix, rate, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = prefix + patches
    r = min(patches - math.ceil(rate * patches), (tokens - prefix) // 2)
    if not r:
        return
    found = match(torch.randn(2, tokens, 4, generator=generator), r, prefix)
    for merged, into, left in zip(*found, strict=True):
        partners = [2 * rank + 1 for rank in into.tolist()]
        assert sorted([*merged.tolist(), *left.tolist()]) == list(range(0, tokens, 2))
        assert left.tolist() == sorted(left.tolist())
        assert all(place >= prefix for place in [*merged.tolist(), *partners])
        assert all(place < tokens for place in partners)


@given(st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_sources_know_where_every_patch_is(patches, prefix, seed):
    generator = torch.Generator().manual_seed(seed)
    length = prefix + patches
    sources = Sources.of_all(torch.zeros(1, length, 2), prefix)
    names = list(range(length))  # by which tokens are known
    for _ in range(3):
        n = len(names) - prefix
        if not n:
            break
        chosen = torch.randperm(n, generator=generator)[: max(1, n // 2)][None]
        places = with_prefix(chosen, prefix)
        sources = sources.kept(places, len(names))
        names = [names[place] for place in places[0].tolist()]
        for place, name in enumerate(names):
            assert sources.owner[0, name] == place
        present = sources.present[0].nonzero().flatten().tolist()
        assert present == sorted(names)
    assert new_places(torch.tensor([[2, 0]]), 4).tolist() == [[1, -1, 0, -1]]


@pytest.mark.parametrize("name", ["evit", "tome"])
def test_the_shares_of_a_token_have_the_sum_one(name):
    model = built(name)
    state = model.encoder.start(images(2, 96))
    with torch.no_grad():
        model.encoder.run(state, range(model.encoder.depth))
    sources = state.sources
    total = torch.zeros(2, state.tokens.shape[1]).scatter_add(1, sources.owner, sources.share)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_evit_begins_with_all_tokens_and_ends_with_its_rate():
    reduction = built("evit", reduction_options={"shrink_epochs": 4}).reduction.train()
    rates = []
    for epoch in range(1, 7):
        reduction.begin_epoch(epoch)
        rates.append(round(reduction.rate, 4))
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[4:] == [0.7, 0.7]
    assert reduction.eval().rate == 0.7


def test_topk_is_evit_without_the_fused_token():
    model = built("topk", keep_rate=0.5, reduction_at=2)
    other = built("evit", keep_rate=0.5, reduction_at=2, reduction_options={"fuse": False})
    batch = images(2, 96)
    with torch.no_grad():
        assert torch.equal(model(batch), other(batch))
    assert issubclass(TopK, EViT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "evti"}, "evit"),
        ({"reduction": "evit", "keep_rate": 0}, "keep_rate"),
        ({"reduction": "evit", "reduction_at": (13,)}, "reduction_at"),
        ({"reduction": "evit", "reduction_options": {"r": 3}}, "fuse"),
        ({"reduction": "tome", "keep_rate": 0.4}, "half"),
        ({"reduction": "tome", "keep_rate": 0.7, "reduction_options": {"r": 3}}, "either"),
        ({"reduction": "tome", "reduction_selector": "gls"}, "does not score"),
        ({"reduction": "evit", "reduction_selector": "psm"}, "one block"),
        ({"reduction": "evovit", "reduction_at": (1, 3)}, "before"),
        ({"keep_rate": 0.5}, "no reduction is named"),
        ({"reduction": 7}, "a reduction is a name"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(options, message):
    with pytest.raises(FgbenchError, match=message) as refused:
        create_model("vit", "fgtest_vit", img_size=96, **options)
    assert "\n" not in str(refused.value)


def test_rotary_positions_follow_the_tokens_that_stay_and_refuse_merged_ones():
    backbone = "eva02_tiny_patch14_224"
    with pytest.raises(FgbenchError, match="rotary"):
        create_model("vit", backbone, reduction="tome")
    model = create_model("vit", backbone, img_size=56, num_classes=3, reduction="topk", keep_rate=0.5).eval()
    with torch.no_grad():
        state = model.encoder.start(images(2, 56))
        model.encoder.run(state, range(model.encoder.depth))
    assert state.rope.shape[:3] == (2, 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_reduction_is_reached_by_the_gradient_in_training(name):
    torch.manual_seed(0)
    model = built(name).train()
    loss, logits = model(images(3, 96), torch.arange(3))
    loss.backward()
    assert logits.shape == (3, 3)
    assert torch.isfinite(loss)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name


def test_ats_takes_as_many_tokens_as_an_image_needs():
    model = built("ats", keep_rate=1.0, reduction_at=(2, 3, 4))
    counts = set()
    for image in images(6, 96, seed=5):
        state = model.encoder.start(image[None])
        with torch.no_grad():
            model.encoder.run(state, range(4))
        counts.add(state.tokens.shape[1])
    assert len(counts) > 1
    assert max(counts) < 37


def test_evo_vit_reads_the_mean_of_all_patches():
    model = built("evovit", readout="mean_patch")
    batch = images(2, 96)
    with torch.no_grad():
        state = model.encoder.start(batch)
        model.encoder.run(state, range(4))
        expected = model.head(model.encoder.norm(state.tokens[:, 1:].mean(dim=1)))
        assert state.tokens.shape[1] == 37
        assert torch.allclose(model(batch), expected, atol=1e-6)
    targets = torch.tensor([0, 1])
    loss, logits = model.train()(batch, targets)
    first = model.class_head(model.class_norm(state.tokens[:, 0]))
    both = [nn.functional.cross_entropy(each, targets, label_smoothing=0.1) for each in (logits, first)]
    assert loss.item() == pytest.approx(sum(both).item() / 2, abs=1e-5)
    assert torch.allclose(logits, expected, atol=1e-6)


def test_every_reduction_says_what_it_is():
    for name in NAMES:
        cls = reductions.load(name)
        assert issubclass(cls, Reduction)
        assert cls.__doc__
        assert cls.default_at
    assert ToMe.makes_tokens
