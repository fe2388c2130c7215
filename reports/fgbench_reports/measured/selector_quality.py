"""Quality of selectors: parts, crops, insertion and deletion. Tables of ``accuracy --quality``, and a report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from fgbench.results.records import AccuracyRow, QualityRow
from fgbench_reports.advice import accuracy_command
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import KINDS, Row, group_by, records
from fgbench_reports.report import Data, Item, Missing, Report
from fgbench_reports.tables.column import MISSING, Cell, Column, as_text, filled, line_of
from fgbench_reports.tables.numbers import how_many, percent, with_prefix
from fgbench_reports.tables.render import RowTables
from fgbench_reports.tables.table import Layout, Table, distinct, file_name
from fgbench_reports.training_groups import Training, by_training, telling_words

if TYPE_CHECKING:
    import pandas as pd


class OverSeeds(Column):
    """A column of means over the runs of a group of rows; ± is their standard deviation."""

    __slots__ = ()
    decimals = 1

    def cell(self, row: Sequence[QualityRow] | Sequence[AccuracyRow]) -> Cell:
        """The mean over rows and its text."""
        return spread(row, str(self.value), self.decimals)


class Auc(OverSeeds):
    """Areas under a curve, between 0 and 1."""

    __slots__ = ()
    decimals = 3


def spread(rows: Sequence[QualityRow] | Sequence[AccuracyRow], field: str, decimals: int = 1) -> Cell:
    """The mean of a field over rows as a value, with its standard deviation in print."""
    values: list[float | None] = [getattr(row, field) for row in rows]
    known = [value for value in values if value is not None]
    return Cell(fmean(known) if known else None, over_seeds(values, decimals))


def over_seeds(values: Sequence[float | None], decimals: int = 1) -> str:
    """The mean of several runs ± their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    deviation = f" ± {stdev(known):.{decimals}f}" if len(known) > 1 else ""
    return f"{fmean(known):.{decimals}f}{deviation}"


# Columns of a group of rows: one selector on one trained model, over its seeds.
POINTING = OverSeeds(
    "pointing %",
    "pointing_percent",
    unit="%",
    better="high",
    note="pointing: images whose best patch has its centre on a part",
)
HEAT = OverSeeds(
    "heat on parts %",
    "heat_in_parts_percent",
    unit="%",
    note="heat on parts: the share of the scores that lies on parts",
)
PARTS_IN_CROP = OverSeeds(
    "parts in crop %",
    "part_recall_percent",
    unit="%",
    better="high",
    note="parts in crop: the share of the parts that is inside the crop around the best patches",
)
CROP_PART = OverSeeds(
    "crop that is part %",
    "crop_part_percent",
    unit="%",
    note="crop that is part: the share of that crop that is part",
)
CROP_IOU = OverSeeds(
    "IoU %", "crop_iou_percent", unit="%", note="IoU: of that crop with the smallest box around the parts"
)
INSERTION = Auc(
    "insertion",
    "insertion_auc",
    better="high",
    note="insertion: the mean probability while the best pixels come back first, the higher the better",
)
DELETION = Auc("deletion", "deletion_auc", better="low", note="deletion: while they go first, the lower the better")
SELECTOR_FLOPS = Column(
    "FLOPs",
    lambda rows: rows[0].selector_flops,
    with_prefix,
    unit="FLOP",
)
SHARE = Column(
    "% of backbone",
    lambda rows: rows[0].percent_of_backbone,
    percent,
    unit="%",
    note="% of backbone: FLOPs of the fast selection, one image",
)
SELECTOR = Column("selector", lambda rows: rows[0].selector, is_name=True)
FIRST_COLUMNS = (
    Column("dataset", lambda rows: rows[0].dataset, is_name=True),
    Column("model", lambda rows: rows[0].model, is_name=True),
    SELECTOR,
    Column("size", lambda rows: rows[0].image_size),
    Column("seed", lambda rows: rows[0].seed),
)
COMMAND_COLUMNS = (POINTING, HEAT, PARTS_IN_CROP, CROP_PART, CROP_IOU, INSERTION, DELETION, SELECTOR_FLOPS, SHARE)
REPORT_COLUMNS = (POINTING, HEAT, PARTS_IN_CROP, CROP_PART, INSERTION, DELETION, SHARE)


def quality_tables(rows: Sequence[Row]) -> RowTables:
    """The rows of ``accuracy --quality`` as each format shows them; a terminal shows a table per trained model.

    The selector that the model itself selects by is bold. Columns without a figure are left out.

    Args:
        rows: Rows of selection quality.

    """
    judged = records(QualityRow, rows)
    notes = quality_notes(judged)
    groups = group_by(judged, _command_title)
    return RowTables(
        rows=rows,
        narrow=[_narrow(title, group) for title, group in groups.items()],
        wide=[_wide(judged, notes)],
        notes=notes,
    )


def quality_notes(rows: Sequence[QualityRow]) -> list[str]:
    """The columns of these rows."""
    notes = ["; ".join(column.note for column in _filled(rows) if column.note) + "."]
    if {row.selector for row in rows} & {"random", "centre"}:
        notes.append("random and centre look at no image; bold is what the model itself selects by.")
    return notes


def _narrow(title: str, rows: Sequence[QualityRow]) -> Table:
    columns = [SELECTOR, *_filled(rows)]
    own = [index for index, row in enumerate(rows) if row.selector == row.trained_with]
    styles = {(index, column.heading): "bold" for index in own for column in columns}
    groups = [[row] for row in rows]
    return Table.from_rows("quality", title, columns, groups, marked=False, layout=Layout(styles=styles))


def _wide(rows: Sequence[QualityRow], notes: Sequence[str]) -> Table:
    columns = (*FIRST_COLUMNS, *_filled(rows)) if rows else ()
    return Table.from_rows("quality", "", columns, [[row] for row in rows], marked=False, notes=notes)


def _filled(rows: Sequence[QualityRow]) -> list[Column]:
    """The columns that some row has a figure for; those that need boxes are left out where none are known."""
    return filled(COMMAND_COLUMNS, [[row] for row in rows])


def _command_title(row: QualityRow) -> str:
    words: list[str | None] = [row.model, f"selects by {row.trained_with}" if row.trained_with else "selects nothing"]
    words += [row.dataset, f"{row.image_size} px", None if row.seed is None else f"seed {row.seed}"]
    words.append(how_many(row.images, "image"))
    return "What selectors find · " + " · ".join(as_text(part) for part in words if part)


class SelectorQuality(Report):
    """Pointing game, crops, insertion and deletion of every selector, on the weights of every trained model."""

    title = "What selectors find"

    def items(self, data: Data) -> Iterable[Item]:
        """A table per data set, image size, trained model and its own selector, over its seeds."""
        groups = by_training(data.selection_quality)
        names = distinct(file_name(key.dataset, key.image_size, key.model) for key in groups)
        for name, (key, rows) in zip(names, groups.items(), strict=True):
            runs = list(group_by(rows, "selector").values())
            columns = filled(REPORT_COLUMNS, runs)
            title = f"What selectors find · {_name(key, groups)}, trained on {key.dataset} at {key.image_size}"
            yield Table.from_rows(name, title, [SELECTOR, *columns], runs, notes=_report_notes(rows, columns))
        if not groups:
            trained = [row for row in data.accuracy if not row.seeds]
            command = accuracy_command(trained, "--quality") if trained else KINDS["selection_quality"]
            yield Missing(what="what selectors find on trained models", command=command)


def selector_quality(data: Data) -> pd.DataFrame:
    """The lines of every table of the report, with their data set, size and model."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"dataset": key.dataset, "image size": key.image_size, "model": key.model, "backbone": key.backbone}
            | {heading: cell.value for heading, cell in line.items()}
            for key, rows in by_training(data.selection_quality).items()
            for line in quality_lines(rows)
        ]
    )


def quality_lines(rows: Sequence[QualityRow]) -> list[dict[str, Cell]]:
    """The quality of every selector on the weights of one model, over seeds, beside its cost.

    Args:
        rows: Rows of selection quality of one model.

    """
    return [line_of((SELECTOR, *REPORT_COLUMNS), runs) for runs in group_by(rows, "selector").values()]


def _name(key: Training, groups: Collection[Training]) -> str:
    """The model, and the words that tell its training from others on the data set."""
    several = len({other.trained_with for other in groups if _site(other) == _site(key)}) > 1
    by = f" selecting by {key.trained_with or 'nothing'}" if several else ""
    return ", ".join([key.model + by, *telling_words(key, groups)])


def _site(key: Training) -> tuple[str, int, str]:
    return key.dataset, key.image_size, key.model


def _report_notes(rows: Sequence[QualityRow], columns: Sequence[Column]) -> list[str]:
    seeds, own = {row.seed for row in rows}, rows[0].trained_with
    notes = [f"{how_many(rows[0].images, 'image')}, {how_many(len(seeds), 'trained model')}."]
    notes += [f"The model itself selects by {own}."] if own else []
    explained = "; ".join(column.note for column in columns)
    notes += measured_rows("Selectors on trained models", rows)
    return [*notes, f"{explained}.", "random and centre look at no image. Best is bold, second is underlined."]
