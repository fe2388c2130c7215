"""Rows of several sources: each once, and the best batch of every model and size. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fgbench.results.decoding import AnyRecord
from fgbench.results.records import ThroughputRow, saved_fields

# Of a mode, beside what has a field.
PERCENTS = (50, 95, 99)
FLAGS = ("channels_last", "cuda_graph", "threads", "memory_limit_bytes", "training", "concurrency", "rate_per_s")


def distinct(record: type[AnyRecord], rows: Iterable[AnyRecord]) -> list[AnyRecord]:
    """Leave out rows that are there already.

    Two rows are the same where all saved fields agree, and their environments too where both have one: two
    measurements do not agree in all digits, and a count is the same everywhere.

    Args:
        record: The class of their kind.
        rows: The rows, of one kind.

    Returns:
        The rows that are left, in their order. A row with an environment takes the place of one without.

    """
    names = [name for name in saved_fields(record) if name not in ("best", "environment")]
    unique: list[AnyRecord] = []
    places: dict[str, dict[str, int]] = {}
    for row in rows:
        around = _telling(record.kind, row["environment"])
        known = places.setdefault(json.dumps([row[name] for name in names], sort_keys=True), {})
        if around in known or (known and not around):
            continue
        if "" in known:  # the rows until now have no environment
            known[around] = known.pop("")
            unique[known[around]] = row
        else:
            known[around] = len(unique)
            unique.append(row)
    return unique


def _telling(kind: str, environment: Mapping[str, Any]) -> str:
    """What of an environment tells rows apart, as text."""
    if kind == "flops":  # nothing else changes a count
        values = {name: environment[name] for name in ("num_classes", "patch_stride") if name in environment}
    else:
        values = {name: value for name, value in environment.items() if name != "time"}
    return json.dumps(values, sort_keys=True) if values else ""


def percentile_field(percent: int) -> str:
    """The field of a row of throughput that has a percentile of the latency."""
    return f"latency_p{percent}_s"


def mark_best(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    """Set ``best`` of rows.

    Args:
        rows: Rows of any models, sizes, modes and devices.

    Returns:
        The rows in their order; ``best`` is true for the highest throughput of each model and size in its mode, on its
        device. A part of a run is never the best, nor is a load that arrives at its own rate.

    """
    best: dict[str, ThroughputRow] = {}
    for row in rows:
        if row.status.has_figures and row.throughput_img_s is not None and row.part is None and has_capacity(row):
            group = _group(row)
            if group not in best or row.throughput_img_s > (best[group].throughput_img_s or 0):
                best[group] = row
    chosen = set(map(id, best.values()))
    return [row if row.best == (id(row) in chosen) else replace(row, best=not row.best) for row in rows]


def has_capacity(row: ThroughputRow) -> bool:
    """Whether a throughput is what a device can do: requests that arrive by themselves are served at their rate."""
    return not (row.environment or {}).get("rate_per_s")


def _group(row: ThroughputRow) -> str:
    """What rows have in common among which one batch is the best."""
    model = (row.model, row.selector, row.impl, row.backbone, row.image_size)
    mode = (row.device, row.dtype, row.compiled, row.repeat, row.engine, row.part)
    return repr([*model, *mode, *(row.environment.get(name) or None for name in (*FLAGS, "device_name"))])
