"""No fast selector builds an N×N map from queries and keys, whatever the size; memory grows with N alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fgbench_selectors import QK, Features, get, selectors
from fgbench_selectors.backends.blocks import MIN_STREAM_ROWS, STREAM_ELEMENTS
from fgbench_selectors.backends.left import DENSE_TOKENS

HEADS, HEAD_DIM = 12, 64
SIDES = [4, 14, 23, 28, 64]  # up to 1024 pixels; 23 is the last at which all rows would fit into one block


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor had that any operator returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


def largest(name: str, impl: str, side: int, batch: int = 1, device: str = "cpu") -> int:
    tokens = side**2 + 1
    per_head = torch.zeros(batch, HEADS, tokens, HEAD_DIM, device=device)
    per_token = torch.zeros(batch, tokens, HEADS * HEAD_DIM, device=device)
    features = Features(tokens=per_token, attention=[QK(per_head, per_head)] * 3, class_logits=per_token)
    with LargestTensor() as seen:
        get(name, impl=impl)(features)
    return seen.elements


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", selectors.names())
def test_fast_never_builds_a_map_but_a_small_one(name, side):
    if name == "column_entropy" and side > 28:
        pytest.skip("a product of whole maps takes minutes")
    tokens = side**2 + 1
    features = HEADS * tokens * HEAD_DIM
    quarter = HEADS * tokens * math.ceil(tokens / 4)
    dense = HEADS * min(tokens, DENSE_TOKENS) ** 2
    assert largest(name, "fast", side) <= max(features, dense, min(quarter, STREAM_ELEMENTS))


@pytest.mark.parametrize("name", selectors.names())
def test_fast_takes_a_few_rows_of_a_large_batch_at_a_time(name):
    side = 14 if name == "column_entropy" else 28  # it multiplies whole maps
    batch, tokens = 16, side**2 + 1  # as many that a block has the fewest rows
    features = batch * HEADS * tokens * HEAD_DIM
    assert largest(name, "fast", side, batch) <= max(features, batch * HEADS * tokens * MIN_STREAM_ROWS)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "name",
    ["psm", "rollout", "maws", "sacm", "attention", "attention_sum", "mhv", "column_mass", "column_entropy"],
)
def test_published_builds_the_maps(name, side):
    """The checks above can fail."""
    assert largest(name, "published", side, device="meta") >= HEADS * (side**2 + 1) ** 2
