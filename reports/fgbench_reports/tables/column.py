"""Columns and cells: values beside how they are printed. A kind of row declares its columns once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, NamedTuple

from fgbench.results.escaping import visible
from fgbench.results.record_base import Record

MISSING = "–"
Direction = Literal["high", "low"]  # which end of the values is good


class Cell(NamedTuple):
    """A value, and the text that is printed for it."""

    value: Any
    text: str


NOTHING = Cell(None, MISSING)


def as_text(value: object) -> str:
    """A value as one line of visible characters; – where it is missing."""
    return MISSING if value is None else visible(str(value))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of tables of one kind of row.

    Attributes:
        heading: Its heading, unique among the columns of a table.
        value: The name of a row's field, or a function from a row to a value. None is a missing value.
        format: The function that prints a value; a missing value is printed as – without it.
        unit: The unit of the values, where they have one: ``"s"``, ``"byte"``, ``"%"``; HTML has it beside the heading.
        better: Which end of the values is good, ``"high"`` or ``"low"``; None where neither is.
        is_name: Whether it holds names, which stand to the left.
        note: A sentence that explains the column below a table; empty where the heading says enough.

    """

    heading: str
    value: str | Callable[[Any], Any]
    format: Callable[[Any], str] = as_text
    unit: str = ""
    better: Direction | None = None
    is_name: bool = False
    note: str = ""

    def of(self, row: Any) -> Any:
        """The value of this column in a row."""
        if not isinstance(self.value, str):
            return self.value(row)
        if isinstance(row, Record) and hasattr(row, self.value):
            return getattr(row, self.value)  # faster than an item
        return row.get(self.value)

    def cell(self, row: Any) -> Cell:
        """The value of this column in a row, and its text."""
        value = self.of(row)
        return Cell(value, shown(value, self.format))


Line = Mapping[str, Cell]  # the cells of a line by their headings


def line_of(columns: Iterable[Column], row: Any) -> dict[str, Cell]:
    """The cells of a row by their headings, from the left to the right."""
    return {column.heading: column.cell(row) for column in columns}


def filled(columns: Iterable[Column], rows: Collection[Any], always: Collection[str] = ()) -> list[Column]:
    """The columns in which some row has a value; those whose headings are in ``always`` stay."""
    return [
        column
        for column in columns
        if column.heading in always or any(column.cell(row).value is not None for row in rows)
    ]


def shown(value: Any, write: Callable[[Any], str] = as_text) -> str:
    """A value as ``write`` prints it; – where it is missing."""
    return MISSING if is_missing(value) else write(value)


def is_missing(value: Any) -> bool:
    """Whether there is no value: None, NaN, or what pandas has for them."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, (int, float, Real)):
        return bool(value != value)  # NaN alone differs from itself
    return type(value).__name__ in ("NAType", "NaTType")


def word(text: Any) -> Cell:
    """A name or a word as a cell."""
    return Cell(text, shown(text))


def figure(value: Any, write: Callable[[Any], str]) -> Cell:
    """A number as a cell that ``write`` prints."""
    return Cell(value, shown(value, write))
