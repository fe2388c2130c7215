"""The methods of ``QK`` and ``Maps``: gradients, copies, inconsistent shapes."""

from __future__ import annotations

import pytest
import torch
from helpers.strategies import make_case

import fgbench_selectors.backends.blocks
from fgbench_selectors import QK, FeaturesError, Maps


@pytest.fixture(params=[1, 3, 64], ids="{} rows a block".format)
def stream_rows(request, monkeypatch):
    monkeypatch.setattr(fgbench_selectors.backends.blocks, "STREAM_ELEMENTS", 1)
    monkeypatch.setattr(fgbench_selectors.backends.blocks, "MIN_STREAM_ROWS", request.param)


def blocks() -> list[QK | Maps]:
    case = make_case(depth=2)
    return [*case.features.attention, *case.maps().attention]


@pytest.mark.usefixtures("stream_rows")
@pytest.mark.parametrize("index", range(4), ids=["QK", "QK", "Maps", "Maps"])
def test_gradient_flows_through_left_to_the_vector(index):
    block = blocks()[index]
    v = torch.rand(block.shape, dtype=torch.float64, requires_grad=True)
    weights = torch.rand_like(v)
    (block.left(v) * weights).sum().backward()
    torch.testing.assert_close(v.grad, (block.probs_map() @ weights.unsqueeze(-1)).squeeze(-1))


@pytest.mark.usefixtures("stream_rows")
def test_gradient_flows_through_a_chain_of_left_mean():
    first, second, *_ = blocks()
    v = torch.rand(2, first.shape[2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: second.left_mean(first.left_mean(v)), v)


def test_streams_read_queries_and_keys_without_gradient_and_rows_with_it():
    q = torch.rand(1, 2, 9, 4, requires_grad=True)
    block = QK(q, q)
    assert not block.left(torch.rand(1, 2, 9)).requires_grad
    assert not any(x.requires_grad for x in block.head_product())
    assert block.row(0).requires_grad
    assert block.column_softmax(0).requires_grad


def test_a_row_of_ready_maps_can_be_changed_without_changing_them():
    maps = Maps(torch.rand(1, 2, 5, 5))
    before = maps.probs.clone()
    maps.row(0).zero_()
    assert torch.equal(maps.probs, before)


@pytest.mark.parametrize(
    ("q", "k", "message"),
    [
        (torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4).half(), r"dtype, got \('torch.float32', 'torch.float16'\)"),
        (torch.zeros(1, 2, 5, 4).long(), torch.zeros(1, 2, 5, 4).long(), "must share a floating-point dtype"),
        (torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4, device="meta"), r"device, got \('cpu', 'meta'\)"),
        (torch.zeros(1, 2, 5, 0), torch.zeros(1, 2, 5, 0), r"must both be \(B, H, N, d\)"),
    ],
)
def test_queries_and_keys_that_do_not_fit_each_other_are_refused(q, k, message):
    with pytest.raises(FeaturesError, match=message):
        QK(q, k)
