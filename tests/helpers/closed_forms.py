"""The cost of every operator in closed form, for random sizes, by NumPy and arithmetic.

Nothing here asks fgbench what something costs. A case is a function that draws sizes and returns the call and its work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from torch.nn import functional

ATEN = torch.ops.aten
Work = tuple[int, int, int]  # macs, norms, others
Case = Callable[["Draw"], tuple[Callable[[], Any], Work]]
MAX_SIDE = 4


class Draw:
    """Sizes and tensors of one example."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def size(self, low: int = 1, high: int = MAX_SIDE) -> int:
        return self._data.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self._data.draw(st.booleans())

    def one_of(self, *values: Any) -> Any:
        return self._data.draw(st.sampled_from(values))

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(self.size(low, high)))

    def together(self, number: int, low: int = 0, high: int = 4) -> list[tuple[int, ...]]:
        """Shapes that broadcast to one another."""
        drawn = self._data.draw(
            mutually_broadcastable_shapes(num_shapes=number, min_dims=low, max_dims=high, max_side=MAX_SIDE)
        )
        return list(drawn.input_shapes)


def floats(*shape: int, device: str = "cpu") -> torch.Tensor:
    return torch.rand(shape, device=device)


def count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(*map(tuple, shapes)))


# Products


def mm(d: Draw):
    n, k, m = d.size(0), d.size(), d.size()
    return lambda: torch.mm(floats(n, k), floats(k, m)), (n * k * m, 0, 0)


def int_mm(d: Draw):
    n, k, m = 17, 8 * d.size(), 8 * d.size()
    whole = {"dtype": torch.int8, "device": "meta"}
    return lambda: torch._int_mm(torch.empty(n, k, **whole), torch.empty(k, m, **whole)), (n * k * m, 0, 0)


def bmm(d: Draw):
    b, n, k, m = d.size(), d.size(), d.size(), d.size()
    return lambda: torch.bmm(floats(b, n, k), floats(b, k, m)), (b * n * k * m, 0, 0)


def baddbmm(d: Draw):
    b, n, k, m = d.size(), d.size(), d.size(), d.size()
    added = d.one_of((b, n, m), (1, n, m), (n, 1), (m,), ())
    return lambda: torch.baddbmm(floats(*added), floats(b, n, k), floats(b, k, m)), (b * n * k * m, 0, 0)


def addbmm(d: Draw):
    b, n, k, m = d.size(), d.size(), d.size(), d.size()
    added = d.one_of((n, m), (n, 1), (m,))
    return lambda: torch.addbmm(floats(*added), floats(b, n, k), floats(b, k, m)), (b * n * k * m, 0, 0)


def addmm(d: Draw):
    n, k, m = d.size(), d.size(), d.size()
    added = d.one_of((n, m), (1, m), (n, 1), (m,), ())
    return lambda: torch.addmm(floats(*added), floats(n, k), floats(k, m), beta=2), (n * k * m, 0, 0)


def addmm_activation(d: Draw):
    n, k, m = d.size(), d.size(), d.size()
    return lambda: torch._addmm_activation(floats(m), floats(n, k), floats(k, m)), (n * k * m, 0, n * m)


def mv(d: Draw):
    n, k = d.size(), d.size()
    return lambda: torch.mv(floats(n, k), floats(k)), (n * k, 0, 0)


def addmv(d: Draw):
    n, k = d.size(), d.size()
    added = d.one_of((n,), (1,))
    return lambda: torch.addmv(floats(*added), floats(n, k), floats(k)), (n * k, 0, 0)


def addr(d: Draw):
    n, m = d.size(), d.size()
    added = d.one_of((n, m), (m,), (n, 1), ())
    return lambda: torch.addr(floats(*added), floats(n), floats(m)), (n * m, 0, 0)


def dot(function: Callable[..., Any]) -> Case:
    def case(d: Draw):
        n = d.size()
        return lambda: function(floats(n), floats(n)), (n, 0, 0)

    return case


def linear(d: Draw):
    leading, k, m = d.shape(0, 3), d.size(), d.size()
    bias = floats(m) if d.flag() else None
    return lambda: functional.linear(floats(*leading, k), floats(m, k), bias), (count(leading) * k * m, 0, 0)


def convolution(operator: Callable[..., Any]) -> Case:
    def case(d: Draw):
        dims, groups, batch = d.size(1, 3), d.size(1, 2), d.size(1, 2)
        taken, given = groups * d.size(1, 2), groups * d.size(1, 2)
        kernel, stride = [d.size(1, 3) for _ in range(dims)], [d.size(1, 2) for _ in range(dims)]
        padding, dilation = [d.size(0, 2) for _ in range(dims)], [d.size(1, 2) for _ in range(dims)]
        sides = [d.size(5, 8) for _ in range(dims)]
        transposed = d.flag()
        weight = (taken, given // groups) if transposed else (given, taken // groups)
        after = [
            (n + 2 * p - r * (k - 1) - 1) // s + 1
            for n, p, r, k, s in zip(sides, padding, dilation, kernel, stride, strict=True)
        ]
        places = sides if transposed else after
        macs = batch * taken * (given // groups) * count(kernel) * count(places)
        arguments = (stride, padding, dilation, transposed, [0] * dims, groups)
        x, w = floats(batch, taken, *sides), floats(*weight, *kernel)
        return lambda: operator(x, w, None, *arguments), (macs, 0, 0)

    return case


def cdist(function: Callable[..., Any], batched: bool = True) -> Case:
    def case(d: Draw):
        one, other = d.together(2, high=2) if batched else ((), ())
        n, m, k = d.size(), d.size(), d.size()
        pairs = count(broadcast(one, other)) * n * m
        return lambda: function(floats(*one, n, k), floats(*other, m, k)), (0, 0, 3 * pairs * k)

    return case


def lstm(d: Draw):
    """Four gates: products of input and state and their sum; cell and state: three sigmoids, two tanhs, 3 · and 1 +."""
    steps, batch, width, state = d.size(), d.size(), d.size(), d.size()
    layers, directions = d.size(1, 2), d.size(1, 2)
    network = torch.nn.LSTM(width, state, layers, bidirectional=directions == 2)
    inputs = [width] + [directions * state] * (layers - 1)
    macs = sum(steps * batch * directions * 4 * state * (one + state) for one in inputs)
    others = layers * directions * steps * batch * state * (4 + 3 + 2 + 3 + 1)
    return lambda: network(floats(steps, batch, width)), (macs, 0, others)


# Attention


def attention(d: Draw):
    """Query, key and value broadcast over each other; or keys and values have fewer heads."""
    length, sources, width, value_width = d.size(), d.size(), d.size(), d.size()
    grouped = d.flag()
    if grouped:
        batch, groups, times = d.size(), d.size(1, 2), d.size(1, 3)
        leading = [(batch, groups * times), (batch, groups), (batch, groups)]
        scores = summed = batch * groups * times
    else:
        leading = d.together(3, low=1, high=3)
        scores = count(broadcast(*leading[:2]))
        summed = count(broadcast(*leading))
    masked, causal = d.one_of((False, False), (True, False), (False, True))
    mask = torch.ones(length, sources, dtype=d.one_of(torch.bool, torch.float32)) if masked else None
    q, k, v = (
        floats(*some, *last)
        for some, last in zip(leading, ((length, width), (sources, width), (sources, value_width)), strict=True)
    )
    pairs = length * sources
    macs = pairs * (scores * width + summed * value_width)
    others = count((*leading[0], length, width)) + (5 + (masked or causal)) * scores * pairs

    def run():
        return functional.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=grouped)

    return run, (macs, 0, others)


def attention_kernel(name: str, *, device: str = "meta") -> Case:
    """One of the operators that devices have for it, with its own order of arguments."""

    def case(d: Draw):
        batch, heads, length, sources, width = d.size(), d.size(), d.size(), d.size(), d.size()
        causal, masked = d.flag(), d.flag() and "flash_attention" not in name
        mask = floats(batch, heads, length, sources, device=device) if masked else None
        q, k, v = (floats(batch, heads, n, width, device=device) for n in (length, sources, sources))
        arguments = {
            "_scaled_dot_product_attention_math": (mask, 0.0, causal and not masked),
            "_scaled_dot_product_flash_attention": (0.0, causal),
            "_scaled_dot_product_flash_attention_for_cpu": (0.0, causal),
            "_scaled_dot_product_efficient_attention": (mask, False, 0.0, causal),
            "_scaled_dot_product_cudnn_attention": (mask, False, 0.0, causal),
            "_scaled_dot_product_fused_attention_overrideable": (mask, 0.0, causal),
        }[name]
        pairs = batch * heads * length * sources
        others = batch * heads * length * width + (5 + (masked or causal)) * pairs
        return lambda: getattr(ATEN, name)(q, k, v, *arguments), (2 * pairs * width, 0, others)

    return case


def left(d: Draw):
    b, h, n, w = d.size(), d.size(), d.size(), d.size()
    known = d.flag()
    q, k = floats(b, h, n, w, device="meta"), floats(b, h, n, w, device="meta")
    lse, v = (floats(b, h, n, device="meta") for _ in range(2))
    pairs = b * h * n * n
    work = (pairs * (w + 1), 0, b * h * n * w + (1 if known else 5) * pairs)
    return lambda: torch.ops.fgbench.left(q, k, lse if known else None, v, 0.5), work


def left_of_maps(d: Draw):
    b, h, n = d.size(), d.size(), d.size()
    maps, v = floats(b, h, n, n, device="meta"), floats(b, h, n, device="meta")
    return lambda: torch.ops.fgbench.left_of_maps(maps, v), (b * h * n * n, 0, 0)


def logsumexp_of_scores(d: Draw):
    b, h, n, w = d.size(), d.size(), d.size(), d.size()
    q, k = floats(b, h, n, w, device="meta"), floats(b, h, n, w, device="meta")
    pairs = b * h * n * n
    return lambda: torch.ops.fgbench.logsumexp(q, k, 0.5), (pairs * w, 0, b * h * n * w + 4 * pairs)


# Products of three, and losses


def bilinear(d: Draw):
    """One vector times every matrix, and the results times the other vector."""
    leading, one, other, given = d.shape(0, 2), d.size(), d.size(), d.size()
    bias = floats(given) if d.flag() else None
    x, y, w = floats(*leading, one), floats(*leading, other), floats(given, one, other)
    results = count(leading) * given
    others = 0 if bias is None else results
    return lambda: functional.bilinear(x, y, w, bias), (results * (one * other + other), 0, others)


def embedding_bag(run: Callable[..., Any]) -> Case:
    """Rows that are added, averaged or compared; weights are multiplied first."""

    def case(d: Draw):
        bags, each, rows, width = d.size(), d.size(), d.size(), d.size()
        mode = d.size(0, 2)  # sum, mean, maximum
        weights = floats(bags * each) if mode == 0 and d.flag() else None
        places, starts = torch.zeros(bags * each, dtype=torch.long), torch.arange(0, bags * each, each)
        work = bags * each * width * (1 if weights is None else 2)
        return lambda: run(floats(rows, width), places, starts, False, mode, False, weights), (0, 0, work)

    return case


def loss(run: Callable[..., Any], per_element: int) -> Case:
    def case(d: Draw):
        values, target = broadcast(*(shapes := d.together(2))), shapes[1]
        reduction = d.size(0, 2)  # none, mean, sum
        work = count(values) * (per_element + (reduction > 0))
        return lambda: run(floats(*values), floats(*target), reduction), (0, 0, work)

    return case


def nll_loss(sides: int) -> Case:
    """Per target its sign; its weight; the sum."""

    def case(d: Draw):
        batch, classes, places = d.size(), d.size(), [d.size() for _ in range(sides)]
        reduction, weight = d.one_of("none", "mean", "sum"), floats(classes) if d.flag() else None
        targets = torch.zeros(batch, *places, dtype=torch.long)
        work = count((batch, *places)) * (1 + (weight is not None) + (reduction != "none"))
        x = floats(batch, classes, *places)
        return lambda: functional.nll_loss(x, targets, weight, reduction=reduction), (0, 0, work)

    return case


def cross(d: Draw):
    one, other = d.size(), d.one_of(1, d.size())
    sides = (one, other), (d.one_of(1, one), d.one_of(1, other))
    x, y = (floats(*some, 3) for some in sides)
    return lambda: torch.linalg.cross(x, y), (0, 0, 3 * 3 * one * other)


def pairs_of_one(d: Draw):
    n, k = d.size(2), d.size()
    return lambda: functional.pdist(floats(n, k)), (0, 0, 3 * k * n * (n - 1) // 2)


# Norms


def layer_norm(d: Draw):
    leading, normed = d.shape(0, 3), d.shape(1, 3)
    weight, bias = (floats(*normed) if d.flag() else None for _ in range(2))
    work = count(leading) * count(normed) * (4 if weight is None else 5)
    x = floats(*leading, *normed)
    return lambda: functional.layer_norm(x, normed, weight, bias), (0, work, 0)


def group_norm(d: Draw):
    groups, times, batch, sides = d.size(), d.size(), d.size(), d.shape(1, 3)
    channels = groups * times
    weight = floats(channels) if d.flag() else None
    x = floats(batch, channels, *(side + 1 for side in sides))
    work = batch * channels * count([side + 1 for side in sides]) * (4 if weight is None else 5)
    return lambda: functional.group_norm(x, groups, weight, weight), (0, work, 0)


def instance_norm(d: Draw):
    batch, channels, sides = d.size(), d.size(), [side + 1 for side in d.shape(1, 3)]
    weight = floats(channels) if d.flag() else None
    work = batch * channels * count(sides) * (4 if weight is None else 5)
    return lambda: functional.instance_norm(floats(batch, channels, *sides), weight=weight, bias=weight), (0, work, 0)


def batch_norm(name: str, *, training: bool | None = None, device: str = "cpu") -> Case:
    """Training and flags stand where the schema of the operator has them; None lets the example choose."""

    def case(d: Draw):
        trains = d.flag() if training is None else training
        batch, channels, sides = d.size() + 1, d.size(), d.shape(0, 3)
        weight = floats(channels, device=device) if d.flag() or device == "meta" else None
        mean, variance = floats(channels, device=device), floats(channels, device=device) + 1
        x = floats(batch, channels, *sides, device=device)
        first = (x, weight, weight)
        per_element = (4 if weight is None else 5) if trains else (1 if weight is None else 2)
        work = (0, batch * channels * count(sides) * per_element, 0)
        operator = getattr(ATEN, name)
        if training is not None:
            return lambda: operator(*first, mean, variance, 0.1, 1e-5), work
        if name == "_native_batch_norm_legit" and trains and d.flag():
            return lambda: operator.no_stats(*first, True, 0.1, 1e-5), work
        return lambda: operator(*first, mean, variance, trains, 0.1, 1e-5), work

    return case


def halvings(length: int) -> int:
    return math.ceil(math.log2(length))
