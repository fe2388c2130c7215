"""The price of an hour of a device: one for all, or one for every kind of device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from fgbench.results.records import ThroughputRow

CPU = "CPU"  # the kind of all devices that are no GPU

Prices = float | Mapping[str, float]  # one, or by a part of the device's name: {"H100": 3.9, "CPU": 0.4}


class HasRow(Protocol):
    """Something that was measured."""

    @property
    def row(self) -> ThroughputRow:
        """Its row."""


def device_of(row: ThroughputRow) -> str:
    """The name of a row's device."""
    return str(row.environment.get("device_name") or row.device)


def hour_price(prices: Prices | None, row: ThroughputRow) -> float | None:
    """The price of an hour of a row's device; None where there is none.

    A kind is a word, or some, of the name: ``A10`` is no ``A100``. Of several that fit, the longest counts.
    """
    if prices is None or isinstance(prices, (int, float)):
        return prices
    fitting = [kind for kind in prices if is_kind(kind, row)]
    return prices[max(fitting, key=lambda kind: (kind.upper() != CPU, len(kind)))] if fitting else None


def is_kind(kind: str, row: ThroughputRow) -> bool:
    """Whether a row's device is of a kind."""
    if kind.upper() == CPU:
        return row.device == "cpu"
    return re.search(rf"(?<![^\W_]){re.escape(kind)}(?![^\W_])", device_of(row), re.IGNORECASE) is not None


def prices_in_words(prices: Prices) -> str:
    """``at 2.5 per hour of one device, whichever it is``, or ``at 3.9 per hour of H100, 1.8 of A100``."""
    if isinstance(prices, (int, float)):
        return f"at {prices:g} per hour of one device, whichever it is"
    (first, price), *others = prices.items()
    return ", ".join([f"at {price:g} per hour of {first}", *(f"{price:g} of {kind}" for kind, price in others)])


def price_notes_of(prices: Prices | None, points: Iterable[HasRow]) -> list[str]:
    """Which devices have no price, and which prices no device."""
    if prices is None or isinstance(prices, (int, float)):
        return []
    rows = [point.row for point in points]
    without = sorted({device_of(row) for row in rows if hour_price(prices, row) is None})
    unused = [kind for kind in prices if not any(is_kind(kind, row) for row in rows)]
    notes = [f"No price was given for {', '.join(without)}: no cost is known there."] if without else []
    return notes + ([f"Nothing was measured on a device called {', '.join(unused)}."] if unused else [])
