"""Closed forms of resampling and pooling, from input and output sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.closed_forms import ATEN, Case, Draw, count, floats
from torch.nn import functional


def resample(name: str, dims: int, per_output: int, *, is_norm: bool = True) -> Case:
    def case(d: Draw):
        leading, before = (d.size(), d.size()), [d.size(2) for _ in range(dims)]
        after = [d.size(1, 6) for _ in range(dims)]
        aligned = () if "nearest" in name else (False,)
        work = per_output * count(leading) * count(after)
        x = floats(*leading, *before)
        return lambda: getattr(ATEN, name)(x, after, *aligned), (0, work, 0) if is_norm else (0, 0, work)

    return case


def grid_sampler(dims: int) -> Case:
    def case(d: Draw):
        batch, channels = d.size(), d.size()
        before, after = ([d.size() for _ in range(dims)] for _ in range(2))
        mode = d.one_of("bilinear", "nearest", *(["bicubic"] if dims == 2 else []))
        x, grid = floats(batch, channels, *before), floats(batch, *after, dims)
        results = batch * channels * count(after)
        work = (
            (0, 0, 32 * results) if mode == "bicubic" else (0, {"bilinear": 2**dims, "nearest": 1}[mode] * results, 0)
        )
        return lambda: functional.grid_sample(x, grid, mode=mode, align_corners=False), work

    return case


def adaptive_pool(run: Callable[..., Any], dims: int, *, is_norm: bool = True) -> Case:
    def case(d: Draw):
        shape, after = (d.size(), d.size(), *(d.size() for _ in range(dims))), [d.size(2) for _ in range(dims)]
        work = (0, count(shape), 0) if is_norm else (0, 0, count(shape))
        return lambda: run(floats(*shape), after), work

    return case


def pool(run: Callable[..., Any], dims: int) -> Case:
    def case(d: Draw):
        leading = d.shape(1, 1) if d.flag() else (d.size(), d.size())  # with a batch or without
        kernel, stride = [d.size(1, 3) for _ in range(dims)], [d.size(1, 2) for _ in range(dims)]
        sides = [d.size(3, 7) for _ in range(dims)]
        if d.flag():
            kernel = [kernel[0]]
        window = kernel * dims if len(kernel) == 1 else kernel
        after = [(n - k) // s + 1 for n, k, s in zip(sides, window, stride, strict=True)]
        return lambda: run(floats(*leading, *sides), kernel, stride), (
            0,
            0,
            count(leading) * count(after) * count(window),
        )

    return case


def col2im(d: Draw):
    batch, channels, side, kernel = d.size(), d.size(), d.size(3, 5), d.size(1, 3)
    blocks = (side - kernel + 1) ** 2
    x = floats(batch, channels * kernel**2, blocks)
    return lambda: functional.fold(x, side, kernel), (0, 0, count((batch, channels, kernel, kernel, blocks)))


def antialiased(mode: str, per_pixel: int) -> Case:
    """Where a side shrinks, each result reads as many times more pixels: it is the larger one that counts."""

    def case(d: Draw):
        batch, channels = d.size(), d.size()
        before, after = ([d.size(1, 9) for _ in range(2)] for _ in range(2))
        work = per_pixel * batch * channels
        for one, other in zip(before, after, strict=True):
            work *= one if one > other else other
        x = floats(batch, channels, *before)
        return lambda: functional.interpolate(x, after, mode=mode, antialias=True), (0, 0, work)

    return case


def fractional_pool(run: Callable[..., Any], dims: int) -> Case:
    def case(d: Draw):
        leading = (d.size(), d.size())
        kernel, sides = [d.size(1, 2) for _ in range(dims)], [d.size(4, 7) for _ in range(dims)]
        after = [d.size(1, n - k) for n, k in zip(sides, kernel, strict=True)]
        work = count(leading) * count(after) * count(kernel)
        samples = floats(*leading, dims)
        return lambda: run(floats(*leading, *sides), kernel, output_size=after, _random_samples=samples), (0, 0, work)

    return case


def affine_grid(d: Draw):
    """Every place of a grid with a one behind it, times a matrix."""
    batch, sides = d.size(), [d.size() for _ in range(d.size(2, 3))]
    dims = len(sides)
    matrices = floats(batch, dims, dims + 1)
    macs = batch * count(sides) * dims * (dims + 1)
    return lambda: functional.affine_grid(matrices, [batch, 1, *sides], align_corners=False), (macs, 0, 0)
