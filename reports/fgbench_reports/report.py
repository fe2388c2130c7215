"""The contract of reports: what they are made from, and what they are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fgbench_reports.data import Data
from fgbench_reports.tables.table import BEST, SECOND, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "BEST",
    "SECOND",
    "Data",
    "Drawing",
    "Figure",
    "Item",
    "Missing",
    "Point",
    "Report",
    "Table",
    "items_breach",
    "report_breach",
]

PLAIN_NAME = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a figure that can be asked what it is."""

    axes: Axes
    x: float  # data coordinates
    y: float
    text: str  # its name and its numbers; lines by \\n


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure on its canvas, and its points."""

    canvas: Canvas
    points: Sequence[Point] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that is drawn when it is needed."""

    name: str  # of its files, unique in its report: letters, digits, - and _
    title: str
    alt: str  # what it shows, for those who do not see it: axes, series, what stands out
    notes: Sequence[str] = ()

    def draw(self) -> Drawing:
        """Draw it, in the style of :mod:`fgbench_reports.plots.style`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that the data at hand cannot fill."""

    what: str  # as a reader would call it: "Table 4, dogs at 224"
    command: str  # that would fill it
    why: str = "there are no rows for it"


Item = Table | Figure | Missing
ITEMS = (Table, Figure, Missing)


class Report:
    """A report: one class in one file, registered under the entry-point group ``fgbench.reports``.

    Its docstring's first line says what it shows. ``items`` is a pure function of the data; it neither prints nor
    writes. Rows of different devices, dtypes or versions of torch never share a series without a word about it.
    """

    name: ClassVar[str]  # only needed in a file that is named by --plugin
    title: ClassVar[str] = ""  # a short heading; the docstring's first line stands in

    def items(self, data: Data) -> Iterable[Item]:
        """Tables, figures, and what is missing, in the order in which they are read."""
        raise NotImplementedError


def report_breach(candidate: object) -> str | None:
    """Why an object is no report class, in words; None when it is one."""
    if not (isinstance(candidate, type) and issubclass(candidate, Report)):
        return "it must be a class derived from fgbench_reports.report.Report"
    if candidate.items is Report.items:
        return "it has no method 'items(data)'"
    if not isinstance(candidate.title, str):
        return f"its attribute 'title' must be words, got {candidate.title!r}"
    return None


def items_breach(items: Sequence[object]) -> str | None:
    """Why these are not the items of a report, in words; None when they are."""
    names: set[str] = set()
    for item in items:
        if why := _item_breach(item):
            return why
        if isinstance(item, Missing):
            continue
        if item.name in names:  # type: ignore[attr-defined]
            return f"two of its tables and figures have the name {item.name!r}"  # type: ignore[attr-defined]
        names.add(item.name)  # type: ignore[attr-defined]
    return None


def _item_breach(item: object) -> str | None:
    if not isinstance(item, ITEMS):
        return f"a report is made of Table, Figure and Missing, and it has a {type(item).__name__}"
    kind = "Missing" if isinstance(item, Missing) else "Table" if isinstance(item, Table) else "Figure"
    fields = {"Missing": ("what", "command", "why"), "Table": ("name", "title"), "Figure": ("name", "title", "alt")}
    for field_ in fields[kind]:
        if not isinstance(value := getattr(item, field_), str):
            return f"the {field_} of a {kind} must be words, got {value!r}"
    if isinstance(item, Missing):
        return None
    if not PLAIN_NAME.fullmatch(item.name):
        return f"the name of a {kind} must be letters, digits, - and _, got {item.name!r}"
    if not isinstance(item.notes, (list, tuple)) or not all(isinstance(note, str) for note in item.notes):
        return f"the notes of {kind} {item.name!r} must be a list of sentences"
    return _table_breach(item) if isinstance(item, Table) else None


def _table_breach(table: Table) -> str | None:
    import pandas as pd

    of, frame, printed = f"Table {table.name!r}", table.frame, table.printed
    if not (isinstance(frame, pd.DataFrame) and isinstance(printed, pd.DataFrame)):
        return f"frame and printed of {of} must be DataFrames"
    if not (frame.columns.is_unique and list(frame.columns) == list(printed.columns) and len(frame) == len(printed)):
        return f"frame and printed of {of} must have the same lines, and the same headings, each once"
    if not all(isinstance(heading, str) for heading in frame.columns):
        return f"the headings of {of} must be words"
    if not all(isinstance(cell, str) for line in printed.itertuples(index=False, name=None) for cell in line):
        return f"the cells that {of} prints must be words"
    if isinstance(table.names, str) or not all(isinstance(name, str) for name in table.names):
        return f"the names of {of} must be headings"
    for place, mark in table.marks.items():
        line, heading = place
        if not (isinstance(line, int) and 0 <= line < len(frame) and heading in frame.columns):
            return f"the marks of {of} must be at a line and a heading of it, got {place!r}"
        if mark not in (BEST, SECOND):
            return f"the marks of {of} must be {BEST!r} or {SECOND!r}, got {mark!r}"
    return None
