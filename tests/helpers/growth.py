"""How work grows with data. Calls are counted, seconds are not: the count is the same on every machine, however busy.

What a call does inside of C is not seen, such as a search through a list. ``tests/benchmarks`` measures times.
"""

from __future__ import annotations

import cProfile
from collections.abc import Callable, Sequence
from typing import Any

SLACK = 1.3  # sorting takes a little more than ten times as much for ten times as many


def calls(run: Callable[[], object]) -> int:
    """Calls of functions, of Python's and of C's, while ``run`` runs."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        run()
    finally:
        profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


def assert_work_grows_with(rows: Sequence[Any], run: Callable[[Any], object], times: int = 10) -> None:
    """Ten times the rows take no more than ten times the work, and a little."""
    few = rows[: len(rows) // times]
    run(few)  # imports, and what is computed once
    before, after = calls(lambda: run(few)), calls(lambda: run(rows))
    assert after <= SLACK * times * before, f"{times} times the rows take {after / before:.1f} times the calls"
