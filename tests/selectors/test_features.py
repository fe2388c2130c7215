from __future__ import annotations

import pytest
import torch

from fgbench_selectors import QK, Features, FeaturesError, Maps, Needs, get


def test_a_square_grid_is_inferred():
    assert Features(tokens=torch.zeros(1, 17, 8)).grid == (4, 4)
    assert Features(tokens=torch.zeros(1, 21, 8), num_prefix_tokens=5).grid == (4, 4)
    assert Features(tokens=torch.zeros(1, 16, 8), num_prefix_tokens=0).has_class_token is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Features(), "features are empty"),
        (lambda: Features(tokens=torch.zeros(1, 18, 8)), "17 patch tokens are no square grid"),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), grid=(3, 5)), "do not fill the grid"),
        (lambda: Features(tokens=torch.zeros(17, 8)), r"tokens must be \(B, N, D\)"),
        (lambda: Features(class_logits=torch.zeros(17, 8)), r"class_logits must be \(B, N, classes\)"),
        (
            lambda: Features(tokens=torch.zeros(1, 17, 8), class_logits=torch.zeros(1, 16, 8)),
            r"class_logits, tokens and blocks disagree on \(batch, tokens\)",
        ),
        (lambda: Features(tokens=torch.zeros(1, 3, 8), num_prefix_tokens=3), "no patch tokens are left"),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), num_prefix_tokens=-1), "whole number, got -1"),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), num_prefix_tokens=1.0), "whole number, got 1.0"),
        (
            lambda: Features(tokens=torch.zeros(1, 16, 8), num_prefix_tokens=0, has_class_token=True),
            "has_class_token is set and num_prefix_tokens is 0",
        ),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), grid=4), r"grid must be \(rows, columns\).*, got 4"),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), grid=(-4, -4)), r"grid must be .*, got \(-4, -4\)"),
        (lambda: Features(tokens=torch.zeros(1, 17, 8), grid=(16,)), r"grid must be .*, got \(16,\)"),
        (lambda: Features(attention=QK(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))), r"a list .* got a 'QK'"),
        (
            lambda: Features(tokens=torch.zeros(1, 17, 8), attention=[Maps(torch.zeros(1, 2, 5, 5))]),
            "tokens and blocks disagree",
        ),
        (lambda: Features(attention=[torch.zeros(1, 2, 5, 5)]), "attention of block 1 is a 'Tensor'"),
        (lambda: QK(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 6, 4)), r"must both be \(B, H, N, d\)"),
        (lambda: Maps(torch.zeros(1, 2, 5, 4)), r"probs must be \(B, H, N, N\)"),
        (lambda: Maps(torch.zeros(1, 2, 5, 5), torch.zeros(1, 1, 5, 5)), "logits must be"),
    ],
)
def test_contradictions_are_refused_in_one_line(make, message):
    with pytest.raises(FeaturesError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["psm", "maws", "sacm", "rollout", "attention", "attention_sum", "mhv"])
def test_the_class_tokens_row_is_not_read_from_another_token(name):
    q = torch.randn(1, 2, 20, 4)
    features = Features(attention=[QK(q, q)] * 3, num_prefix_tokens=4, has_class_token=False)
    with pytest.raises(FeaturesError, match="the backbone has no class token"):
        get(name)(features)
    assert get("rollout", reading="rams")(features).shape == (1, 16)


def test_the_scale_of_queries_and_keys_is_the_usual_one_unless_given():
    q = torch.randn(1, 2, 5, 16)
    assert QK(q, q).scale == 0.25
    torch.testing.assert_close(QK(q, q, scale=1.0).logits_map(), q @ q.mT)


def test_class_logits_are_features_by_themselves_and_are_declared_like_others():
    logits = torch.randn(2, 10, 3)
    features = Features(class_logits=logits, num_prefix_tokens=1)
    assert (features.grid, features.device) == ((3, 3), logits.device)
    assert torch.equal(features.map(lambda x: x + 1).read_class_logits(), logits + 1)
    both = Features(tokens=torch.randn(2, 10, 8), class_logits=logits)
    assert both.declared(Needs(tokens=True)).class_logits is None
    assert both.declared(Needs(class_logits=True)).tokens is None
    with pytest.raises(FeaturesError, match="logits of a classifier for every token are needed"):
        get("confidence")(both.declared(Needs(tokens=True)))
