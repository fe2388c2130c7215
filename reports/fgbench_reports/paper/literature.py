"""What Tables 2 and 3 share: methods of the literature on one data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fgbench_reports.choose.configurations import Accuracy
from fgbench_reports.data import Data
from fgbench_reports.paper.differences import to_decimals
from fgbench_reports.paper.measured import as_published, deviation_notes, left_out_notes
from fgbench_reports.paper.names import DATASETS, METHODS, MODELS
from fgbench_reports.published import PAPER, literature
from fgbench_reports.report import Item, Missing
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.table import Marks, Table, column_marks

METHOD, BACKBONE, PUBLISHED = "Method", "Backbone", "Top-1 %"
MEASURED, SPREAD, PIXELS, DIFFERENCE = "measured here %", "± over seeds", "pixels", "difference"
USUAL_SIZE = 448  # of these data sets in the papers that the figures come from

Line = dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteratureTable:
    """One of the two tables."""

    name: str
    dataset: str

    @property
    def number(self) -> str:
        """Of the table in the paper."""
        return self.name.removeprefix("table")


def literature_items(table: LiteratureTable, data: Data) -> Iterator[Item]:
    """The table, and the models that have not been trained on its data set."""
    found = _largest(table, data)
    yield _table(table, found, left_out_notes(data.accuracy, (table.dataset,)))
    models = [model for model in METHODS.values() if model not in found and model in _methods(table)]
    if models:
        yield Missing(
            what=f"Table {table.number}: measured accuracy on {DATASETS[table.dataset]} of "
            + ", ".join(MODELS[model] for model in models),
            command=f"fgbench accuracy --model {' '.join(models)} --dataset {table.dataset} --data-dir DIR "
            f"--sizes {USUAL_SIZE} --backbone vit_base_patch16_224.augreg_in21k --pretrained",
        )


def literature_lines(table: LiteratureTable, data: Data) -> list[Line]:
    """The lines of the table, for a frame of its values."""
    return _lines(table, _largest(table, data))


def _methods(table: LiteratureTable) -> list[str]:
    return [METHODS[row["method"]] for row in literature(table.name) if row["method"] in METHODS]


def _largest(table: LiteratureTable, data: Data) -> dict[str, Accuracy]:
    """The measured accuracy of every model at its largest size."""
    found: dict[str, Accuracy] = {}
    methods = _methods(table)
    for one in as_published(data.accuracy).values():
        if one.dataset == table.dataset and one.model in methods:
            found[one.model] = max(found.get(one.model, one), one, key=lambda each: each.image_size)
    return found


def _lines(table: LiteratureTable, found: Mapping[str, Accuracy]) -> list[Line]:
    spread = any(one.top1_std_percent is not None for one in found.values())
    columns = (MEASURED, *((SPREAD,) if spread else ()), PIXELS, DIFFERENCE) if found else ()
    return [_line(row, found.get(METHODS.get(row["method"], "")), columns) for row in literature(table.name)]


def _line(row: Mapping[str, object], one: Accuracy | None, columns: Sequence[str]) -> Line:
    published = float(str(row["top1_percent"]))
    line = {
        METHOD: word(row["method"]),
        BACKBONE: word(row["backbone"]),
        PUBLISHED: Cell(published, f"{published:.1f}"),
    }
    if one is None:
        return line | dict.fromkeys(columns, NOTHING)
    known = {
        MEASURED: figure(one.top1_percent, "{:.1f}".format),
        SPREAD: figure(one.top1_std_percent, "{:.1f}".format),
        PIXELS: figure(one.image_size, str),
        DIFFERENCE: to_decimals(one.top1_percent, published, 1),
    }
    return line | {heading: known[heading] for heading in columns}


def _table(table: LiteratureTable, found: Mapping[str, Accuracy], left_out: Sequence[str]) -> Table:
    lines = _lines(table, found)
    return Table.from_cells(
        table.name,
        f"Table {table.number}: accuracy on {DATASETS[table.dataset]}",
        lines,
        names=(METHOD, BACKBONE),
        marks=_marks(lines),
        notes=[*_notes(table, found), *left_out],
    )


def _marks(lines: list[Line]) -> Marks:
    headings = [heading for heading in (PUBLISHED, MEASURED) if heading in lines[0]]
    values = {heading: [line[heading].value for line in lines] for heading in headings}
    texts = {heading: [line[heading].text for line in lines] for heading in headings}
    return column_marks(values, dict.fromkeys(headings, "high"), texts)


def _notes(table: LiteratureTable, found: Mapping[str, Accuracy]) -> list[str]:
    notes = [
        f"Published: {PAPER}, Table {table.number}, gathered from the papers of the methods. Best is bold, second is "
        "underlined."
    ]
    if found:
        notes.append(
            "The paper does not print the image size of this table; every model is compared at the largest one that "
            "was measured here, on a ViT-B/16 with its own selector. The other methods are not among fgbench's models."
        )
    return [*notes, *deviation_notes(list(found.values()))]
