"""Numbers as people read them."""

from __future__ import annotations

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")


def with_prefix(value: int) -> str:
    """Three digits and a decimal prefix: 17563213824 → ``17.6 G``; counts under a thousand stay whole."""
    if value < 1000:
        return str(value)
    scaled, prefix = float(value), 0
    while (f"{scaled:.3g}" == "1e+03" or scaled >= 1000) and prefix < len(PREFIXES) - 1:
        scaled, prefix = scaled / 1000, prefix + 1
    return f"{scaled:#.3g}".rstrip(".") + f" {PREFIXES[prefix]}"


def percent(value: float) -> str:
    """Five digits, four decimals at most, as the paper prints them: 46.531, 0.9833, 0.0007, 13674."""
    if value == 0:
        return "0"
    if value < 0.00005:
        return "<0.0001"
    for decimals in (4, 3, 2, 1):
        text = f"{value:.{decimals}f}"  # it can be a digit longer than the value: 9.99996 is 10.000
        if len(text) <= len("46.531"):
            return text
    return f"{value:.0f}"


def as_printed(value: float, printed: str) -> str:
    """A value rounded the way the paper rounds a cell that reads ``printed``.

    Cells of fewer than three digits were rounded from three (0.008849 → 0.00885 → 0.0089).
    """
    from decimal import ROUND_HALF_UP, Decimal

    digits = max(3, len(printed.replace(".", "").lstrip("0")))
    first = Decimal(f"{value:.{digits - 1}e}")
    return str(first.quantize(Decimal(printed), ROUND_HALF_UP))
