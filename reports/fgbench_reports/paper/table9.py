"""Table 9: the ten data sets, beside the data sets used here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from fgbench.results.records import AccuracyRow
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
Counts = dict[str, dict[str, int]]  # data set → field of Table 9 → number


def table9(data: Data) -> pd.DataFrame:
    """Table 9 as numbers: published counts, those of the data sets at hand, and their difference."""
    return frame_of(_lines(_counts_of(data.accuracy)))


class Table9(Report):
    """Table 9: the ten data sets, as published and as they were met here."""

    name: ClassVar[str] = "table9"

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and the data sets that nothing was tested on."""
        counts = _counts_of(data.accuracy)
        notes = [f"Published: {PAPER}, Table 9.", *(f"Misprint: {row['misprint']}." for row in misprints_table9())]
        if counts:
            notes.append(
                "Here: what accuracy was measured on, images that could not be read included, and Δ, the difference to "
                "the paper; – where nothing was met."
            )
        yield Table.from_cells("table9", "Table 9: data sets", _lines(counts), names=(DATASET,), notes=notes)
        yield from _missing(counts)


def _counts_of(rows: Sequence[AccuracyRow]) -> Counts:
    """The largest counts in the rows of each data set, as a run can use a part of the images."""
    counts: Counts = {}
    for row in rows:
        if row.dataset in DATASETS:
            largest = counts.setdefault(row.dataset, {})
            for field, count in _counts_of_run(row).items():
                largest[field] = max(count, largest.get(field, 0))
    return counts


def _counts_of_run(row: AccuracyRow) -> dict[str, int]:
    counts = {
        "classes": row.num_classes,
        "train_images": row.train_images,
        "test_images": row.images + (row.unreadable_images or 0),
    }
    return {field: count for field, count in counts.items() if count is not None}


def _lines(counts: Counts) -> list[Line]:
    return [_line(row, counts) for row in published_rows()]


def _line(row: Row, all_counts: Counts) -> Line:
    counts = all_counts.get(row["dataset"], {})
    line = {DATASET: word(DATASETS[row["dataset"]])}
    for field, heading in COUNTED.items():
        line[heading] = figure(row[field], "{:,}".format)
        if any(field in known for known in all_counts.values()):
            line[f"{heading} {HERE}"] = figure(counts.get(field), "{:,}".format)
            line[f"{heading} {DIFFERENCE}"] = _difference(counts[field] - row[field]) if field in counts else NOTHING
    return line | {heading: figure(row[field], "{:,}".format) for field, heading in PIXELS.items()}


def _difference(difference: int) -> Cell:
    return Cell(difference, f"{difference:+,}" if difference else "0")


def _missing(counts: Counts) -> Iterator[Missing]:
    names = [name for name in DATASETS if name not in counts]
    if names:
        yield Missing(
            what=f"Table 9: what is at hand of {', '.join(DATASETS[name] for name in names)}",
            command=f"for name in {' '.join(names)}; do fgbench accuracy --model vit --dataset $name "
            "--data-dir DIR/$name --pretrained; done",
            why="no model was trained or tested on it",
        )
