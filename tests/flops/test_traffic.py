"""Bytes that operators move, against arithmetic by hand – with data, without, and when a result is repeated."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fgbench import count_flops
from fgbench.flops.traffic import held_bytes
from fgbench_selectors import QK, Features, get

F4, F2, I8 = 4, 2, 8  # bytes of float32, float16, int64

# name: (function of the tensor maker, bytes by hand)
CASES = {
    "softmax reads and writes every element": (lambda new: new(3, 5).softmax(-1), 2 * 15 * F4),
    "a product reads both and writes one": (lambda new: new(2, 3, 4) @ new(2, 4, 5), (24 + 40 + 30) * F4),
    "bmm": (lambda new: torch.bmm(new(2, 3, 4), new(2, 4, 5)), (24 + 40 + 30) * F4),
    "half precision is half": (lambda new: new(3, 5).half().exp(), 15 * (F4 + F2) + 15 * 2 * F2),
    "broadcasting reads what there is": (lambda new: new(3, 1) + new(1, 5), (3 + 5 + 15) * F4),
    "an expanded axis exists once": (lambda new: new(3, 1).expand(3, 5) * 2, (3 + 15) * F4),
    "an argument given twice is read once": (lambda new: (lambda x: x * x)(new(4, 6)), 2 * 24 * F4),
    "views": (lambda new: new(4, 6).t()[1:3].reshape(2, 4).unsqueeze(0).detach(), 0),
    "a reshape that copies": (lambda new: new(4, 6).t().reshape(24), 2 * 24 * F4),
    "contiguous copies or not": (lambda new: (new(4, 6).contiguous(), new(4, 6).t().contiguous()), 2 * 24 * F4),
    "splitting": (lambda new: [part.exp() for part in new(4, 6).split(2)], 2 * 24 * F4),
    "part of a tensor": (lambda new: new(4, 6)[:, 0].exp(), 2 * 4 * F4),
    "in place": (lambda new: new(4, 6).add_(1), 2 * 24 * F4),
    "in place from another": (lambda new: new(4, 6).mul_(new(6)), (24 + 6 + 24) * F4),
    "a place for the result is written": (
        lambda new: torch.bmm(new(2, 3, 4), new(2, 4, 5), out=new(2, 3, 5)),
        (24 + 40 + 30) * F4,
    ),
    "filling writes": (lambda new: (new(4, 6).fill_(1), new(4, 6).zero_()), 2 * 24 * F4),
    "copying reads one and writes the other": (lambda new: new(4, 6).copy_(new(6)), (6 + 24) * F4),
    "zeros like another": (lambda new: torch.zeros_like(new(4, 6)), 24 * F4),
    "empty": (lambda new: new(4, 6).new_empty(9), 0),
    "cat": (lambda new: torch.cat([new(2, 3), new(4, 3)]), 2 * 18 * F4),
    "stack": (lambda new: torch.stack([new(2, 3), new(2, 3)]), 2 * 12 * F4),
    "clone and cast": (lambda new: new(4, 6).clone().double(), 24 * (2 * F4 + F4 + 8)),
    "two results": (lambda new: new(4, 6).max(dim=1), 24 * F4 + 4 * (F4 + I8)),
    "fused attention": (
        lambda new: functional.scaled_dot_product_attention(*(new(1, 2, 9, 4) for _ in range(3))),
        4 * 72 * F4,
    ),
    "what a norm saves for its gradient": (
        lambda new: functional.layer_norm(new(5, 8), (8,), new(8), new(8)),
        (40 + 2 * 8 + 40) * F4,
    ),
    "a norm": (lambda new: functional.rms_norm(new(5, 8), (8,), new(8)), (40 + 8 + 40) * F4),
}


def picks_rows(new):
    index = torch.zeros(2, dtype=torch.int64, device=new(1).device)
    return new(100, 8).index_select(0, index)


def looks_up(new):
    """Two bags of three rows, for which a table of a hundred is not read."""
    index, starts = (torch.empty(n, dtype=torch.int64, device=new(1).device) for n in (6, 2))
    index, starts = index.zero_(), starts.zero_()
    return functional.embedding_bag(index, new(100, 8), starts, mode="sum")


CASES["bags read the rows they look up"] = (looks_up, 8 * I8 + 6 * 8 * F4 + 8 * I8 + 2 * 8 * F4)  # zeros are written
CASES["picking rows reads them alone"] = (picks_rows, (16 + 16) * F4 + 2 * I8 + 2 * I8)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", CASES)
def test_bytes_by_hand(name, device):
    run, expected = CASES[name]

    def new(*shape: int) -> torch.Tensor:
        return made[shape].pop()

    shapes: list[tuple[int, ...]] = []

    def note(*shape: int) -> torch.Tensor:
        shapes.append(shape)
        return torch.ones(shape, device=device)

    run(note)
    made = {shape: [torch.ones(shape, device=device) for _ in range(2 * shapes.count(shape))] for shape in shapes}
    assert count_flops(lambda: run(new)).bytes == expected
    made = {shape: [torch.ones(shape, device=device) for _ in range(2 * shapes.count(shape))] for shape in shapes}
    assert count_flops(lambda: (run(new), run(new))).bytes == 2 * expected, "a repeated result"


def test_what_selectors_stream_is_one_operator():
    q, k, v = (torch.empty(1, 2, 9, 4, device="meta") for _ in range(3))
    lse = torch.empty(1, 2, 9, device="meta")
    row = v[..., 0].contiguous()
    assert count_flops(lambda: QK(q, k, lse=lse).left(row)).bytes == (2 * 72 + 3 * 18) * F4
    assert count_flops(lambda: QK(q, k).left(row)).bytes == (2 * 72 + 2 * 18) * F4
    assert count_flops(lambda: QK(q, k).logsumexp()).bytes == (2 * 72 + 18) * F4


# name: (function of the tensor maker, bytes of new tensors by hand)
MADE = {
    "every result": (lambda new: (new(3, 5) * 2).softmax(-1), 2 * 15 * F4),
    "views make nothing": (lambda new: new(4, 6).t()[1:3].reshape(2, 4).unsqueeze(0).detach(), 0),
    "a reshape that copies": (lambda new: new(4, 6).t().reshape(24), 24 * F4),
    "contiguous copies or not": (lambda new: (new(4, 6).contiguous(), new(4, 6).t().contiguous()), 24 * F4),
    "in place": (lambda new: new(4, 6).add_(1).mul_(new(6)), 0),
    "a place for the result": (lambda new: torch.bmm(new(2, 3, 4), new(2, 4, 5), out=new(2, 3, 5)), 0),
    "empty memory is taken": (lambda new: new(4, 6).new_empty(9).fill_(1), 9 * F4),
    "two results": (lambda new: new(4, 6).max(dim=1), 4 * (F4 + I8)),
    "splitting": (lambda new: [part.exp() for part in new(4, 6).split(2)], 24 * F4),
    "a cast": (lambda new: new(4, 6).half(), 24 * F2),
    "what a norm saves for its gradient": (
        lambda new: functional.layer_norm(new(5, 8), (8,), new(8), new(8)),
        40 * F4,
    ),
    "fused attention keeps no map": (
        lambda new: functional.scaled_dot_product_attention(*(new(1, 2, 9, 4) for _ in range(3))),
        72 * F4,
    ),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", MADE)
def test_bytes_of_new_tensors_by_hand(name, device):
    run, expected = MADE[name]
    made = [run_with_ready_tensors(run, device) for _ in range(2)]
    assert count_flops(made[0]).activation_bytes == expected
    assert count_flops(lambda: (made[0](), made[1]())).activation_bytes == 2 * expected, "a repeated result"


def run_with_ready_tensors(run, device):
    """The same run, on tensors that are there before it is counted."""
    shapes: list[tuple[int, ...]] = []

    def note(*shape: int) -> torch.Tensor:
        shapes.append(shape)
        return torch.ones(shape, device=device)

    run(note)
    ready = [torch.ones(shape, device=device) for shape in shapes]

    def again() -> None:
        left = iter(ready)
        run(lambda *_: next(left))

    return again


def test_what_a_published_selector_makes_grows_with_the_square_of_the_tokens():
    def made(tokens: int, impl: str) -> int:
        features = Features(
            tokens=None,
            attention=[QK(*torch.empty(2, 1, 2, tokens, 4, device="meta")) for _ in range(3)],
            num_prefix_tokens=1,
            grid=(1, tokens - 1),
        )
        return count_flops(lambda: get("rollout", impl=impl)(features)).activation_bytes

    assert 3.5 < made(401, "published") / made(201, "published") < 4.5
    assert 1.8 < made(401, "fast") / made(201, "fast") < 2.2


def test_sparse_tensors_are_counted_whole():
    assert held_bytes(torch.eye(3).to_sparse()) == 9 * F4
    assert held_bytes(torch.empty(0, 3)) == 0
