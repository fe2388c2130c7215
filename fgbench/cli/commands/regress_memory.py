"""Saved rows of ``fgbench throughput`` as what a baseline knows of allocated memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgbench.cli.errors import complain
from fgbench.errors import FgbenchError
from fgbench_reports.regression.baseline import MEMORY_FIGURE, MEMORY_IDENTITY, MemoryBaseline, Row
from fgbench_reports.tables.numbers import how_many

SPECIAL = ("channels_last", "cuda_graph", "memory_limit_bytes")  # modes that a baseline does not tell apart


def saved_memory(files: Sequence[str], num_classes: int) -> list[MemoryBaseline]:
    """Allocated memory by GPU and version of torch. Raises :class:`FgbenchError` where the rows have none."""
    from fgbench.cli.saved import read_data

    rows = read_data(None, [Path(name) for name in files], complain).throughput
    measured = [row for row in rows if row[MEMORY_FIGURE] is not None]
    if not measured:
        raise FgbenchError(
            "no row has allocated memory:", ", ".join(files), "only 'fgbench throughput' on a GPU measures it"
        )
    plain = [row for row in measured if _is_plain(row["environment"], num_classes)]
    if not plain:
        raise FgbenchError(
            f"no row has allocated memory of a plain mode and of {num_classes} classes:", ", ".join(files)
        )
    if left := len(measured) - len(plain):
        complain(f"left out: {how_many(left, 'row')} of special modes, or of another number of classes")
    found: dict[tuple[str, str], dict[tuple[Any, ...], Row]] = {}
    for row in plain:
        place = (str(row["environment"].get("device_name")), str(row["environment"].get("torch")))
        key = tuple(row[name] for name in MEMORY_IDENTITY)
        points = found.setdefault(place, {})
        if key not in points or points[key][MEMORY_FIGURE] < row[MEMORY_FIGURE]:
            points[key] = {name: row[name] for name in (*MEMORY_IDENTITY, MEMORY_FIGURE)}
    return [
        MemoryBaseline(gpu=gpu, torch=torch, points=list(points.values())) for (gpu, torch), points in found.items()
    ]


def _is_plain(environment: Mapping[str, Any], num_classes: int) -> bool:
    return not any(environment.get(name) for name in SPECIAL) and environment.get("num_classes") in (None, num_classes)


def merged_memory(known: Sequence[MemoryBaseline], measured: Sequence[MemoryBaseline]) -> list[MemoryBaseline]:
    """What a baseline knows after an update: a GPU that was measured again stands with its new figures alone."""
    again = {section.gpu for section in measured}
    return [*(section for section in known if section.gpu not in again), *measured]
