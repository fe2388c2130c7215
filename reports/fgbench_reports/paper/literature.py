"""Tables 2 and 3: accuracy of published methods on NABirds and iNat17, beside accuracies measured here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fgbench_reports.choose.configurations import Accuracy
from fgbench_reports.data import Data
from fgbench_reports.paper.costs import COLUMNS, USUAL_SIZE, Costs, costs_of
from fgbench_reports.paper.differences import to_decimals
from fgbench_reports.paper.measured import as_published, deviation_notes, left_out_notes
from fgbench_reports.paper.names import DATASETS, METHODS, MODELS, NETWORKS
from fgbench_reports.published import PAPER, literature
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.table import Marks, Table, cell_marks, column_marks, frame_of

if TYPE_CHECKING:
    import pandas as pd

METHOD, BACKBONE, PUBLISHED = "Method", "Backbone", "Top-1 %"
MEASURED, SPREAD, PIXELS, DIFFERENCE = "measured here %", "± over seeds", "pixels", "difference"

Line = dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteratureTable:
    """One of the two tables."""

    name: str
    dataset: str

    @property
    def number(self) -> str:
        """The number of the table in the paper."""
        return self.name.removeprefix("table")


TABLE_2 = LiteratureTable(name="table2", dataset="nabirds")
TABLE_3 = LiteratureTable(name="table3", dataset="inat17")


def table2(data: Data) -> pd.DataFrame:
    """Table 2 as numbers: top-1 in percent, published and measured, and their difference in points."""
    return frame_of(_lines(TABLE_2, _largest(TABLE_2, data), costs_of(data, built(TABLE_2))))


def table3(data: Data) -> pd.DataFrame:
    """Table 3 as numbers, like :func:`table2`."""
    return frame_of(_lines(TABLE_3, _largest(TABLE_3, data), costs_of(data, built(TABLE_3))))


class _LiteratureReport(Report):
    """The report of one of these tables."""

    table: ClassVar[LiteratureTable]

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and the command for models that are not trained on its data set."""
        measured, costs = _largest(self.table, data), costs_of(data, built(self.table))
        yield _table(self.table, measured, costs, left_out_notes(data.accuracy, (self.table.dataset,)))
        yield from _missing(self.table, measured)
        yield from _uncounted(self.table, costs)


class Table2(_LiteratureReport):
    """Table 2: accuracy on NABirds, published and measured."""

    name: ClassVar[str] = "table2"
    table = TABLE_2


class Table3(_LiteratureReport):
    """Table 3: accuracy on iNat17, published and measured."""

    name: ClassVar[str] = "table3"
    table = TABLE_3


def _missing(table: LiteratureTable, measured: Mapping[str, Accuracy]) -> Iterator[Missing]:
    methods = _methods(table)
    models = [model for model in METHODS.values() if model not in measured and model in methods]
    if models:
        yield Missing(
            what=f"Table {table.number}: measured accuracy on {DATASETS[table.dataset]} of "
            + ", ".join(MODELS[model] for model in models),
            command=f"fgbench accuracy --model {' '.join(models)} --dataset {table.dataset} --data-dir DIR "
            f"--sizes {USUAL_SIZE} --backbone vit_base_patch16_224.augreg_in21k --pretrained",
        )


def _uncounted(table: LiteratureTable, costs: Costs) -> Iterator[Missing]:
    lacking = [model for model in built(table) if not costs.is_counted(model)]
    if lacking:
        yield Missing(
            what=f"Table {table.number}: what {', '.join(MODELS.get(model, model) for model in lacking)} cost",
            command=f"fgbench flops --models {' '.join(lacking)} --sizes {costs.image_size or USUAL_SIZE}",
        )


def built(table: LiteratureTable) -> list[str]:
    """The models of fgbench, and the networks of timm, that methods of a table are."""
    return [model for row in literature(table.name) if (model := model_of(row["method"]))]


def model_of(method: str) -> str | None:
    """The model, or the network of timm, that a method of Tables 2 and 3 is; None where it cannot be built."""
    return METHODS.get(method) or NETWORKS.get(method)


def _methods(table: LiteratureTable) -> list[str]:
    return [METHODS[row["method"]] for row in literature(table.name) if row["method"] in METHODS]


def _largest(table: LiteratureTable, data: Data) -> dict[str, Accuracy]:
    """The measured accuracy of every model at its largest size."""
    largest: dict[str, Accuracy] = {}
    methods = _methods(table)
    for accuracy in as_published(data.accuracy).values():
        if accuracy.dataset == table.dataset and accuracy.model in methods:
            other = largest.get(accuracy.model, accuracy)
            largest[accuracy.model] = max(other, accuracy, key=lambda candidate: candidate.image_size)
    return largest


def _lines(table: LiteratureTable, measured: Mapping[str, Accuracy], costs: Costs) -> list[Line]:
    spread = any(accuracy.top1_std_percent is not None for accuracy in measured.values())
    columns = (MEASURED, *((SPREAD,) if spread else ()), PIXELS, DIFFERENCE) if measured else ()
    return [
        _line(row, measured.get(METHODS.get(row["method"], "")), columns) | dict(costs.cells(model_of(row["method"])))
        for row in literature(table.name)
    ]


def _line(row: Mapping[str, object], accuracy: Accuracy | None, columns: Sequence[str]) -> Line:
    published = float(str(row["top1_percent"]))
    line = {
        METHOD: word(row["method"]),
        BACKBONE: word(row["backbone"]),
        PUBLISHED: Cell(published, f"{published:.1f}"),
    }
    if accuracy is None:
        return line | dict.fromkeys(columns, NOTHING)
    known = {
        MEASURED: figure(accuracy.top1_percent, "{:.1f}".format),
        SPREAD: figure(accuracy.top1_std_percent, "{:.1f}".format),
        PIXELS: figure(accuracy.image_size, str),
        DIFFERENCE: to_decimals(accuracy.top1_percent, published, 1),
    }
    return line | {heading: known[heading] for heading in columns}


def _table(table: LiteratureTable, measured: Mapping[str, Accuracy], costs: Costs, left_out: Sequence[str]) -> Table:
    lines = _lines(table, measured, costs)
    return Table.from_cells(
        table.name,
        f"Table {table.number}: accuracy on {DATASETS[table.dataset]}",
        lines,
        names=(METHOD, BACKBONE),
        marks=_marks(lines),
        notes=[*_notes(table, measured), *costs.notes, *left_out],
        units={column.heading: column.unit for column in costs.columns if column.unit},
    )


def _marks(lines: list[Line]) -> Marks:
    headings = [heading for heading in (PUBLISHED, MEASURED) if heading in lines[0]]
    values = {heading: [line[heading].value for line in lines] for heading in headings}
    texts = {heading: [line[heading].text for line in lines] for heading in headings}
    marks = column_marks(values, dict.fromkeys(headings, "high"), texts)
    return {**marks, **cell_marks(lines, {column.heading: column.better for column in COLUMNS if column.better})}


def _notes(table: LiteratureTable, measured: Mapping[str, Accuracy]) -> list[str]:
    notes = [
        f"Published: {PAPER}, Table {table.number}, gathered from the papers of the methods. Best is bold, second is "
        "underlined."
    ]
    if measured:
        notes.append(
            "The paper does not print the image size of this table; every model is compared at the largest one that "
            "was measured here, on a ViT-B/16 with its own selector. The other methods are not among fgbench's models."
        )
    return [*notes, *deviation_notes(list(measured.values()))]
