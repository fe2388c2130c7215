"""Mark the best batch among rows. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from fgbench.measure.rows import FLAGS, Row
from fgbench.sweep.agenda import FIGURES


def mark_best(rows: Sequence[Row]) -> list[Row]:
    """Rows with ``best`` set on the highest throughput of each model and size, in its mode."""
    best: dict[str, int] = {}
    for index, row in enumerate(rows):
        if row["status"] in FIGURES and row["throughput_img_s"] is not None:
            among = _among(row)
            if among not in best or row["throughput_img_s"] > rows[best[among]]["throughput_img_s"]:
                best[among] = index
    chosen = set(best.values())
    return [{**row, "best": index in chosen} for index, row in enumerate(rows)]


def _among(row: Row) -> str:
    """What rows have in common among which one batch is the best."""
    names = ("model", "selector", "impl", "backbone", "image_size", "device", "dtype", "compiled", "repeat")
    return repr([row.get(name) for name in names] + [row["environment"].get(name) for name in (*FLAGS, "device_name")])
