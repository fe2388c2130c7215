"""Half precision selects the tokens that float32 selects, on attention that looks like a trained network's.

How that is judged. A half-precision backbone hands over queries and keys that are rounded; nothing behind it can undo
that. So there are two questions:

* what the selector adds: its choice from rounded queries and keys, against the exact choice (float64) from the same
  ones. At least 99.9 % of the choices are equal.
* what the rounding of queries and keys costs before: the choice from rounded ones, against that from float32 ones.
  At least 99.9 % are equal in float16; bfloat16 has three digits of precision less than it takes for that.

A choice is what a model makes: the best patch of a head (PSM, TransFG), of an image (rollout, attention, column mass),
of a block (MAWS). Where two choices differ, they are near-ties: by the exact scores the chosen patch is worth as much
as the best one, within the rounding of a logit.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from helpers.lifelike import lifelike_features

import fgbench_selectors.backends.left
from fgbench_selectors import Features, get
from fgbench_selectors.backends import fused

NAMES = ("psm", "rollout", "attention", "maws", "column_mass")
SAME = 0.999
HALVES = {torch.float16: SAME, torch.bfloat16: 0.99}  # and what is left after the inputs alone are rounded
NEAR_TIE = {torch.float16: 2**-9, torch.bfloat16: 2**-6}  # of the best score: a logit of 4, rounded


def with_logsumexp(features: Features) -> Features:
    """What a backbone hands over: ℓ by the kernel that attends, in the precision of the queries."""
    blocks = [type(b)(b.q, b.k, b.scale, fused.attend(b.q, b.k, b.k, b.scale)[1]) for b in features.attention]
    return Features(attention=blocks)


def choices(impl: str, features: Features) -> list[torch.Tensor]:
    """Scores by selector, in float64."""
    return [get(name, impl=impl)(features).double() for name in NAMES]


@cache
def features(seed: int, dtype: torch.dtype = torch.float32) -> Features:
    return lifelike_features(images=4, seed=seed).map(lambda x: x.to(dtype))


@cache
def exact_choices(seed: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return choices("fast", features(seed, dtype).map(lambda x: x.double()))


def compare(dtype: torch.dtype, impl: str = "fast", *, rounded_inputs: bool, seeds: int = 10) -> tuple[float, float]:
    """The share of equal choices, and how much the worst of the others is worth less than the best."""
    equal, losses = [], []
    for seed in range(seeds):
        halves = features(seed, dtype)
        exact = exact_choices(seed, dtype if rounded_inputs else torch.float32)
        found = choices(impl, with_logsumexp(halves) if impl == "fast" else halves)
        for scores, best in zip(found, exact, strict=True):
            chosen = scores.argmax(dim=-1, keepdim=True)
            equal.append((chosen == best.argmax(dim=-1, keepdim=True)).flatten())
            losses.append((1 - best.gather(-1, chosen) / best.amax(dim=-1, keepdim=True)).flatten())
    return torch.cat(equal).double().mean().item(), torch.cat(losses).max().item()


@pytest.mark.parametrize("backend", [pytest.param("dense", marks=pytest.mark.thorough), "blocks", "kernel"])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_selector_adds_no_rounding_that_changes_a_choice(dtype, backend, monkeypatch):
    monkeypatch.setattr(fgbench_selectors.backends.left, "choose", lambda q: backend)
    same, worst = compare(dtype, rounded_inputs=True)
    assert same >= SAME
    assert worst <= 1e-4


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_rounded_queries_and_keys_change_near_ties_alone(dtype):
    same, worst = compare(dtype, rounded_inputs=False)
    assert same >= HALVES[dtype]
    assert worst <= NEAR_TIE[dtype]


def test_the_published_operations_in_half_precision_do_change_choices():
    """The checks above can fail: products of maps that are rounded in every block are not what was selected by."""
    same, _ = compare(torch.bfloat16, "published", rounded_inputs=True, seeds=2)
    assert same < SAME


def test_the_attention_is_peaked_as_a_trained_network_s_is():
    rows = lifelike_features(images=2, seed=0).attention[5].probs_map()
    assert 0.1 < rows.amax(dim=-1).median() < 0.3
    entropy = -(rows * rows.clamp_min(1e-30).log()).sum(dim=-1)
    assert 30 < entropy.exp().median() < 70
