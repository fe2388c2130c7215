"""The work of operators in numbers, and costs that follow from the size of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


class Flops(int):
    """Work in convention ``full``: a number. ``flops("fvcore")`` is the figure in another convention.

    Args:
        full: 2·macs + every other operation.
        fvcore: macs + norms.

    """

    _fvcore: int

    def __new__(cls, full: int, fvcore: int) -> Flops:
        """Make the number from the figures of both conventions."""
        self = super().__new__(cls, full)
        self._fvcore = fvcore
        return self

    def __call__(self, convention: str = "full") -> int:
        """The figure in a convention.

        Args:
            convention: ``full`` or ``fvcore``.

        Raises:
            ValueError: For another convention.

        """
        if convention == "full":
            return int(self)
        if convention == "fvcore":
            return self._fvcore
        raise ValueError(f"a count has no figure in convention {convention!r}; it has: full, fvcore")

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]  # int takes one
        """Arguments for copies and pickles."""
        return int(self), self._fvcore


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one operator or of many.

    Args:
        macs: Multiply–adds of matrix products and convolutions.
        norms: Other operations that fvcore counts: norms at 5 per element, resampling, adaptive pooling.
        others: Operations that fvcore does not count.

    """

    macs: int = 0
    norms: int = 0
    others: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.norms + other.norms, self.others + other.others)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.macs * times, self.norms * times, self.others * times)

    @property
    def flops(self) -> Flops:
        """2·macs + norms + others; ``flops("fvcore")`` is macs + norms."""
        return Flops(2 * self.macs + self.norms + self.others, self.macs + self.norms)


Inputs = Sequence[Any]  # arguments of an operator in the order of its schema, or its results
Handler = Callable[[Inputs, Inputs], Cost]  # arguments and results of one call → its cost


def shape_of(value: Any) -> tuple[int, ...]:
    """The sizes of a tensor."""
    return tuple(value.shape)


def per_output(factor: int, *, norms: bool = False) -> Handler:
    """A handler that counts ``factor`` operations per element of the first result.

    Args:
        factor: Operations per element.
        norms: Whether fvcore counts these operations too.

    """

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return _cost(factor * outputs[0].numel(), norms)

    return handler


def per_input(factor: int, *, norms: bool = False) -> Handler:
    """A handler that counts ``factor`` operations per element of the first argument; ``norms`` as above."""

    def handler(inputs: Inputs, outputs: Inputs) -> Cost:
        return _cost(factor * inputs[0].numel(), norms)

    return handler


def _cost(operations: int, norms: bool) -> Cost:
    return Cost(norms=operations) if norms else Cost(others=operations)
