"""The table: values beside their printed text, the best and the second best of them, and names of its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from fgbench_reports.tables.column import NOTHING, Cell, Column, Direction, as_text, line_of, shown

if TYPE_CHECKING:
    import pandas as pd

BEST, SECOND = "best", "second"
Marks = dict[tuple[int, str], str]  # (line, heading) → BEST or SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a terminal shows a table that needs more than the usual form.

    Attributes:
        form: ``narrow`` fits 80 columns: no blanks around columns, every word of a heading on a line of its own;
            ``framed`` has a blank around the table as well; ``plain`` has neither a title nor rules.
        headings: What is printed in place of a heading; line breaks in it are kept.
        styles: The style of a cell, as rich names it, by line and heading.
        column_styles: The style of a column.
        block_ends: Lines below which a blank line stands.
        wrapped: Columns of figures that may be wrapped. Others are cut last of all.

    """

    form: Literal["narrow", "framed", "plain"] = "narrow"
    headings: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[tuple[int, str], str] = field(default_factory=dict)
    column_styles: Mapping[str, str] = field(default_factory=dict)
    block_ends: Collection[int] = ()
    wrapped: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: values as they are, and as they are printed. Names in it are data and are escaped by every format."""

    name: str  # of its files, unique in its report: letters, digits, - and _
    title: str
    frame: pd.DataFrame  # values: numbers, words, None; unique headings
    printed: pd.DataFrame  # the same cells as text, – where a value is missing
    names: Collection[str]  # columns that hold names and stand to the left; all others hold figures
    marks: Mapping[tuple[int, str], str] = field(default_factory=dict)  # (line, heading) → BEST or SECOND
    notes: Sequence[str] = ()  # sources, conventions, environments: a sentence or two each
    layout: Layout | None = None  # of a terminal, where the usual one is too wide
    units: Mapping[str, str] = field(default_factory=dict)  # of the values, by heading

    @classmethod
    def from_rows(
        cls,
        name: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Any],
        *,
        marked: bool = True,
        marks: Mapping[tuple[int, str], str] | None = None,
        notes: Sequence[str] = (),
        layout: Layout | None = None,
    ) -> Table:
        """A table of some columns, a line per row.

        Args:
            name: The name of its files.
            title: What the table shows.
            columns: Its columns, from left to right.
            rows: Rows of the kind that the columns are declared for.
            marked: Whether the best and the second value of columns with a better end are marked.
            marks: The marks of cells by line and heading, in place of those.
            notes: Sentences below the table.
            layout: How a terminal shows it.

        """
        lines = [line_of(columns, row) for row in rows]
        if marks is None and marked:
            better = {column.heading: column.better for column in columns if column.better is not None}
            marks = cell_marks(lines, better)
        return cls.from_cells(
            name,
            title,
            lines,
            names=[column.heading for column in columns if column.is_name],
            marks=marks,
            notes=notes,
            headings=[column.heading for column in columns],
            layout=layout,
            units={column.heading: column.unit for column in columns if column.unit},
        )

    @classmethod
    def from_cells(
        cls,
        name: str,
        title: str,
        lines: Sequence[Mapping[str, Cell]],
        *,
        names: Collection[str],
        marks: Mapping[tuple[int, str], str] | None = None,
        notes: Sequence[str] = (),
        headings: Sequence[str] | None = None,
        layout: Layout | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Table:
        """A table whose columns hold cells of several kinds.

        Args:
            name: The name of its files.
            title: What the table shows.
            lines: The cells of every line by their headings; a cell that a line lacks is missing.
            names: Headings of the columns that hold names.
            marks: The marks of cells by line and heading.
            notes: Sentences below the table.
            headings: The headings from left to right; those of the lines, in their order, where there are none.
            layout: How a terminal shows it.
            units: The units of columns by their headings.

        """
        import pandas as pd

        shown_headings = _headings(lines) if headings is None else list(headings)
        texts = [[line.get(heading, NOTHING).text for heading in shown_headings] for line in lines]
        return cls(
            name=name,
            title=title,
            frame=frame_of(lines, shown_headings),
            printed=pd.DataFrame(texts, columns=shown_headings, dtype=object),
            names=names,
            marks=marks or {},
            notes=notes,
            layout=layout,
            units=units or {},
        )

    @classmethod
    def from_frame(
        cls,
        name: str,
        title: str,
        frame: pd.DataFrame,
        formats: Mapping[str, Callable[[Any], str]],
        *,
        names: Collection[str] | None = None,
        best: Mapping[str, Direction] | None = None,
        notes: Sequence[str] = (),
    ) -> Table:
        """A table from a frame of values. Columns without a function are printed as they are.

        Args:
            name: The name of its files.
            title: What the table shows.
            frame: Its values; a missing value is printed as –.
            formats: The function that prints a column, by its heading.
            names: Headings of the columns that hold names; those without a function where it is None.
            best: Which end of a column is marked, ``"high"`` or ``"low"``, by its heading.
            notes: Sentences below the table.

        Raises:
            ValueError: A heading is given that the frame does not have.

        """
        import pandas as pd

        headings = [str(heading) for heading in frame.columns]
        for heading in (*formats, *(best or {}), *(names or ())):
            if heading not in headings:
                raise ValueError(f"table {name!r} has no column {heading!r}: it has {', '.join(headings)}")
        values = {heading: frame.iloc[:, index].tolist() for index, heading in enumerate(headings)}
        printed = {
            heading: [shown(value, formats.get(heading, as_text)) for value in column]
            for heading, column in values.items()
        }
        return cls(
            name=name,
            title=title,
            frame=frame,
            printed=pd.DataFrame(printed, columns=headings, dtype=object),
            names=[heading for heading in headings if heading not in formats] if names is None else names,
            marks=column_marks(values, best or {}, printed),
            notes=notes,
        )

    @classmethod
    def from_text(
        cls, name: str, title: str, frame: pd.DataFrame, *, names: Collection[str], notes: Sequence[str] = ()
    ) -> Table:
        """A table of a frame of printed cells.

        Args:
            name: The name of its files.
            title: What the table shows.
            frame: The text of every cell.
            names: Headings of the columns that hold names; they need not all be there.
            notes: Sentences below the table.

        """
        return cls(name=name, title=title, frame=frame, printed=frame, names=names, notes=notes)


def _headings(lines: Sequence[Mapping[str, Cell]]) -> list[str]:
    return list(dict.fromkeys(heading for line in lines for heading in line))


def frame_of(lines: Sequence[Mapping[str, Cell]], headings: Sequence[str] | None = None) -> pd.DataFrame:
    """The values of lines of cells; None where there is none."""
    import pandas as pd

    columns = _headings(lines) if headings is None else list(headings)
    values = [[line.get(heading, NOTHING).value for heading in columns] for line in lines]
    return pd.DataFrame(values, columns=columns, dtype=object)


def without_empty(lines: Sequence[Mapping[str, Cell]], always: Collection[str] = ()) -> list[dict[str, Cell]]:
    """The lines without the columns in which no line has a value; those in ``always`` stay."""
    filled = {heading for line in lines for heading, cell in line.items() if cell.value is not None} | set(always)
    return [{heading: cell for heading, cell in line.items() if heading in filled} for line in lines]


def file_name(*words: object) -> str:
    """Words as the name of a file: letters, digits, - and _."""
    return re.sub(r"[^0-9A-Za-z_]+", "-", " ".join(map(str, words))).strip("-").lower()[:80] or "table"


def distinct(names: Iterable[str]) -> list[str]:
    """Names, with a number behind a name that comes again."""
    taken: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}-{number}"
        taken[unique] = None
    return list(taken)


def number_of(value: Any) -> float | None:
    """A value as a finite number; None for words, truth values, and whatever is missing, NaN or infinite."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    number = float(value)
    return number if isfinite(number) else None


def best_and_second(
    values: Sequence[Any], direction: Direction, printed: Sequence[str] | None = None
) -> list[str | None]:
    """The mark of every value, None for most; equal values have one mark, and so have values that are printed alike.

    A value that is no finite number has no mark. Nor has a number without another one beside it.

    Args:
        values: The values that are compared.
        direction: Which end of them is good.
        printed: The text of every value.

    Raises:
        ValueError: The direction is neither ``"high"`` nor ``"low"``.

    """
    if direction not in ("high", "low"):
        raise ValueError(f"a direction is 'high' or 'low', not {direction!r}")
    numbers = [(number, index) for index, value in enumerate(values) if (number := number_of(value)) is not None]
    marks: list[str | None] = [None] * len(values)
    if len(numbers) < 2:
        return marks
    left = sorted(numbers, key=lambda pair: (-pair[0] if direction == "high" else pair[0], pair[1]))
    for mark in (BEST, SECOND):
        if left:
            number, first = left[0]
            alike = {at for value, at in left if value == number or (printed and printed[at] == printed[first])}
            for at in alike:
                marks[at] = mark
            left = [pair for pair in left if pair[1] not in alike]
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


def cell_marks(lines: Sequence[Mapping[str, Cell]], directions: Mapping[str, Direction]) -> Marks:
    """The marks of lines of cells, of the columns that have a direction and that some line has."""
    there = [heading for heading in directions if any(heading in line for line in lines)]
    values = {heading: [line.get(heading, NOTHING).value for line in lines] for heading in there}
    return column_marks(values, {heading: directions[heading] for heading in there})


def line_marks(
    line: int, values: Mapping[str, Any], direction: Direction, printed: Mapping[str, str] | None = None
) -> Marks:
    """The marks of one line, among the cells that are given."""
    texts = [printed[heading] for heading in values] if printed else None
    marks = best_and_second(list(values.values()), direction, texts)
    return {(line, heading): mark for heading, mark in zip(values, marks, strict=True) if mark}
