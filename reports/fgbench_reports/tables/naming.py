"""Names of files, and columns that nobody needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from fgbench_reports.tables.build import Cell


def without_empty(lines: Sequence[Mapping[str, Cell]], kept: Collection[str] = ()) -> list[dict[str, Cell]]:
    """The lines without the columns in which no line has a value; those in ``kept`` stay."""
    filled = {heading for line in lines for heading, cell in line.items() if cell.value is not None} | set(kept)
    return [{heading: cell for heading, cell in line.items() if heading in filled} for line in lines]


def file_name(*words: object) -> str:
    """Words as the name of a file: letters, digits, - and _."""
    return re.sub(r"[^0-9A-Za-z_]+", "-", " ".join(map(str, words))).strip("-").lower()[:80] or "table"


def distinct(names: Iterable[str]) -> list[str]:
    """Names, each made its own by a number behind it where it comes again."""
    taken: dict[str, None] = {}
    for name in names:
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name}-{number}"
        taken[own] = None
    return list(taken)
