"""Points that two sides were measured on: what came out of each pair, and why a side has nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]  # of ``fgbench throughput --format json``, of this version or another one
TIMED = ("ok", "unconverged")  # statuses whose times count
DISTURBED = "contended"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPoint:
    """One point by base and head; ``base[i]`` and ``head[i]`` were measured one after the other."""

    name: str  # unique: "glsim gls fast vit_base_patch16_224 224 batch 4"
    model: str
    selector: str | None
    impl: str | None
    backbone: str | None
    image_size: int | None  # pixels, square
    batch_size: int  # images
    device: str | None
    dtype: str | None
    base: list[float] = field(default_factory=list)  # seconds: the median of one process each, both of one length
    head: list[float] = field(default_factory=list)
    base_memory: list[int] = field(default_factory=list)  # allocated bytes at the peak; none on a CPU
    head_memory: list[int] = field(default_factory=list)
    base_failure: str | None = None  # why it cannot be measured there
    head_failure: str | None = None
    base_environment: dict[str, Any] = field(default_factory=dict)  # of one row; empty where there is none
    head_environment: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a side cannot measure it."""
        return self.base_failure is not None or self.head_failure is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRun:
    """What one run of one side came to."""

    rows: Mapping[str, Row]  # by the names of their points
    failure: str | None = None  # why rows are missing, in words
    refused: bool = False  # it says that the request is wrong: it would say so again

    @property
    def whole(self) -> bool:
        """Whether it went as it should, and another one would say no more: memory that runs out is a result."""
        kept = (*TIMED, DISTURBED, "oom", "oom_inferred")
        well = self.failure is None or self.refused
        return well and bool(self.rows) and all(status(row) in kept for row in self.rows.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one run says of one point: seconds, or why there are none."""

    seconds: float | None = None
    failure: str | None = None
    disturbed: bool = False  # something else used the device; otherwise a failure is its own
    final: bool = False  # another run would say the same


def reading(run: SideRun, name: str) -> Reading:
    """What a run says of the point of this name."""
    row = run.rows.get(name)
    if row is None:
        return Reading(failure=run.failure or "it has no such point", final=run.refused or run.failure is None)
    seconds, how = latency_s(row), status(row)
    if how in TIMED and seconds is not None:
        return Reading(seconds=seconds)
    why = f"{how}: {row.get('reason') or 'no reason is given'}"
    return Reading(failure=why, disturbed=how == DISTURBED)


def point_of(row: Row) -> TimedPoint | None:
    """The point of a row, without times; None where the row does not say which one it is."""
    model, batch_size = row.get("model"), row.get("batch_size")
    if not isinstance(model, str) or not isinstance(batch_size, int):
        return None
    words = [model, row.get("selector"), row.get("impl"), row.get("backbone"), row.get("image_size")]
    words += [f"batch {batch_size}", None if row.get("dtype") == "float32" else row.get("dtype")]
    return TimedPoint(
        name=" ".join(str(word) for word in words if word is not None),
        model=model,
        selector=row.get("selector"),
        impl=row.get("impl"),
        backbone=row.get("backbone"),
        image_size=row.get("image_size"),
        batch_size=batch_size,
        device=row.get("device"),
        dtype=row.get("dtype"),
    )


def by_name(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by the names of their points."""
    return {point.name: row for row in rows if (point := point_of(row)) is not None}


def latency_s(row: Row) -> float | None:
    """The seconds of one batch, where a row has them."""
    seconds, speed = row.get("latency_s"), row.get("throughput_img_s")
    if seconds is None and speed:
        seconds = row["batch_size"] / speed
    usable = isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds > 0
    return float(seconds) if usable and seconds is not None else None


def memory_bytes(row: Row) -> list[int]:
    """The peak of allocated bytes, where a row has it."""
    peak = row.get("peak_memory_allocated_bytes")
    return [peak] if isinstance(peak, int) else []


def status(row: Row) -> str:
    """How a point ended; a row that does not say so, but has a time, is well."""
    return str(row.get("status") or ("error" if latency_s(row) is None else "ok"))
