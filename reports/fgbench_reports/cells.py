"""Tables out of lines of cells: a value, and how it is printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fgbench_reports.report import Table
from fgbench_reports.sweep_rows import as_text

MISSING = "–"


class Cell(NamedTuple):
    """A value and its printed form."""

    value: Any
    printed: str


def cell(value: Any, show: Callable[[Any], str] = as_text) -> Cell:
    """A value as ``show`` prints it; what is missing is –."""
    return Cell(value, MISSING if value is None else show(value))


def tabled(
    name: str,
    title: str,
    lines: Sequence[Mapping[str, Cell]],
    *,
    names: Collection[str],
    marks: Mapping[tuple[int, str], str] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """A table of these lines, which share their headings."""
    import pandas as pd

    headings = list(lines[0]) if lines else []
    return Table(
        name=name,
        title=title,
        frame=pd.DataFrame([[line[heading].value for heading in headings] for line in lines], columns=headings),
        printed=pd.DataFrame([[line[heading].printed for heading in headings] for line in lines], columns=headings),
        names=names,
        marks=marks or {},
        notes=notes,
    )


def without_empty(lines: Sequence[Mapping[str, Cell]], kept: Collection[str] = ()) -> list[dict[str, Cell]]:
    """The lines without the columns in which no line has anything; those in ``kept`` stay."""
    empty = {
        heading
        for heading in (lines[0] if lines else ())
        if heading not in kept and all(line[heading].value is None for line in lines)
    }
    return [{heading: found for heading, found in line.items() if heading not in empty} for line in lines]


def file_name(*words: object) -> str:
    """Words as the name of a file: letters, digits, - and _."""
    return re.sub(r"[^0-9A-Za-z_]+", "-", " ".join(map(str, words))).strip("-").lower()[:80] or "table"


def distinct(names: Iterable[str]) -> list[str]:
    """Names, each made its own by a number behind it where it comes again."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found
