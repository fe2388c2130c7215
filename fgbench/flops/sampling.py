"""Costs of resampling and pooling: a number of operations per element of the result or of the input."""

from __future__ import annotations

import math

from fgbench.flops.cost import Cost, Handler, Inputs, per_input, per_output, shape_of

NEAREST, BICUBIC = 1, 2  # aten's numbers of ways to sample a grid
PER_BICUBIC = 32  # weights and sums of 16 pixels


def _pool(dims: int) -> Handler:
    """The size of the window per element of the result; one size is that of all ``dims`` axes."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        sizes = [inputs[1]] if isinstance(inputs[1], int) else list(inputs[1])
        window = math.prod(sizes) if len(sizes) > 1 else sizes[0] ** dims
        return Cost(others=outputs[0].numel() * window)

    return handler


def _grid_sampler(inputs: Inputs, outputs: Inputs) -> Cost:
    """As resampling of the same kind: bilinear 4 (in three dimensions 8), nearest 1, bicubic 32."""
    linear = 2 ** (inputs[0].ndim - 2)
    if inputs[2] == BICUBIC:
        return Cost(others=PER_BICUBIC * outputs[0].numel())
    return Cost(norms=(1 if inputs[2] == NEAREST else linear) * outputs[0].numel())


def _antialiased(factor: int) -> Handler:
    """As without antialiasing, per element of the larger side: the window grows as a side shrinks."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(others=factor * math.prod(map(max, shape_of(inputs[0]), shape_of(outputs[0]))))

    return handler


def _affine_grid(inputs: Inputs, outputs: Inputs) -> Cost:
    """Each place (…, 1) times a matrix."""
    return Cost(macs=outputs[0].numel() * (shape_of(outputs[0])[-1] + 1))


HANDLERS: dict[str, Handler] = {
    **{f"aten::upsample_nearest{n}d": per_output(1, norms=True) for n in (1, 2, 3)},
    **{f"aten::_upsample_nearest_exact{n}d": per_output(1, norms=True) for n in (1, 2, 3)},
    "aten::upsample_linear1d": per_output(2, norms=True),
    "aten::upsample_bilinear2d": per_output(4, norms=True),
    "aten::upsample_trilinear3d": per_output(8, norms=True),
    "aten::upsample_bicubic2d": per_output(PER_BICUBIC),
    "aten::_upsample_bilinear2d_aa": _antialiased(4),
    "aten::_upsample_bicubic2d_aa": _antialiased(PER_BICUBIC),
    "aten::grid_sampler_2d": _grid_sampler,
    "aten::grid_sampler_3d": _grid_sampler,
    "aten::affine_grid_generator": _affine_grid,
    "aten::adaptive_avg_pool2d": per_input(1, norms=True),
    "aten::_adaptive_avg_pool2d": per_input(1, norms=True),
    # fvcore counts adaptive pooling only as an average in two dimensions.
    "aten::adaptive_avg_pool1d": per_input(1),
    "aten::_adaptive_avg_pool3d": per_input(1),
    "aten::adaptive_max_pool2d": per_input(1),
    "aten::adaptive_max_pool3d": per_input(1),
    "aten::max_pool2d_with_indices": _pool(2),
    "aten::max_pool3d_with_indices": _pool(3),
    "aten::fractional_max_pool2d": _pool(2),
    "aten::fractional_max_pool3d": _pool(3),
    "aten::avg_pool2d": _pool(2),
    "aten::avg_pool3d": _pool(3),
    "aten::col2im": per_input(1),  # overlapping patches are added
}
