"""The rows of points in a store. No torch."""

from __future__ import annotations

from fgbench.results.decoding import decode
from fgbench.results.records import ThroughputRow
from fgbench.results.store import Store

KIND = ThroughputRow.kind


def stored_row(store: Store, key: str) -> ThroughputRow | None:
    """The newest row of a point in a store, or None. Raises :class:`FgbenchError` for one that cannot be read."""
    row = store.get(KIND, key)
    return None if row is None else decode(ThroughputRow, row)
