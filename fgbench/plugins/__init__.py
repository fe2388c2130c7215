"""Registries of selectors, models, data sets, engines and reports, from entry points and ``--plugin`` files. No torch.

A command tries the code of a plug-in in another process before it imports it, see :mod:`fgbench.plugins.trial`.
Workers, and programs that import fgbench, import it directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of the trial of one plug-in.

    Args:
        why: Why it cannot be used; None where it can.
        facts: Facts that ``fgbench list`` shows.

    """

    why: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class _Trials:
    """Outcomes of trials by entry-point group and name; None where plug-ins are imported without a trial."""

    outcomes: dict[tuple[str, str], Outcome] | None = None


def outcomes() -> dict[tuple[str, str], Outcome] | None:
    """The outcomes so far by entry-point group and name, to be added to; None outside of :func:`tried_first`."""
    return _Trials.outcomes


@contextmanager
def tried_first() -> Iterator[None]:
    """A context in which plug-ins are tried in a process of their own before they are imported here."""
    before, _Trials.outcomes = _Trials.outcomes, {}
    try:
        yield
    finally:
        _Trials.outcomes = before
