"""Rows of a sweep on a node: kept in memory, and told to the driver, which alone writes the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

Told = Callable[[str, str, Mapping[str, Any], Mapping[str, Any]], None]  # kind, key, row, environment


class KeptRows:
    """The part of :class:`fgbench.results.store.Store` that a sweep uses.

    Args:
        known: Rows by their keys.
        tell: Receives every row.

    """

    def __init__(self, known: Mapping[str, Mapping[str, Any]], tell: Told) -> None:
        self._rows = {key: dict(row) for key, row in known.items()}
        self._tell = tell

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The row of a point, or None."""
        del kind  # keys of all kinds differ
        row = self._rows.get(key)
        return None if row is None else dict(row)

    def add(
        self, kind: str, key: str, row: Mapping[str, Any], environment: Mapping[str, Any], *, again: bool = False
    ) -> bool:
        """Keep a row, and tell it."""
        if key in self._rows and not again:
            return False
        time = environment.get("time") or datetime.now(timezone.utc).isoformat(timespec="seconds")
        around = {**environment, "time": time}
        self._rows[key] = {**row, "environment": around}
        self._tell(kind, key, dict(row), around)
        return True

    def claim(self, kind: str, key: str) -> bool:
        """The driver has claimed the point already."""
        del kind, key
        return True

    def renew(self, kind: str, key: str) -> None:
        """The driver renews claims."""

    def release(self, kind: str, key: str) -> None:
        """The driver releases claims."""
