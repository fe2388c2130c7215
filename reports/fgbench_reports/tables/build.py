"""Tables in a few lines: values beside how they are printed, with best and second found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from fgbench_reports.report import Table
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.marks import Direction, Marks, column_marks

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"


class Cell(NamedTuple):
    """A value as it is, and as it is printed."""

    value: Any
    text: str


NOTHING = Cell(None, MISSING)


def made(
    name: str,
    title: str,
    frame: pd.DataFrame,
    formats: Mapping[str, Callable[[Any], str]],
    *,
    names: Collection[str] | None = None,
    best: Mapping[str, Direction] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """A table from a frame of values, every column printed by its own function; a missing value is –.

    Columns without a function are printed as they are, and stand to the left unless ``names`` says which do. ``best``
    says which end of a column is marked. Raises ValueError for a column that the frame does not have.
    """
    import pandas as pd

    headings = [str(heading) for heading in frame.columns]
    for heading in (*formats, *(best or {}), *(names or ())):
        if heading not in headings:
            raise ValueError(f"table {name!r} has no column {heading!r}: it has {', '.join(headings)}")
    values = {heading: frame.iloc[:, index].tolist() for index, heading in enumerate(headings)}
    printed = {
        heading: [shown(value, formats.get(heading, as_text)) for value in column] for heading, column in values.items()
    }
    return Table(
        name=name,
        title=title,
        frame=frame,
        printed=pd.DataFrame(printed, columns=headings, dtype=object),
        names=[heading for heading in headings if heading not in formats] if names is None else names,
        marks=column_marks(values, best or {}, printed),
        notes=notes,
    )


def of_cells(
    name: str,
    title: str,
    lines: Sequence[Mapping[str, Cell]],
    *,
    names: Collection[str],
    marks: Marks | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """A table whose columns hold cells of several kinds; what a line lacks is missing."""
    import pandas as pd

    headings = list(dict.fromkeys(heading for line in lines for heading in line))
    cells = [[line.get(heading, NOTHING) for heading in headings] for line in lines]
    return Table(
        name=name,
        title=title,
        frame=frame_of(lines),
        printed=pd.DataFrame([[cell.text for cell in line] for line in cells], columns=headings, dtype=object),
        names=names,
        marks=marks or {},
        notes=notes,
    )


def frame_of(lines: Sequence[Mapping[str, Cell]]) -> pd.DataFrame:
    """The values of such lines; None where there is none."""
    import pandas as pd

    headings = list(dict.fromkeys(heading for line in lines for heading in line))
    values = [[line.get(heading, NOTHING).value for heading in headings] for line in lines]
    return pd.DataFrame(values, columns=headings, dtype=object)


def shown(value: Any, write: Callable[[Any], str] = as_text) -> str:
    """A value as ``write`` prints it; – where it is missing."""
    return MISSING if is_missing(value) else write(value)


def is_missing(value: Any) -> bool:
    """Whether there is no value: None, NaN, or what pandas has for them."""
    if isinstance(value, Real):
        return bool(value != value)  # NaN alone differs from itself
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def word(text: Any) -> Cell:
    """A name or a word as a cell."""
    return Cell(text, shown(text))


def figure(value: Any, write: Callable[[Any], str]) -> Cell:
    """A number as a cell."""
    return Cell(value, shown(value, write))
