"""What one aten operator costs: a table that is read, not guessed.

Products and norms go through fvcore's own handlers, so that convention "fvcore" is fvcore's figure. What fvcore
counts as nothing – softmax, products of elements, reductions, comparisons – is counted here. An operator that is in
no table has no cost: :func:`cost_of` refuses it by name. ``docs/counting.md`` lists the rules for readers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fgbench.errors import CannotMeasureError
from fgbench.flops.operators import ELEMENTWISE, REDUCTIONS, ZERO_COST

with warnings.catch_warnings():  # fvcore scripts functions with a deprecated torch.jit while it is imported
    warnings.simplefilter("ignore")
    from fvcore.nn import jit_handles as fvcore

CONVENTIONS = ("full", "fvcore", "paper")


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one operator or of many, in whole numbers."""

    macs: int = 0  # multiply–adds of matrix products and convolutions
    norms: int = 0  # what fvcore counts besides: norms at 5 per element, resampling, adaptive pooling
    others: int = 0  # operations that fvcore counts as nothing

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.norms + other.norms, self.others + other.others)

    def flops(self, convention: str) -> int:
        """In the unit of ``full`` (2·macs + everything else) or ``fvcore`` (macs + norms)."""
        if convention == "full":
            return 2 * self.macs + self.norms + self.others
        if convention == "fvcore":
            return self.macs + self.norms
        raise ValueError(f"operators have no cost in convention {convention!r}")


class UncountedOperatorError(CannotMeasureError):
    """An operator that is neither counted nor known to cost nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            "operator without a cost:",
            name,
            "give it one with fgbench.flops.handlers.register(name, handler)",
        )


class _Value:
    """Answers fvcore's handlers as a torch.jit value would."""

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


Inputs = Sequence[Any]
Handler = Callable[[Inputs, Inputs], Cost]


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape)


def _fvcore_products(handle: Callable[..., Any], first: int = 0, count: int = 2) -> Handler:
    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(macs=int(handle([_Value(x) for x in inputs[first : first + count]], [])))

    return handler


def _addmm(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(macs=int(fvcore.addmm_flop_jit([_Value(x) for x in inputs[:3]], [])))


def _vector_product(first: int = 0) -> Handler:
    """Matrix @ vector and vector @ vector: fvcore's matmul handler refuses them."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(macs=math.prod(_shape(inputs[first])))

    return handler


def _linear(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(macs=math.prod(_shape(inputs[0])) * math.prod(_shape(inputs[1])[:-1]))


def _convolution(inputs: Inputs, outputs: Inputs) -> Cost:
    x, weight, transposed = inputs[0], inputs[1], bool(inputs[6])
    return Cost(macs=int(fvcore.conv_flop_count(_shape(x), _shape(weight), _shape(outputs[0]), transposed=transposed)))


def _fused_attention(inputs: Inputs, outputs: Inputs) -> Cost:
    """Both products, the scaling of the queries, a mask where there is one, and the softmax: as if it ran unfused."""
    query, key, value = inputs[:3]
    pairs = math.prod(_shape(query)[:-1]) * _shape(key)[-2]
    masked = inputs[3] is not None or inputs[5]
    return Cost(
        macs=pairs * (_shape(query)[-1] + _shape(value)[-1]),
        others=query.numel() + (SOFTMAX + masked) * pairs,
    )


def _left(inputs: Inputs, outputs: Inputs) -> Cost:
    """``v A`` of selectors: scaled products, their probabilities – an exponential where ℓ is known – and their sum."""
    query, _, lse = inputs[:3]
    pairs = query.numel() // _shape(query)[-1] * _shape(query)[-2]
    return Cost(macs=pairs * (_shape(query)[-1] + 1), others=query.numel() + (SOFTMAX if lse is None else 1) * pairs)


def _logsumexp(inputs: Inputs, outputs: Inputs) -> Cost:
    query = inputs[0]
    pairs = query.numel() // _shape(query)[-1] * _shape(query)[-2]
    return Cost(macs=pairs * _shape(query)[-1], others=query.numel() + REDUCTIONS["logsumexp"] * pairs)


def _left_of_maps(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost(macs=inputs[0].numel())


def _norm(affine_index: int) -> Handler:
    handle = fvcore.norm_flop_counter(affine_index)

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return Cost(norms=int(handle([_Value(x) for x in inputs], [])))

    return handler


def _batch_norm(training_index: int | None) -> Handler:
    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        training = training_index is not None and bool(inputs[training_index])
        values = [*map(_Value, (*inputs[:2], None, None, None, training))]
        return Cost(norms=int(fvcore.batchnorm_flop_jit(values, [])))

    return handler


def _per_output(factor: int, *, norms: bool = False) -> Handler:
    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        work = factor * outputs[0].numel()
        return Cost(norms=work) if norms else Cost(others=work)

    return handler


def _per_input(factor: int, *, norms: bool = False) -> Handler:
    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        work = factor * inputs[0].numel()
        return Cost(norms=work) if norms else Cost(others=work)

    return handler


def _extremum(inputs: Inputs, outputs: Inputs) -> Cost:
    pairwise = len(inputs) > 1 and isinstance(inputs[1], Tensor)
    return Cost(others=outputs[0].numel() if pairwise else inputs[0].numel())


def _sort(inputs: Inputs, outputs: Inputs) -> Cost:
    dim = next((x for x in inputs[1:] if isinstance(x, int) and not isinstance(x, bool)), -1)
    length = _shape(inputs[0])[dim] if inputs[0].ndim else 1
    return Cost(others=inputs[0].numel() * math.ceil(math.log2(max(length, 2))))


def _topk(inputs: Inputs, outputs: Inputs) -> Cost:
    """A heap of k: every element is compared once per level."""
    return Cost(others=inputs[0].numel() * math.ceil(math.log2(inputs[1] + 1)))


def _pool(inputs: Inputs, outputs: Inputs) -> Cost:
    window = math.prod(inputs[1]) if len(inputs[1]) > 1 else inputs[1][0] ** (inputs[0].ndim - 2)
    return Cost(others=outputs[0].numel() * window)


def _addmm_activation(inputs: Inputs, outputs: Inputs) -> Cost:
    return _addmm(inputs, outputs) + Cost(others=outputs[0].numel())


def _scatter(inputs: Inputs, outputs: Inputs) -> Cost:
    """Writing is free; ``reduce=`` adds or multiplies what an index is given for."""
    return Cost(others=inputs[2].numel() if len(inputs) > 4 else 0)


def _accumulate(index: int, flag: int | None = None) -> Handler:
    """Scattered additions: one per element that is added; nothing where a flag says it only writes."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        if flag is not None and not inputs[flag]:
            return Cost()
        return Cost(others=inputs[index].numel())

    return handler


def _free(inputs: Inputs, outputs: Inputs) -> Cost:
    return Cost()


MARKS = ("profiler::_record_function_enter_new", "profiler::_record_function_exit")
SOFTMAX = 5  # largest, subtract, exponential, sum, divide

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys((f"aten::{name}" for name in ZERO_COST), _free),
    **dict.fromkeys(MARKS, _free),
    **dict.fromkeys((f"aten::{name}" for name in ELEMENTWISE), _per_output(1)),
    **{f"aten::{name}": _per_input(factor) for name, factor in REDUCTIONS.items()},
    "aten::mm": _fvcore_products(fvcore.matmul_flop_jit),
    "aten::bmm": _fvcore_products(fvcore.bmm_flop_jit),
    "aten::baddbmm": _fvcore_products(fvcore.bmm_flop_jit, first=1),
    "aten::addbmm": _fvcore_products(fvcore.bmm_flop_jit, first=1),
    "aten::addmm": _addmm,
    "aten::_addmm_activation": _addmm_activation,
    "aten::mv": _vector_product(),
    "aten::addmv": _vector_product(first=1),
    "aten::dot": _vector_product(),
    "aten::vdot": _vector_product(),
    "aten::linear": _linear,
    "aten::convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "aten::scaled_dot_product_attention": _fused_attention,
    "fgbench::left": _left,
    "fgbench::left_of_maps": _left_of_maps,
    "fgbench::logsumexp": _logsumexp,
    "aten::native_layer_norm": _norm(2),
    "aten::native_group_norm": _norm(1),
    "aten::instance_norm": _norm(1),
    "aten::native_batch_norm": _batch_norm(5),
    "aten::cudnn_batch_norm": _batch_norm(5),
    "aten::_native_batch_norm_legit": _batch_norm(5),
    "aten::_native_batch_norm_legit_no_training": _batch_norm(None),
    "aten::_batch_norm_no_update": _batch_norm(None),
    "aten::upsample_nearest2d": _per_output(1, norms=True),
    "aten::upsample_bilinear2d": _per_output(4, norms=True),
    "aten::grid_sampler_2d": _per_output(4, norms=True),
    "aten::adaptive_avg_pool2d": _per_input(1, norms=True),
    "aten::_adaptive_avg_pool2d": _per_input(1, norms=True),
    "aten::adaptive_avg_pool1d": _per_input(1),  # fvcore knows the two-dimensional one alone
    "aten::upsample_bicubic2d": _per_output(32),
    "aten::softmax": _per_output(SOFTMAX),  # so it arrives when it is given a place for its result
    "aten::_softmax": _per_output(SOFTMAX),
    "aten::_log_softmax": _per_output(SOFTMAX),
    "aten::rms_norm": _per_input(4),
    "aten::_weight_norm": _per_input(3),  # square, add, multiply
    "aten::addcmul": _per_output(2),
    "aten::addcdiv": _per_output(2),
    "aten::lerp": _per_output(3),
    "aten::glu": _per_output(2),
    "aten::native_dropout": _per_output(2),
    "aten::max": _extremum,
    "aten::min": _extremum,
    "aten::sort": _sort,
    "aten::argsort": _sort,
    "aten::topk": _topk,
    "aten::max_pool2d_with_indices": _pool,
    "aten::avg_pool2d": _pool,
    "aten::col2im": _per_input(1),  # overlapping patches are added
    "aten::index_add": _accumulate(3),
    "aten::scatter": _scatter,
    "aten::scatter_add": _accumulate(2),
    "aten::scatter_reduce": _accumulate(2),
    "aten::index_put": _accumulate(2, flag=3),
}


def register(name: str, handler: Handler) -> None:
    """Give an operator a cost: ``register("mylib::scan", lambda inputs, outputs: Cost(others=…))``.

    ``inputs`` are the operator's arguments in the order of its schema, ``outputs`` what it returned.
    """
    HANDLERS[name] = handler


def handler_for(name: str) -> Handler:
    """The handler of an operator such as ``aten::mul``; in-place operators share their twin's.

    Raises :class:`UncountedOperatorError` where there is none.
    """
    found = HANDLERS.get(name)
    if found is None and name.endswith("_") and not name.endswith("__"):
        found = HANDLERS.get(name[:-1])
    if found is None:
        raise UncountedOperatorError(name)
    return found
