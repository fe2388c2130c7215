"""Best and second among values: what tables print bold and underlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, Literal

from fgbench_reports.report import BEST, SECOND

Direction = Literal["high", "low"]  # which end of the values is good
Marks = dict[tuple[int, str], str]  # (line, heading) → BEST or SECOND


def number_of(value: Any) -> float | None:
    """A value as a finite number; None for words, truth values, and whatever is missing, NaN or infinite."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    number = float(value)
    return number if isfinite(number) else None


def best_and_second(
    values: Sequence[Any], direction: Direction, printed: Sequence[str] | None = None
) -> list[str | None]:
    """The mark of every value, None for most; ties are marked alike, and so is what is printed alike.

    What is no finite number is left out. A number without another one beside it is the best of nothing.
    """
    if direction not in ("high", "low"):
        raise ValueError(f"a direction is 'high' or 'low', not {direction!r}")
    found = [(number, index) for index, value in enumerate(values) if (number := number_of(value)) is not None]
    marks: list[str | None] = [None] * len(values)
    if len(found) < 2:
        return marks
    left = sorted(found, key=lambda each: (-each[0] if direction == "high" else each[0], each[1]))
    for mark in (BEST, SECOND):
        if left:
            number, first = left[0]
            alike = {at for value, at in left if value == number or (printed and printed[at] == printed[first])}
            for at in alike:
                marks[at] = mark
            left = [each for each in left if each[1] not in alike]
    return marks


def column_marks(
    columns: Mapping[str, Sequence[Any]],
    directions: Mapping[str, Direction],
    printed: Mapping[str, Sequence[str]] | None = None,
) -> Marks:
    """The marks of whole columns, of those that have a direction."""
    return {
        (line, heading): mark
        for heading, direction in directions.items()
        for line, mark in enumerate(best_and_second(columns[heading], direction, (printed or {}).get(heading)))
        if mark
    }


def line_marks(
    line: int, values: Mapping[str, Any], direction: Direction, printed: Mapping[str, str] | None = None
) -> Marks:
    """The marks of one line, among the cells that are given."""
    texts = [printed[heading] for heading in values] if printed else None
    marks = best_and_second(list(values.values()), direction, texts)
    return {(line, heading): mark for heading, mark in zip(values, marks, strict=True) if mark}
