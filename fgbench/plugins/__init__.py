"""Other people's selectors, models, data sets and reports: found, tried in a process of their own, and registered.

A command runs foreign code in its own process only after that passed its trial, see :mod:`fgbench.plugins.trial`.
Workers, which may die, and programs that import fgbench load it directly. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial found: why an object cannot be used, or what ``fgbench list`` shows of it."""

    why: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class _Trials:
    """The outcomes of a command's trials by entry-point group and name; None where nothing is tried first."""

    outcomes: dict[tuple[str, str], Outcome] | None = None


def outcomes() -> dict[tuple[str, str], Outcome] | None:
    """The outcomes so far, to be added to; None where foreign code is loaded without a trial."""
    return _Trials.outcomes


@contextmanager
def tried_first() -> Iterator[None]:
    """Inside, foreign code is tried in a process of its own before it is loaded into this one."""
    before, _Trials.outcomes = _Trials.outcomes, {}
    try:
        yield
    finally:
        _Trials.outcomes = before
