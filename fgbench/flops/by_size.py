"""Costs that follow from the size of one tensor: so many operations per element of what is read, or of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fgbench.flops.cost import Cost

Inputs = Sequence[Any]
Handler = Callable[[Inputs, Inputs], Cost]


def shape_of(value: Any) -> tuple[int, ...]:
    """The sizes of a tensor."""
    return tuple(value.shape)


def per_output(factor: int, *, norms: bool = False) -> Handler:
    """``factor`` operations per element of the result; with ``norms`` fvcore counts them, too."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return _cost(factor * outputs[0].numel(), norms)

    return handler


def per_input(factor: int, *, norms: bool = False) -> Handler:
    """``factor`` operations per element of the first argument; with ``norms`` fvcore counts them, too."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return _cost(factor * inputs[0].numel(), norms)

    return handler


def _cost(work: int, norms: bool) -> Cost:
    return Cost(norms=work) if norms else Cost(others=work)
