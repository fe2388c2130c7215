"""Differences between figures and published ones, rounded as the paper prints them."""

from __future__ import annotations

from decimal import Decimal

from fgbench_reports.tables.column import NOTHING, Cell
from fgbench_reports.tables.numbers import as_printed


def scientific(value: float) -> str:
    """Two digits and an exponent, as Table 1 prints FLOPs: 8.2e3, 4.5e-1."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def from_printed(value: float, printed: str) -> Cell:
    """The difference to a published cell: 0 where rounding as the paper does leaves none."""
    return Cell(value - float(printed), _signed(Decimal(as_printed(value, printed)) - Decimal(printed)))


def from_scientific(value: float, printed: str) -> Cell:
    """The same for a cell such as 8.2e3."""
    left = Decimal(scientific(value)) - Decimal(printed)
    sign = "+" if left > 0 else "-"
    return Cell(value - float(printed), f"{sign}{scientific(float(abs(left)))}" if left else "0")


def to_decimals(value: float | None, published: float | None, decimals: int) -> Cell:
    """The difference of two figures that are printed to so many decimals; nothing where one is missing."""
    if value is None or published is None:
        return NOTHING
    left = Decimal(f"{value:.{decimals}f}") - Decimal(f"{published:.{decimals}f}")
    return Cell(value - published, _signed(left))


def _signed(left: Decimal) -> str:
    return f"{left:+f}" if left else "0"
