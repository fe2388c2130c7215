"""The best batch of every model and size among rows of throughput. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fgbench.results.records import Status

FLAGS = ("channels_last", "cuda_graph", "threads", "memory_limit_bytes")  # of a mode, beside those with a field
_SAME = ("model", "selector", "impl", "backbone", "image_size", "device", "dtype", "compiled", "repeat")


def best_batches(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """The places of the rows with the highest throughput of their model and size, in their mode."""
    best: dict[str, int] = {}
    for index, row in enumerate(rows):
        if Status(row["status"]).has_figures and row["throughput_img_s"] is not None:
            group = _group(row)
            if group not in best or row["throughput_img_s"] > rows[best[group]]["throughput_img_s"]:
                best[group] = index
    return set(best.values())


def _group(row: Mapping[str, Any]) -> str:
    """What rows have in common among which one batch is the best."""
    environment = row["environment"]
    return repr([row.get(name) for name in _SAME] + [environment.get(name) for name in (*FLAGS, "device_name")])
