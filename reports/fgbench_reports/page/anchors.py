"""Anchors: what the parts of a page are linked by."""

from __future__ import annotations

import re

# What the page itself calls its parts.
TAKEN = ("content", "contents", "environment", "conventions", "rows", "said", "tip")


class Anchors:
    """Gives every name an anchor of its own: its letters, digits, - and _, numbered where two names come to the same.

    No anchor holds two hyphens in a row: what a figure calls its parts is put behind them.
    """

    def __init__(self) -> None:
        self._taken = set(TAKEN)

    def take(self, *names: str) -> str:
        """The anchor of a name, or of one inside another."""
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(names)).strip("-") or "part"
        anchor, number = plain, 1
        while anchor in self._taken:
            number += 1
            anchor = f"{plain}-{number}"
        self._taken.add(anchor)
        return anchor
