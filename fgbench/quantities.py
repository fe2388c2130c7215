"""Parsing of quantities with units: times, memory, energy, rates, money. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fgbench.errors import FgbenchError
from fgbench.values import names

MAX_MEMORY = 10**15  # bytes
UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
LONGEST_S = 1e8  # three years


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A kind of quantity and its units.

    Args:
        name: Its name in messages.
        units: Factor of each unit; "" stands for a number without unit. Units in lower case may be in capitals.
        example: An example in messages.
        largest: The largest allowed value.

    """

    name: str
    units: Mapping[str, float]
    example: str
    largest: float = 1e12


LATENCY = Quantity(
    name="a time with its unit",
    units={"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9},
    example="20ms or 0.02s",
    largest=LONGEST_S,
)
ENERGY = Quantity(  # case matters: mJ is not MJ
    name="an energy", units={"": 1.0, "j": 1.0, "mJ": 1e-3, "kJ": 1e3}, example="0.5J or 500mJ"
)
RATE = Quantity(name="images per second", units={"": 1.0, "img/s": 1.0, "images/s": 1.0}, example="100")
ARRIVALS = Quantity(
    name="a rate of arrivals", units={"": 1.0, "/s": 1.0, "/min": 1 / 60}, example="50/s or 30/min", largest=1e6
)
PERCENT = Quantity(name="a percentage", units={"": 1.0, "%": 1.0}, example="90", largest=100)
MONEY = Quantity(name="an amount of money", units={"": 1.0}, example="2.50")


def duration(text: str, what: str) -> float:
    """A duration such as ``10m``, ``200ms``, ``90s``, ``1h30m`` or ``1.5h`` in seconds.

    Args:
        text: The text.
        what: Name of the option in messages.

    Raises:
        FgbenchError: If the text is no duration.

    """
    compact = text.strip().lower().replace(" ", "")
    terms = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)", compact)
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in terms)
    if "".join(number + unit for number, unit in terms) != compact or not 0 < seconds < LONGEST_S:
        raise FgbenchError(f"{what} must be a time, got", text, "for example 90s, 10m or 1h30m")
    return seconds


def quantity(text: str, what: str, kind: Quantity) -> float:
    """A quantity such as ``20ms``, ``0.02 s`` or ``2e-2s`` in the unit whose factor is 1.

    Args:
        text: The text.
        what: Name of the option in messages.
        kind: Its units and range.

    Raises:
        FgbenchError: If the text is no such quantity or out of range.

    """
    match = re.fullmatch(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(\S*)", text.strip())
    unit = None if match is None else kind.units.get(match[2], kind.units.get(match[2].lower()))
    if match is None or unit is None:
        raise FgbenchError(f"{what} must be {kind.name}, got", text, f"for example {kind.example}")
    if not 0 < (value := float(match[1]) * unit) <= kind.largest:
        raise FgbenchError(f"{what} must be above 0 and at most {kind.largest:g}, got", text, f"try {kind.example}")
    return value


def hour_prices(text: str, what: str, example: str = "2.50") -> float | dict[str, float]:
    """The price of an hour: ``2.50`` of any device, or ``H100=3.90,A100=1.80`` by kinds of devices.

    Args:
        text: The text.
        what: Name of the option in messages.
        example: An example in messages.

    Raises:
        FgbenchError: A price is none, or a kind has no name or two prices.

    """
    money = Quantity(name="an amount of money", units={"": 1.0}, example=example)
    if "=" not in text:
        return quantity(text, what, money)
    prices: dict[str, float] = {}
    for word in text.split(","):
        kind, equals, price = (part.strip() for part in word.partition("="))
        if not kind or not equals:
            raise FgbenchError(
                f"{what} must have a kind of device before every price, got", text, "as H100=3.90,A100=1.80"
            )
        if kind.lower() in map(str.lower, prices):
            raise FgbenchError(f"{what} has two prices of", kind)
        prices[kind] = quantity(price, f"{what} {kind}", money)
    return prices


def arrival_rates(words: Sequence[str]) -> list[float]:
    """Rates of arrivals such as ``50/s 100/s``, each once, per second; errors as of :func:`quantity`."""
    rates = [quantity(word, "--rate", ARRIVALS) for word in names(words, "rate of arrivals")]
    return list(dict.fromkeys(rates))


def size_in_words(size_bytes: int) -> str:
    """The size of a file as people read it: kilobytes below a megabyte."""
    return f"{size_bytes / 1e3:.0f} kB" if size_bytes < 999_500 else f"{size_bytes / 1e6:.0f} MB"


def memory_size(text: str, what: str) -> int:
    """An amount of memory such as ``8GB`` or ``512MiB`` in bytes; arguments and errors as of :func:`duration`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmgt])(i?)b?", text.strip().lower().replace(" ", ""))
    size = 0 if match is None else int(float(match[1]) * (1024 if match[3] else 1000) ** ("kmgt".index(match[2]) + 1))
    if size < 1:
        raise FgbenchError(f"{what} must be an amount of memory, got", text, "for example 8GB or 512MiB")
    if size > MAX_MEMORY:
        raise FgbenchError(f"{what} must be at most 1000 TB, got", text)
    return size
