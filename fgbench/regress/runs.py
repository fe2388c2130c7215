"""One fresh run of a side's own ``fgbench throughput``: two revisions share nothing but its documented rows."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fgbench.regress.sides.processes import Ended, last_line, run_program
from fgbench.regress.sides.sides import Side
from fgbench.regress.timed_points import Row, SideRun, by_name
from fgbench.results.reading import parse_json

REFUSED = 2  # exit code: usage or bad input


def run_side(side: Side, words: Sequence[str], limit_s: float) -> SideRun:
    """Run a command line of fgbench on a side, in a fresh process, an empty folder and an empty store."""
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
