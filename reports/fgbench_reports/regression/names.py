"""Names that a reader looks up: each one once."""

from __future__ import annotations

from collections.abc import Iterable


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order; one that was there before has a number behind it: "x", "y", "x (2)"."""
    met: dict[str, int] = {}
    made = []
    for name in names:
        written = name
        while written in met:
            met[name] += 1
            written = f"{name} ({met[name]})"
        met[written] = 1
        made.append(written)
    return made
