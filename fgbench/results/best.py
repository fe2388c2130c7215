"""The best batch of every model and size among rows of throughput. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fgbench.results.records import ThroughputRow

FLAGS = ("channels_last", "cuda_graph", "threads", "memory_limit_bytes")  # of a mode, beside those with a field


def mark_best(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    """Set ``best`` of rows.

    Args:
        rows: Rows of any models, sizes, modes and devices.

    Returns:
        The rows in their order; ``best`` is true for the highest throughput of each model and size in its mode, on its
        device.

    """
    best: dict[str, ThroughputRow] = {}
    for row in rows:
        if row.status.has_figures and row.throughput_img_s is not None:
            group = _group(row)
            if group not in best or row.throughput_img_s > (best[group].throughput_img_s or 0):
                best[group] = row
    chosen = set(map(id, best.values()))
    return [row if row.best == (id(row) in chosen) else replace(row, best=not row.best) for row in rows]


def _group(row: ThroughputRow) -> str:
    """What rows have in common among which one batch is the best."""
    model = (row.model, row.selector, row.impl, row.backbone, row.image_size)
    mode = (row.device, row.dtype, row.compiled, row.repeat, row.engine)
    return repr([*model, *mode, *(row.environment.get(name) for name in (*FLAGS, "device_name"))])
