"""Table 6: the parts of models, as published and as counted in their forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fgbench.results.paper import IMAGE_SIZES, MODEL_SELECTORS, NUM_CLASSES, SELECTING_MODELS, VIT_B16
from fgbench.results.records import FlopsRow
from fgbench_reports.data import Data
from fgbench_reports.paper.costs import Costs, costs_of
from fgbench_reports.paper.names import MODELS
from fgbench_reports.published import PAPER
from fgbench_reports.published import table6 as published_rows
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.numbers import percent
from fgbench_reports.tables.table import Marks, Table, cell_marks, column_marks, frame_of

if TYPE_CHECKING:
    import pandas as pd

MODEL = "Model"
PUBLISHED = {
    "PO": "patch_overlap",
    "IF": "intermediate_features",
    "DFSM": "dfsm",
    "Crops": "crops",
    "FA": "feature_aggregation",
    "Complexity": "complexity",
}
OVERLAP, SECOND_PASS = "PO, counted", "Crops, counted"
SIGNS = {"yes": "✓", "no": "–"}
OVERLAPPING = 1.2  # times the plain tokens, at least; a class token more, as RAMS-Trans has, is no overlap

Line = dict[str, Cell]
ModelCount = tuple[str, int, str | None]  # model, image size, implementation


def table6(data: Data) -> pd.DataFrame:
    """Table 6 as words, yes or no: what the paper ticks, and what was counted."""
    return frame_of(_lines(_Counted(data.flops), costs_of(data, SELECTING_MODELS)))


def table6_costs(data: Data) -> pd.DataFrame:
    """Whole models: percent of one pass of the plain backbone, by image size and implementation."""
    return frame_of(_cost_lines(_Counted(data.flops)))


class Table6(Report):
    """Table 6: what models consist of, as published and as counted, and what they cost beside their backbone."""

    name: ClassVar[str] = "table6"

    def items(self, data: Data) -> Iterable[Item]:
        """The table, what whole models cost, and what has not been counted."""
        counted = _Counted(data.flops)
        yield _table(counted, costs_of(data, SELECTING_MODELS))
        if lines := _cost_lines(counted):
            yield _costs(lines)
        yield from _missing(counted)


class _Counted:
    """Rows of whole models, their stages and their plain backbones, in convention full on a ViT-B/16."""

    def __init__(self, rows: Iterable[FlopsRow]) -> None:
        self.models: dict[ModelCount, FlopsRow] = {}
        self.stages: dict[ModelCount, dict[str, FlopsRow]] = {}
        self.plain_tokens: dict[int, int | None] = {}  # by image size
        for row in rows:
            size = row.image_size
            is_papers = row.convention == "full" and row.backbone in VIT_B16 and _on_papers_classes(row)
            if is_papers and isinstance(size, int):
                self._take(row, size)

    def _take(self, row: FlopsRow, size: int) -> None:
        if row.model is None and row.selector is None:
            stride = (row.environment or {}).get("patch_stride")
            if stride in (None, 16):
                self.plain_tokens[size] = row.num_tokens
        elif row.model in SELECTING_MODELS and row.selector == MODEL_SELECTORS[row.model]:
            key = (row.model, size, row.impl)
            if row.stage is None:
                self.models[key] = row
            else:
                self.stages.setdefault(key, {})[row.stage] = row

    def overlaps(self, model: str) -> bool | None:
        """Whether a model has more tokens than its plain backbone; None where one of the two was not counted."""
        for (name, size, _), row in self.models.items():
            plain = self.plain_tokens.get(size)
            if name == model and plain and row.num_tokens:
                return row.num_tokens > OVERLAPPING * plain
        return None

    def passes_twice(self, model: str) -> bool | None:
        """Whether a model has work in a second pass; None where its stages were not counted."""
        counts = [stages for (name, *_), stages in self.stages.items() if name == model]
        return any("pass 2" in stages and stages["pass 2"].macs > 0 for stages in counts) if counts else None


def _on_papers_classes(row: FlopsRow) -> bool:
    return (row.environment or {}).get("num_classes") in (None, NUM_CLASSES)


def _lines(counted: _Counted, costs: Costs) -> list[Line]:
    flags = {OVERLAP: counted.overlaps, SECOND_PASS: counted.passes_twice}
    counts = {heading: {model: flag_of(model) for model in SELECTING_MODELS} for heading, flag_of in flags.items()}
    known = {heading: by_model for heading, by_model in counts.items() if set(by_model.values()) != {None}}
    lines = []
    for row in published_rows():
        line = {MODEL: word(MODELS[row["model"]])}
        line |= {heading: _sign(row[field]) for heading, field in PUBLISHED.items()}
        line |= {heading: _flag(by_model[row["model"]]) for heading, by_model in known.items()}
        lines.append({**line, **costs.cells(row["model"])})
    return lines


def _sign(value: Any) -> Cell:
    return Cell(value, SIGNS.get(value, str(value)))


def _flag(flag: bool | None) -> Cell:
    if flag is None:
        return Cell(None, "not counted")
    return _sign("yes" if flag else "no")


def _table(counted: _Counted, costs: Costs) -> Table:
    lines = _lines(counted, costs)
    notes = [
        f"Published: {PAPER}, Table 6. PO: patches overlap; IF: intermediate features or attention are used; DFSM: how "
        "features are selected; Crops: the image is cropped for a second pass; FA: how features are put together. ✓ is "
        "yes, – is no. Check marks and formulas are pictures in the text at hand: cells without text are taken as "
        "check marks, complexities from the closed forms of Table 1."
    ]
    if OVERLAP in lines[0] or SECOND_PASS in lines[0]:
        notes.append(
            "Counted: PO where a model has more tokens than its plain backbone, Crops where there are products in a "
            "second pass."
        )
    figures = {column.heading: column for column in costs.columns}
    return Table.from_cells(
        "table6",
        "Table 6: what models consist of",
        lines,
        names=[heading for heading in lines[0] if heading not in figures],
        marks=cell_marks(lines, {name: column.better for name, column in figures.items() if column.better}),
        notes=[*notes, *costs.notes],
        units={name: column.unit for name, column in figures.items() if column.unit},
    )


def _cost_lines(counted: _Counted) -> list[Line]:
    columns = [
        (f"{size} px, {impl} %", size, impl)
        for size in sorted({size for _, size, _ in counted.models})
        for impl in ("published", "fast")
        if any(key[1:] == (size, impl) for key in counted.models)
    ]
    lines = []
    for model in SELECTING_MODELS:
        rows = {heading: counted.models.get((model, size, impl)) for heading, size, impl in columns}
        if any(rows.values()):
            lines.append({MODEL: word(MODELS[model]), **{heading: _share(row) for heading, row in rows.items()}})
    return lines


def _share(row: FlopsRow | None) -> Cell:
    return NOTHING if row is None else figure(float(row.percent_of_backbone), percent)


def _costs(lines: Sequence[Line]) -> Table:
    return Table.from_cells(
        "table6_costs",
        "Table 6, whole models: percent of one pass of the plain ViT-B/16",
        lines,
        names=(MODEL,),
        marks=_lowest(lines),
        notes=[
            "Counted in full: 2·MACs, and every element-wise operation, reduction, softmax and comparison; the plain "
            "backbone's patches lie side by side. Published does the operations of the published code, fast gives the "
            "same result with less work. Lowest is bold, second is underlined."
        ],
    )


def _lowest(lines: Sequence[Line]) -> Marks:
    headings = [heading for heading in lines[0] if heading != MODEL]
    values = {heading: [line[heading].value for line in lines] for heading in headings}
    texts = {heading: [line[heading].text for line in lines] for heading in headings}
    return column_marks(values, dict.fromkeys(headings, "low"), texts)


def _missing(counted: _Counted) -> Iterator[Missing]:
    lacking: dict[tuple[str, ...], list[int]] = {}
    sizes = [size for size in IMAGE_SIZES if any(key[1] == size for key in counted.models)] or [IMAGE_SIZES[0]]
    for size in sizes:
        if models := tuple(model for model in SELECTING_MODELS if not _whole(counted, model, size)):
            lacking.setdefault(models, []).append(size)
    for models, lacking_sizes in lacking.items():
        yield Missing(
            what=f"Table 6: {', '.join(MODELS[model] for model in models)}, counted whole and by part, at "
            + ", ".join(map(str, lacking_sizes)),
            command=f"fgbench flops --models {' '.join(models)} --sizes {' '.join(map(str, lacking_sizes))} --parts "
            "--format json",
        )


def _whole(counted: _Counted, model: str, size: int) -> bool:
    keys = [(model, size, impl) for impl in ("published", "fast")]
    return size in counted.plain_tokens and all(key in counted.models and key in counted.stages for key in keys)
