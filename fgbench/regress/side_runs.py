"""Runs of a side's own ``fgbench throughput`` in fresh processes, and the points that their rows are of.

Two revisions share nothing but the documented rows of that command.
"""

from __future__ import annotations

import math
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbench.regress.sides.processes import Ended, run_program
from fgbench.regress.sides.sides import Side
from fgbench.results.reading import parse_json
from fgbench.results.record_base import STATUSES, Status
from fgbench.workers.pool import last_line

Row = Mapping[str, Any]  # of ``fgbench throughput --format json``, of this version or another one
TIMED = (Status.OK, Status.UNCONVERGED)  # statuses whose times count
DISTURBED = Status.CONTENDED
REFUSED = 2  # exit code: usage or bad input


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPoint:
    """One point on base and head; ``base[i]`` and ``head[i]`` were measured one after the other."""

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
    """The rows of one run of one side, or the reason why there are none."""

    rows: Mapping[str, Row]  # by the names of their points
    failure: str | None = None  # why rows are missing, in words
    refused: bool = False  # it says that the request is wrong: it would say so again

    @property
    def whole(self) -> bool:
        """Whether it went as it should, and another one would say no more: memory that runs out is a result."""
        well = self.failure is None or self.refused
        ends = [status(row) for row in self.rows.values()]
        return well and bool(ends) and all(isinstance(end, Status) and end.is_result for end in ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The seconds of one point in one run, or the reason why there are none."""

    seconds: float | None = None
    failure: str | None = None
    disturbed: bool = False  # something else used the device; otherwise a failure is its own
    final: bool = False  # another run would say the same


def reading(run: SideRun, name: str) -> Reading:
    """The reading of the point of this name in a run."""
    row = run.rows.get(name)
    if row is None:
        return Reading(failure=run.failure or "it has no such point", final=run.refused or run.failure is None)
    seconds, how = latency_s(row), status(row)
    if how in TIMED and seconds is not None:
        return Reading(seconds=seconds)
    why = f"{how}: {row.get('reason') or 'no reason is given'}"
    return Reading(failure=why, disturbed=how is DISTURBED)


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


def status(row: Row) -> Status | str:
    """How a point ended; a row that does not say so, but has a time, is well. A text where it is no known status."""
    said = row.get("status") or (Status.ERROR if latency_s(row) is None else Status.OK)
    return Status(said) if said in STATUSES else str(said)


def run_side(side: Side, words: Sequence[str], limit_s: float) -> SideRun:
    """Run a command line of fgbench on a side, in a fresh process, an empty folder and an empty store.

    Args:
        side: Its Python, plug-ins and environment.
        words: The command line, as :meth:`PairsRequest.words` has it.
        limit_s: Seconds after which the process is killed.

    Returns:
        The rows, or why there are none.

    """
    with tempfile.TemporaryDirectory(prefix="fgbench-run-") as folder:
        empty = Path(folder, "empty")  # a checkout in the working directory would be imported
        empty.mkdir()
        plugins = [f"--plugin={file}" for file in side.plugins]
        command = [side.python, "-m", "fgbench", *words, *plugins, f"--store={Path(folder, 'store.db')}"]
        ended = run_program(command, folder=empty, environment=side.surroundings(), limit_s=limit_s)
    rows = _rows(ended.stdout)
    if ended.code is None:
        return SideRun(rows=by_name(rows or []), failure=f"timeout: it was killed after {limit_s:g} s")
    if rows is None or (ended.code != 0 and not rows):
        return SideRun(rows={}, failure=_complaint(ended), refused=ended.code == REFUSED)
    if ended.code == 0:
        return SideRun(rows=by_name(rows))
    return SideRun(rows=by_name(rows), failure=_complaint(ended), refused=ended.code == REFUSED)


def _rows(text: str) -> list[Row] | None:
    try:
        found = parse_json(text)
    except ValueError:
        return None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else None


def _complaint(ended: Ended) -> str:
    """Why there are no rows, in a line."""
    said = last_line(ended.stderr).removeprefix("fgbench: ")
    if ended.code == 0:
        return "crashed: its output is no list of rows"
    if ended.code == REFUSED and said:
        return f"refused: {said}"
    how = f"exit code {ended.code}"
    if ended.code is not None and ended.code < 0:
        known = {number.value: number.name for number in signal.Signals}
        how = f"killed by {known.get(-ended.code, f'signal {-ended.code}')}"
    return f"crashed: {how}" + (f", {said}" if said else "")
