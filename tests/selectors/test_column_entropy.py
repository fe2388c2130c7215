"""Column entropy: scores that rounding does not decide, their factor, their cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import references
from helpers.lifelike import lifelike_features
from helpers.ranking import assert_same_selection
from helpers.strategies import Case, make_case

from fgbench.flops.counter import count_flops
from fgbench.models.backbone import build_on_meta
from fgbench_selectors import IMPLS, Features, Maps, get
from fgbench_selectors.conformance import as_maps


def nearly_even(seed: int = 0) -> Case:
    """Twelve blocks that mix all tokens: the columns of their product are even to the fifth digit of their values."""
    return make_case(depth=12, grid=(6, 6), head_dim=16, spread=1.1, seed=seed)


def joint_maps(case: Case, image: int) -> np.ndarray:
    """(H, G², G²), in double precision."""
    heads = []
    for h in range(case.logits[image][0].shape[0]):
        joint = references.softmax(case.logits[image][0][h], axis=1)
        for m in case.logits[image][1:-1]:
            joint = references.softmax(m[h], axis=1) @ joint
        heads.append(joint[case.prefix :, case.prefix :])
    return np.stack(heads)


@pytest.mark.parametrize("impl", IMPLS)
def test_columns_that_differ_in_their_last_digits_are_told_apart(impl):
    """Of a small deviation d from its mean, the unevenness of a column is half of d's variance."""
    case = nearly_even()
    joint = np.stack([joint_maps(case, image) for image in range(2)])
    deviation = joint.std(axis=2)
    assert deviation.max() < 1e-5 * joint.mean()
    scores = get("column_entropy", impl=impl)(case.features)
    np.testing.assert_allclose(-scores, deviation**2 / 2, rtol=1e-3)


def test_plain_sums_of_single_precision_would_select_by_rounding():
    """The check above can fail: entropies of about 3.6 have six digits behind the point."""
    joint = torch.from_numpy(joint_maps(nearly_even(), 0)).float()
    k = joint.softmax(dim=1)
    entropy = -(k * k.log()).sum(dim=1)
    chosen, exact = entropy.argmax(dim=-1), -torch.from_numpy(joint_maps(nearly_even(), 0)).std(dim=1)
    assert len(entropy[0].unique()) < 12
    assert not torch.equal(chosen, exact.argmax(dim=-1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("maps", [False, True])
def test_rounded_maps_and_queries_select_what_exact_ones_do(maps, seed):
    """In float32, with rows of maps that sum to one up to their rounding."""
    exact = nearly_even(seed).features
    rounded = exact.map(torch.Tensor.float)
    rounded = as_maps(rounded, logits=False) if maps else rounded
    expected = get("column_entropy")(exact)
    for impl in IMPLS:
        scores = get("column_entropy", impl=impl)(rounded)
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=0)
        chosen = (each.argmax(dim=-1, keepdim=True) for each in (scores, expected))
        assert_same_selection(-(-expected).log(), *chosen, 2e-3)


def test_published_and_fast_select_the_same_on_lifelike_attention():
    features = lifelike_features(images=2, seed=0)
    published, fast = (get("column_entropy", impl=impl)(features) for impl in IMPLS)
    torch.testing.assert_close(fast, published, rtol=1e-4, atol=0)
    assert_same_selection(-(-fast).log(), *(s.argmax(-1, keepdim=True) for s in (published, fast)), 2e-4)


@pytest.mark.parametrize("impl", IMPLS)
def test_the_most_even_column_scores_highest_and_an_even_one_zero(impl):
    rows = [[0.2, 0.2, 0.3, 0.3], [0.1, 0.2, 0.7, 0.0], [0.5, 0.2, 0.3, 0.0], [0.3, 0.2, 0.1, 0.4]]
    probs = torch.tensor(rows, dtype=torch.float64)
    features = Features(attention=[Maps(probs[None, None]), None], num_prefix_tokens=1, grid=(1, 3))
    scores = get("column_entropy", impl=impl)(features)[0, 0]
    assert scores[0].item() == pytest.approx(0, abs=1e-15)
    # between patches: 0.7, 0.3, 0.1 and 0, 0, 0.4
    for column, values in ((1, [0.7, 0.3, 0.1]), (2, [0.0, 0.0, 0.4])):
        k = np.exp(values) / np.exp(values).sum()
        assert scores[column].item() == pytest.approx(-(k * np.log(k)).sum() - np.log(3), rel=1e-9)
    assert scores.argmax() == 0


@pytest.mark.parametrize("impl", IMPLS)
def test_the_factor_multiplies_every_block_but_the_first(impl):
    case = make_case(depth=5, spread=4.0)
    selector = get("column_entropy", impl=impl)
    selector.sigma.fill_(1.7)
    expected = np.stack([references.column_entropy(case.logits[b], case.prefix, 1.7) for b in range(2)])
    np.testing.assert_allclose(selector(case.features), expected, rtol=1e-6, atol=1e-12)
    assert list(selector.state_dict()) == ["sigma"]
    assert not list(selector.parameters())


def test_no_implementation_is_cheaper_than_a_product_of_maps():
    built = build_on_meta("vit_base_patch16_224", 448)
    tokens, heads, width, products = 785, 12, 768, 10
    macs = {}
    for impl in IMPLS:
        selector = get("column_entropy", impl=impl).to("meta")
        features = built.features(selector.needs, ready_maps=impl == "published")
        macs[impl] = count_flops(selector.forward, features).macs
    assert macs["published"] == products * heads * tokens**3
    assert macs["fast"] == macs["published"] + (products + 1) * tokens**2 * width
