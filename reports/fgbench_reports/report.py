"""The contract of reports: what they are made from, and what they are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fgbench_reports.data import Data

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["Data", "Drawing", "Figure", "Item", "Missing", "Point", "Report", "Table", "report_breach"]

BEST, SECOND = "best", "second"
PLAIN_NAME = "letters, digits, - and _"


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
        """Draw it, in the style of :mod:`fgbench_reports.figures.style`."""
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
    return None
