"""The work of operators in numbers: what every count adds up."""

from __future__ import annotations

from dataclasses import dataclass


class Flops(int):
    """Work in convention ``full``: a number. ``flops("fvcore")`` has the figure in another convention."""

    _fvcore: int

    def __new__(cls, full: int, fvcore: int) -> Flops:
        """The figures of both conventions; the number itself is ``full``."""
        self = super().__new__(cls, full)
        self._fvcore = fvcore
        return self

    def __call__(self, convention: str = "full") -> int:
        """In the unit of ``full`` (2·macs + everything else) or ``fvcore`` (macs + norms)."""
        if convention == "full":
            return int(self)
        if convention == "fvcore":
            return self._fvcore
        raise ValueError(f"a count has no figure in convention {convention!r}; it has: full, fvcore")

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]  # int takes one
        """What a copy and a pickle are made of."""
        return int(self), self._fvcore


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one operator or of many, in whole numbers."""

    macs: int = 0  # multiply–adds of matrix products and convolutions
    norms: int = 0  # what fvcore counts besides: norms at 5 per element, resampling, adaptive pooling
    others: int = 0  # operations that fvcore counts as nothing

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.norms + other.norms, self.others + other.others)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.macs * times, self.norms * times, self.others * times)

    @property
    def flops(self) -> Flops:
        """2·macs + everything else; ``flops("fvcore")`` is macs + norms."""
        return Flops(2 * self.macs + self.norms + self.others, self.macs + self.norms)
