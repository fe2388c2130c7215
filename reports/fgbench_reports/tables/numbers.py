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


def how_many(count: int, thing: str, things: str = "") -> str:
    """A count and what is counted, in the right number: 1 figure, 2 figures; 1 class, 2 classes."""
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"


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


def significant(value: float | None, digits: int = 3, *, decimals: int = 3) -> str:
    """So many digits, no exponent, so many decimals at most: 3512, 84.3, 0.512, <0.001; what is missing is –."""
    from math import isfinite

    if value is None or not isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 0 < value < 0.5 * 10**-decimals:
        return f"<{10**-decimals:.{decimals}f}"
    exponent = int(
        f"{value:.{digits - 1}e}".partition("e")[2]
    )  # after rounding: 99.96 has three digits before the point
    return f"{value:.{min(max(digits - 1 - exponent, 0), decimals)}f}"


def img_per_s(value: float | None) -> str:
    """Throughput: three digits, all of those before the point: 3512, 84.3, 0.512."""
    return significant(value)


def four_digits(value: float | None) -> str:
    """Four digits, four decimals at most: 0.8123, 12.34, 284.4, 35124."""
    return significant(value, 4, decimals=4)


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds, in four digits: 0.8123, 12.34, 284.4, 35124."""
    return four_digits(None if seconds is None else seconds * 1e3)


def gigabytes(count: int | None) -> str:
    """Bytes as decimal gigabytes, 10⁹ bytes: 0.512, 12.3, 141."""
    return significant(None if count is None else count / 1e9)


def short_percent(value: float | None) -> str:
    """A small percentage, in two digits: 0.12, 1.3, 24, <0.01."""
    return significant(value, 2, decimals=2)


def half_width_percent(low: float | None, middle: float | None, high: float | None) -> str:
    """Half the width of an interval, in percent of what it is about."""
    if low is None or middle is None or high is None or middle <= 0:
        return "–"
    return short_percent((high - low) / 2 / middle * 100)
