"""Every selector, both implementations, from queries and keys and from ready maps, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import references
from helpers.ranking import assert_same_selection
from helpers.strategies import Case, cases, make_case
from hypothesis import given, settings

import fgbench_selectors.backends.blocks
import fgbench_selectors.backends.left
from fgbench_selectors import IMPLS, BrokenPluginError, Features, FeaturesError, FgbenchError, Maps, get

REFERENCES = {
    "psm": lambda case, b: references.psm(case.logits[b], case.prefix),
    "rollout": lambda case, b: references.rollout(case.logits[b], case.prefix),
    "maws": lambda case, b: references.maws(case.logits[b]),
    "sacm": lambda case, b: references.sacm_untrained(case.logits[b], case.prefix),
    "gls": lambda case, b: references.gls(case.tokens[b], case.prefix),
    "attention": lambda case, b: references.attention(case.logits[b], case.prefix),
    "mhv": lambda case, b: references.mhv(case.logits[b], case.prefix, case.features.grid),
    "column_mass": lambda case, b: references.column_mass(case.logits[b], case.prefix),
    "column_entropy": lambda case, b: references.column_entropy(case.logits[b], case.prefix),
    "confidence": lambda case, b: references.confidence(case.class_logits[b]),
    "attention_sum": lambda case, b: references.attention_sum(case.logits[b], case.prefix),
}
IN_FLOAT64 = ("sacm", "column_entropy")


@pytest.fixture(params=["dense", "few blocks", "many blocks", "kernel"], autouse=True)
def backend(request, monkeypatch):
    """Run everything by every back end that a CPU has."""
    blocks, left = fgbench_selectors.backends.blocks, fgbench_selectors.backends.left
    monkeypatch.setattr(left, "choose", lambda q: request.param.rpartition(" ")[2])
    monkeypatch.setattr(blocks, "STREAM_ELEMENTS", 1 if request.param == "many blocks" else 4096)
    monkeypatch.setattr(blocks, "MIN_STREAM_ROWS", 3)
    return request.param


def batch_of(reference, case: Case) -> np.ndarray:
    return np.stack([reference(case, b) for b in range(len(case.logits))])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", REFERENCES)
@given(case=cases())
@settings(max_examples=25, deadline=None)
def test_scores_equal_the_formula(name, impl, case):
    expected = batch_of(REFERENCES[name], case)
    for features in (case.features, case.maps()):
        scores = get(name, impl=impl)(features).detach()
        assert scores.shape == expected.shape
        np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("reading", ["cls", "dcal", "rams", "ev"])
@given(case=cases())
@settings(max_examples=15, deadline=None)
def test_rollout_reads_as_each_paper_does(impl, reading, case):
    expected = batch_of(lambda c, b: references.rollout(c.logits[b], c.prefix, reading), case)
    scores = get("rollout", impl=impl, reading=reading)(case.features)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("metric", ["cosine", "l1", "l2"])
@given(case=cases())
@settings(max_examples=15, deadline=None)
def test_gls_in_every_metric_scores_the_most_similar_patch_highest(impl, metric, case):
    expected = batch_of(lambda c, b: references.gls(c.tokens[b], c.prefix, metric), case)
    scores = get("gls", impl=impl, metric=metric)(case.features)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
@given(case=cases())
@settings(max_examples=15, deadline=None)
def test_confidence_reads_the_class_of_the_token_or_of_the_image(impl, case):
    expected = batch_of(lambda c, b: references.confidence(c.class_logits[b], "image"), case)
    scores = get("confidence", impl=impl, reading="image")(case.features)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("prefix", [0, 4])
def test_gls_without_a_class_token_reads_the_mean_patch(impl, prefix):
    case = make_case(prefix=1)
    tokens = case.features.tokens[:, 1:]
    registers = torch.randn(2, prefix, tokens.shape[2], dtype=tokens.dtype)
    features = Features(
        tokens=torch.cat([registers, tokens], dim=1),
        num_prefix_tokens=prefix,
        has_class_token=False,
    )
    expected = [references.gls(image, 0, class_token=False) for image in tokens.numpy()]
    np.testing.assert_allclose(get("gls", impl=impl)(features), np.stack(expected), rtol=1e-9)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("block", [0, 2, -2])
def test_attention_reads_the_block_it_is_told(impl, block):
    case = make_case()
    expected = batch_of(lambda c, b: references.attention(c.logits[b], c.prefix, block), case)
    np.testing.assert_allclose(get("attention", impl=impl, block=block)(case.features), expected, rtol=1e-9)


@pytest.mark.parametrize("impl", IMPLS)
def test_sacm_weighs_blocks_by_its_excitation(impl):
    case = make_case(depth=3)
    selector = get("sacm", impl=impl, depth=3, hidden_ratio=2)
    selector = selector.double()
    first, _, last, _ = selector.excitation
    assert first.out_features == 6
    for layer in (first, last):
        torch.nn.init.normal_(layer.weight, std=30)
        torch.nn.init.normal_(layer.bias)
    weights = [p.detach().numpy() for p in (first.weight, first.bias, last.weight, last.bias)]
    expected = batch_of(lambda c, b: references.sacm_trained(c.logits[b], c.prefix, *weights), case)
    np.testing.assert_allclose(selector(case.features).detach(), expected, rtol=1e-6)


def test_sacm_ranks_patches_where_the_product_of_heads_leaves_float32():
    case = make_case(batch=1, heads=16, head_dim=4, depth=2, grid=(20, 20), spread=0.3)
    expected = batch_of(REFERENCES["sacm"], case)
    assert expected.max() < torch.finfo(torch.float32).tiny
    for impl in IMPLS:
        scores = get("sacm", impl=impl)(case.features.map(torch.Tensor.float)).detach()
        np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "sacm"])
@pytest.mark.parametrize("impl", IMPLS)
def test_no_gradient_flows_through_a_selection(name, impl):
    features = make_case().features.map(lambda x: x.requires_grad_())
    assert not get(name, impl=impl)(features).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_fast_scores_of_half_precision_are_exact_for_the_halves(name, dtype, backend):
    """The only rounding is the one of the queries, keys and tokens themselves.

    Of halves, a CPU's fused kernel takes exponentials that are good to a few in 10⁵.
    """
    rounded = make_case(grid=(6, 6), head_dim=16).features.map(lambda x: x.to(dtype))
    exact = rounded.map(lambda x: x.double())
    scores = get(name)(rounded)
    assert scores.dtype == (torch.float64 if name in IN_FLOAT64 else torch.float32)
    rtol, atol = (1e-4, 1e-5) if backend == "kernel" else (2e-5, 1e-7)
    torch.testing.assert_close(scores.double(), get(name)(exact), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", REFERENCES)
def test_autocast_does_not_round_fast_scores(name):
    features = make_case(grid=(6, 6)).features.map(torch.Tensor.float)
    expected = get(name)(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(get(name)(features), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_fast_scores_of_half_maps_lose_no_more_than_the_maps_did(name, dtype):
    case = make_case(grid=(6, 6))
    halves = case.maps().map(lambda x: x.to(dtype))
    exact = halves.map(lambda x: x.double())
    torch.testing.assert_close(get(name)(halves).double(), get(name)(exact), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_published_runs_in_half_precision(name, dtype):
    features = make_case().features.map(lambda x: x.to(dtype))
    scores = get(name, impl="published")(features)
    assert scores.isfinite().all()
    expected = get(name)(features)
    roundings = 8 if name == "column_entropy" else 4  # it squares differences
    torch.testing.assert_close(scores.double(), expected.double(), rtol=roundings * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", REFERENCES)
def test_an_empty_batch_has_empty_scores_of_the_right_shape(name, impl):
    case = make_case()
    for features in (case.features, case.maps()):
        scores, empty = (get(name, impl=impl)(f) for f in (features, features.map(lambda x: x[:0])))
        assert empty.shape == (0, *scores.shape[1:])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_map_that_attends_to_no_patch_scores_zero_in_evs_reading(impl, dtype):
    probs = torch.zeros(1, 2, 5, 5, dtype=dtype)
    probs[..., 0] = 1
    scores = get("rollout", impl=impl, reading="ev")(Features(attention=[Maps(probs)] * 3))
    assert scores.tolist() == [[0.0] * 4]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("where", [0, 3], ids=["class token", "patch"])
def test_gls_of_a_token_without_length_is_zero(impl, where):
    tokens = torch.ones(1, 5, 8)
    tokens[:, where] = 0
    scores = get("gls", impl=impl)(Features(tokens=tokens))
    torch.testing.assert_close(scores, torch.tensor([[0.0] * 4 if where == 0 else [1.0, 1.0, 0.0, 1.0]]))


@pytest.mark.parametrize("impl", IMPLS)
def test_scores_are_no_view_of_the_callers_maps(impl):
    maps = Maps(torch.rand(1, 2, 5, 5))
    before = maps.probs.clone()
    get("psm", impl=impl)(Features(attention=[maps, None])).zero_()
    assert torch.equal(maps.probs, before)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "mhv"])
def test_equal_patches_score_equally(name):
    """Ties stay ties: with equal tokens everywhere no patch is preferred, but by votes, which have an order."""
    case = make_case()
    features = case.features.map(lambda x: x[..., :1, :].expand_as(x).contiguous())
    for impl in IMPLS:
        scores = get(name, impl=impl)(features).detach()
        patches = scores[..., 1:] if name == "maws" else scores
        torch.testing.assert_close(patches, patches[..., :1].expand_as(patches))


def one_row(row: list[float], heads: int = 1) -> Features:
    """Features of two blocks whose class token attends to the patches as given, in every head."""
    probs = torch.zeros(1, heads, len(row) + 1, len(row) + 1)
    probs[..., 0, 1:] = torch.tensor(row)
    return Features(attention=[Maps(probs)] * 2)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (4, [1, 2, 1, 2, 4, 2, 1, 2, 1]),  # the middle of 3×3 patches
        (0, [4, 2, 0, 2, 1, 0, 0, 0, 0]),  # a corner: nothing lies outside of the grid
    ],
)
def test_a_vote_counts_for_its_neighbours_too(impl, best, expected):
    row = [0.1] * 9
    row[best] = 0.2
    scores = get("mhv", impl=impl, votes=1)(one_row(row, heads=5))
    assert scores.tolist() == [[[5 * score for score in expected]]]


@pytest.mark.parametrize("impl", IMPLS)
def test_among_equal_attention_a_head_votes_for_the_first_patches(impl):
    first_two, all_alike = (get("mhv", impl=impl, votes=votes)(one_row([0.1] * 9))[0, 0] for votes in (2, 9))
    assert first_two.tolist() == [6, 6, 2, 3, 3, 1, 0, 0, 0]
    assert all_alike.tolist() == [9, 12, 9, 12, 16, 12, 9, 12, 9]
    more = get("mhv", impl=impl, votes=100)(one_row([0.3, 0.2, 0.1] * 3))[0, 0]
    assert torch.equal(more, all_alike)


@pytest.mark.parametrize("impl", IMPLS)
def test_column_mass_leaves_out_the_class_token_and_registers(impl):
    probs = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.6, 0.2], [0.1, 0.2, 0.3, 0.4]])
    features = Features(attention=[Maps(probs.expand(1, 2, 4, 4))], num_prefix_tokens=2, grid=(1, 2))
    torch.testing.assert_close(get("column_mass", impl=impl)(features), torch.tensor([[0.9, 0.6]]))


@pytest.mark.parametrize("impl", IMPLS)
def test_the_attention_of_the_last_blocks_is_added(impl):
    case = make_case(depth=11)
    for count in (1, 3, 9, 20):
        scores = get("attention_sum", impl=impl, blocks=count)(case.features).numpy()
        expected = batch_of(lambda case, b, n=count: references.attention_sum(case.logits[b], case.prefix, n), case)
        np.testing.assert_allclose(scores, expected, rtol=1e-9)
    first = Features(attention=[None, None, *case.features.attention[2:]], num_prefix_tokens=case.prefix)
    torch.testing.assert_close(get("attention_sum", impl=impl)(first), get("attention_sum")(case.features))
    with pytest.raises(FeaturesError, match="attention of block 2 is needed"):
        get("attention_sum", impl=impl, blocks=10)(first)


@pytest.mark.parametrize("name", ["psm", "rollout"])
def test_fast_picks_the_same_patches_in_float32(name):
    for seed in range(5):
        features = make_case(heads=4, depth=12, grid=(14, 14), seed=seed, head_dim=16).features.map(torch.Tensor.float)
        published, fast = (get(name, impl=impl)(features) for impl in IMPLS)
        torch.testing.assert_close(fast, published, rtol=2e-5, atol=1e-8)
        chosen = (scores.argmax(-1, keepdim=True) for scores in (fast, published))
        assert_same_selection(published.log(), *chosen, 4e-5)


def test_maws_says_that_maps_without_logits_do_not_suffice():
    case = make_case()
    features = Features(attention=[Maps(block.probs_map()) for block in case.features.attention])
    for impl in IMPLS:
        with pytest.raises(FeaturesError, match="logits are needed"):
            get("maws", impl=impl)(features)


def test_blocks_that_were_not_recorded_are_named():
    case = make_case(depth=4)
    blocks = [*case.features.attention[:1], None, *case.features.attention[2:]]
    with pytest.raises(FeaturesError, match="attention of block 2 is needed"):
        get("psm")(Features(attention=blocks))
    with pytest.raises(FeaturesError, match="tokens after the last norm"):
        get("gls")(Features(attention=case.features.attention))


@pytest.mark.parametrize("name", ["psm", "maws", "mhv"])
def test_the_last_block_is_not_needed_where_the_paper_does_not_read_it(name):
    case = make_case()
    without = Features(attention=[*case.features.attention[:-1], None])
    torch.testing.assert_close(get(name)(without), get(name)(case.features))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rollout", {"reading": "row"}, "unknown reading"),
        ("gls", {"metric": "dot"}, "unknown similarity metric"),
        ("psm", {"impl": "quick"}, "unknown implementation"),
        ("attention", {"block": "last"}, "whole number"),
        ("sacm", {"depth": 0}, "depth must be a whole number from 1, got 0"),
        ("sacm", {"depth": "12"}, "depth must be a whole number from 1, got '12'"),
        ("sacm", {"hidden_ratio": -1}, "hidden_ratio must be a positive number, got -1"),
        ("sacm", {"hidden_ratio": float("nan")}, "hidden_ratio must be a positive number, got nan"),
        ("attention_sum", {"blocks": 0}, "blocks must be a whole number from 1, got 0"),
        ("attention_sum", {"blocks": 2.5}, "blocks must be a whole number from 1, got 2.5"),
        ("mhv", {"votes": 0}, "votes must be a whole number from 1, got 0"),
        ("mhv", {"votes": True}, "votes must be a whole number from 1, got True"),
        ("confidence", {"reading": "class"}, "unknown reading of confidence 'class'"),
        ("sacm", {"activation": "relu"}, "activation must be a class of torch.nn modules, got 'relu'; such as nn.ReLU"),
        ("psm", {"heads": 3}, "has no option 'heads'"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(FgbenchError, match=message) as caught:
        get(name, **options)
    assert not isinstance(caught.value, BrokenPluginError)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("reading", ["token", "image"])
def test_confident_tokens_keep_their_order(impl, reading):
    """Logits of a trained head: every probability is near 1, where a difference of logarithms is rounded coarsely."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 400, 20, generator=generator)
    logits[..., 3] += 14 + 4 * torch.rand(2, 400, generator=generator)
    features = Features(class_logits=logits, num_prefix_tokens=0, grid=(20, 20))
    scores = get("confidence", impl=impl, reading=reading)(features)
    exact = torch.softmax(logits.double(), dim=-1)[..., 3]
    assert (scores.double() - exact).abs().max() < 4e-7
