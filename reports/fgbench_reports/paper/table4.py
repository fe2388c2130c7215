"""Table 4: six models on ten data sets at 224 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from fgbench_reports.choose.configurations import Accuracy
from fgbench_reports.data import Data
from fgbench_reports.paper.differences import to_decimals
from fgbench_reports.paper.measured import as_published, deviation_notes, left_out_notes
from fgbench_reports.paper.names import DATASETS, MODELS
from fgbench_reports.published import PAPER
from fgbench_reports.published import table4 as published_rows
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.table import Marks, Table, frame_of, line_marks

if TYPE_CHECKING:
    import pandas as pd

SIZE = 224
HEADINGS = {name: MODELS[name] for name in ("resnet101", "cal", "vit", "transfg", "ffvt", "glsim")}
DATASET, FROM = "Dataset", "from"
PUBLISHED, MEASURED, DIFFERENCE = "published", "measured here", "difference"
AVERAGE, REDUCTION = "Average", "relative error reduction to ViT, %"
ROUNDING = 0.0051  # points, of means that are printed to two decimals

Line = dict[str, Cell]


class Spread(NamedTuple):
    """An accuracy in percent, and its standard deviation over seeds, or over data sets in an average."""

    mean: float
    std: float | None


Figures = dict[tuple[str, str], Spread]  # (data set or "average", model)


def table4(data: Data) -> pd.DataFrame:
    """Table 4 as numbers: mean top-1 in percent, and its difference to the published one in points."""
    return frame_of(_lines(_measured(as_published(data.accuracy))))


def table4_spread(data: Data) -> pd.DataFrame:
    """The standard deviations of Table 4, in points: over seeds, and of averages over data sets."""
    return frame_of(_spread_lines(_measured(as_published(data.accuracy))))


class Table4(Report):
    """Table 4: accuracy of six models on ten data sets at 224 pixels, published and measured."""

    name: ClassVar[str] = "table4"

    def items(self, data: Data) -> Iterable[Item]:
        """The accuracies, their deviations alone for those who compute with them, and what has not been trained."""
        found = {key: one for key, one in as_published(data.accuracy).items() if _belongs(key)}
        measured = _measured(found)
        yield _table(measured, found, left_out_notes(data.accuracy, DATASETS))
        yield Table.from_cells(
            "table4_spread",
            "Table 4, standard deviations: over seeds, and of averages over data sets",
            _spread_lines(measured),
            names=(DATASET, FROM),
            notes=["The same figures as behind ± above, in points, one per cell."],
        )
        yield from _missing(measured)


def _belongs(key: tuple[str, str, int]) -> bool:
    model, dataset, size = key
    return model in HEADINGS and dataset in DATASETS and size == SIZE


def _published() -> Figures:
    return {(row["dataset"], row["model"]): Spread(row["top1_percent"], row["std_percent"]) for row in published_rows()}


def _measured(found: Mapping[tuple[str, str, int], Accuracy]) -> Figures:
    """What was measured, with the average of every model that all ten data sets are there for."""
    figures: Figures = {
        (key[1], key[0]): Spread(one.top1_percent, one.top1_std_percent) for key, one in found.items() if _belongs(key)
    }
    for model in HEADINGS:
        means = [figures[dataset, model].mean for dataset in DATASETS if (dataset, model) in figures]
        if len(means) == len(DATASETS):
            figures["average", model] = Spread(fmean(means), stdev(means))
    return figures


def _lines(measured: Figures) -> list[Line]:
    published, lines = _published(), []
    for dataset, title in {**DATASETS, "average": AVERAGE}.items():
        rows = {source: _of_dataset(figures, dataset) for source, figures in _sources(published, measured).items()}
        for source, cells in rows.items():
            if cells:
                lines.append(_line(title, source, {model: _accuracy(cell) for model, cell in cells.items()}))
        if ours := rows.get(MEASURED):
            apart = {model: to_decimals(cell.mean, rows[PUBLISHED][model].mean, 2) for model, cell in ours.items()}
            lines.append(_line(title, DIFFERENCE, apart))
    for source, figures in _sources(published, measured).items():
        if reductions := _reductions(_of_dataset(figures, "average")):
            reduced = {model: figure(value, "{:.2f}".format) for model, value in reductions.items()}
            lines.append(_line(REDUCTION, source, reduced))
    return lines


def _sources(published: Figures, measured: Figures) -> dict[str, Figures]:
    return {PUBLISHED: published, **({MEASURED: measured} if measured else {})}


def _of_dataset(figures: Figures, dataset: str) -> dict[str, Spread]:
    return {model: figures[dataset, model] for model in HEADINGS if (dataset, model) in figures}


def _accuracy(cell: Spread) -> Cell:
    return Cell(cell.mean, f"{cell.mean:.2f}" + ("" if cell.std is None else f" ± {cell.std:.2f}"))


def _line(title: str, source: str, cells: Mapping[str, Cell]) -> Line:
    figures = {heading: cells.get(model, NOTHING) for model, heading in HEADINGS.items()}
    return {DATASET: word(title), FROM: word(source), **figures}


def _reductions(averages: Mapping[str, Spread]) -> dict[str, float]:
    """How much smaller a model's average error is than the plain ViT's, in percent of the ViT's."""
    if "vit" not in averages:
        return {}
    error = 100 - averages["vit"].mean
    others = {model: cell for model, cell in averages.items() if model != "vit"}
    return {model: 100 * (1 - (100 - cell.mean) / error) for model, cell in others.items() if error}


def _spread_lines(measured: Figures) -> list[Line]:
    lines = []
    for dataset, title in {**DATASETS, "average": AVERAGE}.items():
        for source, figures in _sources(_published(), measured).items():
            known = {model: cell for model, cell in _of_dataset(figures, dataset).items() if cell.std is not None}
            if known:
                cells = {model: figure(cell.std, "{:.2f}".format) for model, cell in known.items()}
                lines.append(_line(title, source, cells))
    return lines


def _table(measured: Figures, found: Mapping[tuple[str, str, int], Accuracy], left_out: Sequence[str]) -> Table:
    lines, marks = _lines(measured), dict[tuple[int, str], str]()
    for index, line in enumerate(lines):
        if line[FROM].value != DIFFERENCE:
            marks |= _marks(index, line)
    return Table.from_cells(
        "table4",
        "Table 4: top-1 accuracy at 224 pixels, %",
        lines,
        names=(DATASET, FROM),
        marks=marks,
        notes=[*_notes(found), *left_out],
    )


def _marks(index: int, line: Line) -> Marks:
    values = {heading: line[heading].value for heading in HEADINGS.values()}
    means = {heading: line[heading].text.partition(" ± ")[0] for heading in HEADINGS.values()}
    return line_marks(index, values, "high", means)


def _notes(found: Mapping[tuple[str, str, int], Accuracy]) -> list[str]:
    notes = [
        f"Published: {PAPER}, Table 4; mean ± standard deviation over three seeds, two on DAFB, Food and iNat17; of an "
        "average the deviation over data sets. Best of a line is bold, second is underlined.",
        "The reduction is that of the average error, from the averages of the line above. The paper's text gives "
        "10.15 % for GLSim; its formula is a picture in the text at hand.",
        *_odd_averages(),
    ]
    if found:
        notes.append("Measured here: mean ± standard deviation over seeds, none where there is one seed.")
    return [*notes, *deviation_notes(list(found.values()))]


def _odd_averages() -> list[str]:
    """Printed averages that rounding does not explain."""
    published = _published()
    means = {model: fmean(published[dataset, model].mean for dataset in DATASETS) for model in HEADINGS}
    odd = {model: mean for model, mean in means.items() if abs(mean - published["average", model].mean) > ROUNDING}
    told = [f"{HEADINGS[model]} prints {published['average', model].mean:.2f} for {odd[model]:.3f}" for model in odd]
    return [f"Averages that are not the means of their columns: {', '.join(told)}."] if told else []


def _missing(measured: Figures) -> Iterator[Missing]:
    """What has not been trained: the data sets that lack the same models together, one command per group."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for dataset in DATASETS:
        if models := tuple(model for model in HEADINGS if (dataset, model) not in measured):
            groups.setdefault(models, []).append(dataset)
    for models, datasets in groups.items():
        which = "" if len(models) == len(HEADINGS) else f" of {', '.join(HEADINGS[model] for model in models)}"
        several = len(datasets) > 1
        command = f"fgbench accuracy --model {' '.join(models)} --dataset {'$name' if several else datasets[0]}"
        command += f" --data-dir DIR{'/$name' if several else ''} --sizes {SIZE} --pretrained"
        yield Missing(
            what=f"Table 4: measured accuracy{which} on {', '.join(DATASETS[name] for name in datasets)}, at {SIZE}",
            command=f"for name in {' '.join(datasets)}; do {command}; done" if several else command,
        )
