"""Mark the best batch among rows. No torch."""

from __future__ import annotations

from fgbench.errors import FgbenchError
from fgbench.results.decoding import RowError, decode
from fgbench.results.records import ThroughputRow
from fgbench.results.store import Store

KIND = ThroughputRow.kind


def stored_row(store: Store, key: str) -> ThroughputRow | None:
    """The newest row of a point in a store, or None.

    Raises:
        FgbenchError: Where the store holds something else under this key.

    """
    row = store.get(KIND, key)
    if row is None:
        return None
    try:
        return decode(ThroughputRow, row)
    except RowError as error:
        raise FgbenchError(f"the store holds a point that cannot be read: {error};", do="--again measures it") from None
