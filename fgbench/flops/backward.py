"""Costs of the operators of backward passes, as ``aten`` calls them. Those of products are products themselves."""

from __future__ import annotations

import math

from fgbench.flops.cost import Cost, Handler, Inputs, per_input, per_output, shape_of

# The derivative of a function of one element, and its product with the gradient.
FUNCTIONS = (
    "elu gelu hardsigmoid hardswish hardtanh leaky_relu log_sigmoid mish sigmoid silu softplus tanh threshold"
).split()
SOFTMAX = 4  # per element: a product, a sum, a difference, a product
NORM = 10  # per element, twice a norm with weights: the gradients of the input, the weights and the addends
DERIVATIVE = 2  # per element: the derivative, and its product with the gradient


def _convolution(inputs: Inputs, outputs: Inputs) -> Cost:
    """A convolution's own products for the gradient of its input, and again for that of its weights."""
    gradient, x, weight, transposed, wanted = inputs[0], inputs[1], inputs[2], bool(inputs[7]), inputs[10]
    places = x if transposed else gradient
    macs = math.prod(shape_of(weight)) * shape_of(places)[0] * math.prod(shape_of(places)[2:])
    return Cost(macs=macs * (wanted[0] + wanted[1]), others=gradient.numel() if wanted[2] else 0)


def _norm(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(others=NORM * inputs[1].numel())


def _indices(inputs: Inputs, outputs: Inputs) -> Cost:
    """One addition per target."""
    return Cost(others=inputs[2].numel())


def _free(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost()


_loss = per_output(2)  # the derivative, and its product with the gradient
HANDLERS: dict[str, Handler] = {
    **{f"aten::{name}_backward": per_output(DERIVATIVE) for name in FUNCTIONS},
    "aten::convolution_backward": _convolution,
    "aten::native_layer_norm_backward": _norm,
    "aten::native_group_norm_backward": _norm,
    "aten::native_batch_norm_backward": _norm,
    "aten::_softmax_backward_data": per_output(SOFTMAX),
    "aten::_log_softmax_backward_data": per_output(SOFTMAX),
    "aten::nll_loss_backward": _indices,
    "aten::nll_loss2d_backward": _indices,
    "aten::mse_loss_backward": _loss,
    "aten::smooth_l1_loss_backward": _loss,
    "aten::huber_loss_backward": _loss,
    "aten::embedding_dense_backward": per_input(1),
    "aten::max_pool2d_with_indices_backward": per_input(1),
    "aten::avg_pool2d_backward": per_output(1),
    "aten::_adaptive_avg_pool2d_backward": per_output(1),
    "aten::native_dropout_backward": per_output(DERIVATIVE),
    "aten::select_backward": _free,
    "aten::slice_backward": _free,
    "aten::promote_types": _free,
    "aten::unfold_backward": per_input(1),
    "aten::multinomial": per_input(1),
}
