"""Table 9: the ten data sets, beside those that models were tested on here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fgbench_reports.data import Data, Row
from fgbench_reports.paper.names import DATASETS
from fgbench_reports.published import PAPER, misprints_table9
from fgbench_reports.published import table9 as published_rows
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.table import Table, frame_of

if TYPE_CHECKING:
    import pandas as pd

DATASET, HERE, DIFFERENCE = "Dataset", "here", "Δ"
COUNTED = {"classes": "Classes", "train_images": "# Train", "test_images": "# Test"}
PIXELS = {"mean_width_px": "Mean width, px", "mean_height_px": "Mean height, px"}

Line = dict[str, Cell]
Found = dict[str, dict[str, int]]  # data set → what of it → how many


def table9(data: Data) -> pd.DataFrame:
    """Table 9 as numbers: published counts, those of the data sets at hand, and their difference."""
    return frame_of(_lines(_found(data.accuracy)))


class Table9(Report):
    """Table 9: the ten data sets, as published and as they were met here."""

    name: ClassVar[str] = "table9"

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and the data sets that nothing was tested on."""
        found = _found(data.accuracy)
        notes = [f"Published: {PAPER}, Table 9.", *(f"Misprint: {row['misprint']}." for row in misprints_table9())]
        if found:
            notes.append(
                "Here: what accuracy was measured on, images that could not be read included, and Δ, the difference to "
                "the paper; – where nothing was met."
            )
        yield Table.from_cells("table9", "Table 9: data sets", _lines(found), names=(DATASET,), notes=notes)
        yield from _missing(found)


def _found(rows: Sequence[Row]) -> Found:
    """The largest counts that rows tell of a data set: a run can be on a part of its images."""
    found: Found = {}
    for row in rows:
        if row["dataset"] in DATASETS:
            for what, count in _counts(row).items():
                counts = found.setdefault(row["dataset"], {})
                counts[what] = max(count, counts.get(what, 0))
    return found


def _counts(row: Row) -> dict[str, int]:
    counts: dict[str, Any] = {
        "classes": row.get("num_classes"),
        "train_images": row.get("train_images"),
        "test_images": row["images"] + (row.get("unreadable_images") or 0),
    }
    return {what: int(count) for what, count in counts.items() if count is not None}


def _lines(found: Found) -> list[Line]:
    return [_line(row, found.get(row["dataset"], {}), found) for row in published_rows()]


def _line(row: Row, counts: dict[str, int], found: Found) -> Line:
    line = {DATASET: word(DATASETS[row["dataset"]])}
    for what, heading in COUNTED.items():
        line[heading] = figure(row[what], "{:,}".format)
        if any(what in some for some in found.values()):
            line[f"{heading} {HERE}"] = figure(counts.get(what), "{:,}".format)
            line[f"{heading} {DIFFERENCE}"] = _apart(counts[what] - row[what]) if what in counts else NOTHING
    return line | {heading: figure(row[what], "{:,}".format) for what, heading in PIXELS.items()}


def _apart(difference: int) -> Cell:
    return Cell(difference, f"{difference:+,}" if difference else "0")


def _missing(found: Found) -> Iterator[Missing]:
    names = [name for name in DATASETS if name not in found]
    if names:
        yield Missing(
            what=f"Table 9: what is at hand of {', '.join(DATASETS[name] for name in names)}",
            command=f"for name in {' '.join(names)}; do fgbench accuracy --model vit --dataset $name "
            "--data-dir DIR/$name --pretrained; done",
            why="no model was trained or tested on it",
        )
