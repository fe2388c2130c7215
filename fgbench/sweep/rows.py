"""Mark the best batch among rows. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgbench.results.best import best_batches

Row = dict[str, Any]


def mark_best(rows: Sequence[Row]) -> list[Row]:
    """Rows with ``best`` set on the highest throughput of each model and size, in its mode."""
    chosen = best_batches(rows)
    return [{**row, "best": index in chosen} for index, row in enumerate(rows)]
