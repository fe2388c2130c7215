"""No fast selector builds an N×N map from queries and keys."""

from __future__ import annotations

import pytest
import torch
from strategies import make_case
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fgbench_selectors.qk
from fgbench_selectors import get, selectors

GRID, HEADS = (16, 16), 2
TOKENS = GRID[0] * GRID[1] + 1


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor had that any operator returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


def largest(name: str, impl: str) -> int:
    features = make_case(batch=1, heads=HEADS, grid=GRID).features
    with LargestTensor() as seen:
        get(name, impl=impl)(features)
    return seen.elements


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(fgbench_selectors.qk, "STREAM_ELEMENTS", 16 * HEADS * TOKENS)
    monkeypatch.setattr(fgbench_selectors.qk, "MIN_STREAM_ROWS", 1)


@pytest.mark.parametrize("name", selectors.names())
def test_fast_takes_memory_that_is_linear_in_the_tokens(name):
    assert largest(name, "fast") <= 16 * HEADS * TOKENS < TOKENS**2


@pytest.mark.parametrize("name", ["psm", "rollout", "maws", "sacm", "attention"])
def test_published_builds_the_maps(name):
    """The check above can fail."""
    assert largest(name, "published") >= HEADS * TOKENS**2
