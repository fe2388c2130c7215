"""Costs of aten operators: a table of handlers by name.

Products and norms use fvcore's own handlers, so that convention "fvcore" is fvcore's figure. Operators that fvcore does
not count – softmax, products of elements, reductions, comparisons – are counted here. Every other operator is an error
with its name. ``docs/counting.md`` lists the rules for readers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fgbench.errors import CannotMeasureError
from fgbench.flops import attention, backward, sampling
from fgbench.flops.attention import SOFTMAX, dense_attention
from fgbench.flops.cost import Cost as Cost
from fgbench.flops.cost import Handler as Handler
from fgbench.flops.cost import Inputs, per_input, per_output, shape_of
from fgbench.flops.operators import ELEMENTWISE, REDUCTIONS, ZERO_COST

with warnings.catch_warnings():  # fvcore scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    from fvcore.nn import jit_handles as fvcore


class UncountedOperatorError(CannotMeasureError):
    """An operator that has no handler."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            "operator without a cost:",
            name,
            "give it one with fgbench.flops.handlers.register(name, handler)",
        )


class _Value:
    """A value with the methods of torch.jit values that fvcore's handlers call."""

    def __init__(self, value: object) -> None:
        self._value = value

    def isCompleteTensor(self) -> bool:  # noqa: N802  # torch.jit's name
        return isinstance(self._value, Tensor)

    def type(self) -> _Value:
        return self

    def sizes(self) -> list[int]:
        assert isinstance(self._value, Tensor)
        return list(self._value.shape)

    def toIValue(self) -> object:  # noqa: N802  # torch.jit's name
        return self._value


def _fvcore_products(handle: Callable[..., Any], first: int = 0, count: int = 2) -> Handler:
    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(macs=int(handle([_Value(x) for x in inputs[first : first + count]], [])))

    return handler


def _addmm(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(macs=int(fvcore.addmm_flop_jit([_Value(x) for x in inputs[:3]], [])))


def _vector_product(first: int = 0) -> Handler:
    """Matrix @ vector and vector @ vector: fvcore's matmul handler refuses them."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(macs=math.prod(shape_of(inputs[first])))

    return handler


def _linear(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(macs=math.prod(shape_of(inputs[0])) * math.prod(shape_of(inputs[1])[:-1]))


def _convolution(inputs: Inputs, outputs: Inputs) -> Cost:
    x, weight, transposed = inputs[0], inputs[1], bool(inputs[6])
    return Cost(
        macs=int(fvcore.conv_flop_count(shape_of(x), shape_of(weight), shape_of(outputs[0]), transposed=transposed))
    )


def _norm(affine_index: int) -> Handler:
    """Five operations per element, four without weights: fvcore's estimate."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(norms=inputs[0].numel() * (4 if inputs[affine_index] is None else 5))

    return handler


def _batch_norm(training: Callable[[Inputs], bool]) -> Handler:
    """As other norms in training; with stored statistics one factor and one addend: 2 per element, or 1."""
    in_training = _norm(1)

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        if training(inputs):
            return in_training(inputs, outputs)
        return Cost(norms=inputs[0].numel() * (1 if inputs[1] is None else 2))

    return handler


def _is_training(inputs: Inputs) -> bool:
    """Whether batch norm runs in training: the sixth argument, or the fourth where there are no statistics."""
    return bool(inputs[3] if isinstance(inputs[3], bool) else inputs[5])


def _extremum(inputs: Inputs, outputs: Inputs) -> Cost:
    """One operation per result of two tensors, or a reduction of one tensor, whose second argument can be ``out=``."""
    pairwise = len(inputs) > 1 and isinstance(inputs[1], Tensor) and inputs[1] is not outputs[0]
    return Cost(others=outputs[0].numel() if pairwise else inputs[0].numel())


def _where(inputs: Inputs, outputs: Inputs) -> Cost:
    """A choice per result; ``where(condition)`` alone looks for true values."""
    return Cost(others=inputs[0].numel() if len(inputs) == 1 else outputs[0].numel())


def _trace(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(others=min(shape_of(inputs[0])))


def _halving(boundaries: int) -> Handler:
    """One comparison of every value per halving of the boundaries."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(others=outputs[0].numel() * math.ceil(math.log2(shape_of(inputs[boundaries])[-1] + 1)))

    return handler


def _sort(inputs: Inputs, outputs: Inputs) -> Cost:
    dim = next((x for x in inputs[1:] if isinstance(x, int) and not isinstance(x, bool)), -1)
    length = shape_of(inputs[0])[dim] if inputs[0].ndim else 1
    return Cost(others=inputs[0].numel() * math.ceil(math.log2(max(length, 2))))


def _topk(inputs: Inputs, outputs: Inputs) -> Cost:
    """A heap of k: one comparison of every element per level."""
    return Cost(others=inputs[0].numel() * math.ceil(math.log2(inputs[1] + 1)))


def _cdist(inputs: Inputs, outputs: Inputs) -> Cost:
    """Subtract, raise to a power, add: per pair and axis, on every device."""
    return Cost(others=3 * outputs[0].numel() * shape_of(inputs[0])[-1])


def _trilinear(inputs: Inputs, outputs: Inputs) -> Cost:
    """``x W y``: every vector of the first operand times the matrices, and the result times its partner."""
    sizes = list(torch.broadcast_shapes(*map(_expanded, inputs[:3], inputs[3:6])))
    first = math.prod(sizes)
    for axis in inputs[6][:1]:
        sizes[axis] = 1
    return Cost(macs=first + math.prod(sizes))


def _expanded(tensor: Tensor, axes: Inputs) -> tuple[int, ...]:
    sizes = list(shape_of(tensor))
    for axis in axes:
        sizes.insert(axis, 1)
    return tuple(sizes)


def _embedding_bag(inputs: Inputs, outputs: Inputs) -> Cost:
    """A sum, mean or maximum of rows: one operation per element, and one for its weight."""
    weights = inputs[6]
    return Cost(others=(1 if weights is None else 2) * inputs[1].numel() * shape_of(inputs[0])[1])


def _loss(per_element: int) -> Handler:
    """Operations per element of values and targets, broadcast; one more where they are reduced."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        elements = math.prod(torch.broadcast_shapes(shape_of(inputs[0]), shape_of(inputs[1])))
        return Cost(others=(per_element + (inputs[2] != 0)) * elements)

    return handler


def _nll_loss(inputs: Inputs, outputs: Inputs) -> Cost:
    """Per target: its sign, its weight where there are weights, the sum where there is one."""
    return Cost(others=(1 + (inputs[2] is not None) + (inputs[3] != 0)) * inputs[1].numel())


def _native_dropout(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(others=0 if inputs[2] is False else attention.DROPOUT * outputs[0].numel())


def _per_output_macs(inputs: Inputs, outputs: Inputs) -> Cost:
    """A product of two vectors that is added: one multiply–add per element."""
    return Cost(macs=outputs[0].numel())


def _addmm_activation(inputs: Inputs, outputs: Inputs) -> Cost:
    return _addmm(inputs, outputs) + Cost(others=outputs[0].numel())


def _scatter(inputs: Inputs, outputs: Inputs) -> Cost:
    """Writing is free; ``reduce=`` adds or multiplies one value per index."""
    reduces = len(inputs) > 4 and isinstance(inputs[4], str)
    return Cost(others=inputs[2].numel() if reduces else 0)


def _index_put(inputs: Inputs, outputs: Inputs) -> Cost:
    """One addition per element that the indices name, where it accumulates; writing is free."""
    if not inputs[3]:
        return Cost()
    tensor, indices = inputs[:2]
    index_shapes: list[tuple[int, ...]] = []
    whole_axes, axis = 1, 0
    for index in indices:
        if index is None:
            whole_axes *= shape_of(tensor)[axis]
            axis += 1
        elif index.dtype in (torch.bool, torch.uint8):
            index_shapes.append((_true_values(index),))
            axis += index.ndim
        else:
            index_shapes.append(shape_of(index))
            axis += 1
    whole_axes *= math.prod(shape_of(tensor)[axis:])
    return Cost(others=whole_axes * math.prod(torch.broadcast_shapes(*index_shapes)))


def _true_values(mask: Tensor) -> int:
    if mask.device.type == "meta":
        raise CannotMeasureError(
            "aten::index_put adds where a mask is true, and on the meta device it has no values",
            do="count_flops(lambda: model(images)) counts a run on real tensors",
        )
    return int(mask.count_nonzero())


def _accumulate(index: int) -> Handler:
    """One addition per element of an argument that is scattered."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(others=inputs[index].numel())

    return handler


def _lstm_layer(inputs: Inputs, outputs: Inputs) -> Cost:
    """A layer of an LSTM in one direction: two products per step, 13 operations per state."""
    if inputs[9] != LSTM:
        raise UncountedOperatorError("aten::mkldnn_rnn_layer")
    states = outputs[0].numel()
    steps = states // shape_of(outputs[0])[-1] if states else 0
    return Cost(macs=steps * (inputs[1].numel() + inputs[2].numel()), others=13 * states)


def _free(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost()


MARKS = ("profiler::_record_function_enter_new", "profiler::_record_function_exit")
LSTM = 2  # aten's number of this kind of recurrent layers
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys((f"aten::{name}" for name in ZERO_COST), _free),
    **dict.fromkeys(MARKS, _free),
    **dict.fromkeys((f"aten::{name}" for name in ELEMENTWISE), per_output(1)),
    **{f"aten::{name}": per_input(factor) for name, factor in REDUCTIONS.items()},
    "aten::mm": _fvcore_products(fvcore.matmul_flop_jit),
    "aten::bmm": _fvcore_products(fvcore.bmm_flop_jit),
    "aten::baddbmm": _fvcore_products(fvcore.bmm_flop_jit, first=1),
    "aten::addbmm": _fvcore_products(fvcore.bmm_flop_jit, first=1),
    "aten::addmm": _addmm,
    "aten::_addmm_activation": _addmm_activation,
    "aten::mv": _vector_product(),
    "aten::_int_mm": _fvcore_products(fvcore.matmul_flop_jit),
    "aten::addmv": _vector_product(first=1),
    "aten::addr": _per_output_macs,
    "aten::dot": _vector_product(),
    "aten::vdot": _vector_product(),
    "aten::linear": _linear,
    **sampling.HANDLERS,
    "aten::convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "aten::scaled_dot_product_attention": dense_attention(mask=3, dropout=4, causal=5),
    "aten::_scaled_dot_product_attention_math": dense_attention(mask=3, dropout=4, causal=5),
    "aten::_scaled_dot_product_flash_attention_for_cpu": dense_attention(mask=5, dropout=3, causal=4),
    "aten::_scaled_dot_product_flash_attention": dense_attention(mask=None, dropout=3, causal=4),
    "aten::_scaled_dot_product_efficient_attention": dense_attention(mask=3, dropout=5, causal=6),
    "aten::_scaled_dot_product_cudnn_attention": dense_attention(mask=3, dropout=5, causal=6),
    "aten::_scaled_dot_product_fused_attention_overrideable": dense_attention(mask=3, dropout=4, causal=5),
    "fgbench::left": attention.left,
    "fgbench::left_of_maps": attention.left_of_maps,
    "fgbench::logsumexp": attention.logsumexp,
    "aten::native_layer_norm": _norm(2),
    "aten::native_group_norm": _norm(1),
    "aten::instance_norm": _norm(1),
    "aten::native_batch_norm": _batch_norm(_is_training),
    "aten::cudnn_batch_norm": _batch_norm(_is_training),
    "aten::_native_batch_norm_legit": _batch_norm(_is_training),
    "aten::_native_batch_norm_legit_no_training": _batch_norm(lambda inputs: False),
    "aten::_batch_norm_with_update": _batch_norm(lambda inputs: True),
    "aten::_batch_norm_no_update": _batch_norm(lambda inputs: False),
    "aten::softmax": per_output(SOFTMAX),  # the name of softmax with out=
    "aten::_softmax": per_output(SOFTMAX),
    "aten::_safe_softmax": per_output(SOFTMAX),
    "aten::_log_softmax": per_output(SOFTMAX),
    "aten::rms_norm": per_input(4),
    "aten::_fused_rms_norm": per_input(4),
    "aten::_weight_norm": per_input(3),  # square, add, multiply
    "aten::addcmul": per_output(2),
    "aten::addcdiv": per_output(2),
    "aten::lerp": per_output(3),
    "aten::glu": per_output(2),
    "aten::native_dropout": _native_dropout,
    "aten::max": _extremum,
    "aten::min": _extremum,
    "aten::sort": _sort,
    "aten::argsort": _sort,
    "aten::topk": _topk,
    "aten::index_add": _accumulate(3),
    "aten::scatter": _scatter,
    "aten::scatter_add": _accumulate(2),
    "aten::scatter_reduce": _accumulate(2),
    "aten::index_put": _index_put,
    "aten::mkldnn_rnn_layer": _lstm_layer,
    "aten::where": _where,
    "aten::trace": _trace,
    "aten::bucketize": _halving(boundaries=1),
    "aten::searchsorted": _halving(boundaries=0),
    "aten::cdist": _cdist,
    "aten::_cdist_forward": _cdist,
    "aten::_euclidean_dist": _cdist,
    "aten::_pdist_forward": _cdist,
    "aten::linalg_cross": per_output(3),  # two products, subtract
    "aten::_trilinear": _trilinear,
    "aten::_embedding_bag": _embedding_bag,
    "aten::_embedding_bag_forward_only": _embedding_bag,
    "aten::mse_loss": _loss(2),  # subtract, square
    "aten::smooth_l1_loss": _loss(5),  # subtract, absolute value, compare, square, divide
    "aten::huber_loss": _loss(5),
    "aten::nll_loss_forward": _nll_loss,
    "aten::nll_loss2d_forward": _nll_loss,
}


def register(name: str, handler: Handler) -> None:
    """Set the cost of an operator: ``register("mylib::scan", lambda inputs, outputs: Cost(others=…))``.

    Args:
        name: The operator's name.
        handler: A function from its arguments, in the order of its schema, and its results to its cost.

    """
    HANDLERS[name] = handler


def handler_for(name: str, *, backwards: bool = False) -> Handler:
    """The handler of an operator such as ``aten::mul``; ``aten::mul_`` has the same one.

    Args:
        name: Of the operator.
        backwards: Whether those of backward passes have one.

    Raises:
        UncountedOperatorError: If there is none.

    """
    handler = HANDLERS.get(name) or (backward.HANDLERS.get(name) if backwards else None)
    if handler is None and name.endswith("_") and not name.endswith("__"):
        handler = HANDLERS.get(name[:-1])
    if handler is None:
        raise UncountedOperatorError(name)
    return handler
