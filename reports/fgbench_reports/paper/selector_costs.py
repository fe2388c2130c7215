"""Tables 1, 7 and 8: FLOPs of selectors beside three backbones, with a column per selector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fgbench.results.paper import IMAGE_SIZES, SELECTORS
from fgbench.results.records import FlopsRow
from fgbench_reports.data import Data
from fgbench_reports.paper.counted import Cost, CountedCosts, counted_costs, exponents, sizes_without
from fgbench_reports.paper.differences import from_printed, from_scientific, scientific
from fgbench_reports.published import PAPER, flops_mflops, flops_percents, table6
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.tables.column import NOTHING, Cell, word
from fgbench_reports.tables.numbers import as_printed, how_many, percent
from fgbench_reports.tables.table import Marks, Table, frame_of, line_marks

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "psm": "TransFG PSM",
    "rollout": "Various Rollout",
    "maws": "FFVT MAWS",
    "sacm": "AF-Trans SACM",
    "gls": "Ours GLS",
}
QUANTITY, FROM = "quantity", "from"
PUBLISHED, BY_PAPER, DIFFERENCE = "published", "counted, paper's convention", "difference"
IN_FULL = {"published": "counted in full: published", "fast": "counted in full: fast"}
CLOSED_FORM, MEGA = "closed form", 1e6

Line = dict[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """One of the paper's tables of selectors beside a backbone."""

    name: str
    title: str
    backbone: str  # timm's name
    patch_size: int  # pixels


@dataclass(slots=True)
class _Lines:
    """Lines as they come, and which of them have a lowest figure worth a mark."""

    lines: list[Line] = field(default_factory=list)
    marks: Marks = field(default_factory=dict)

    def add(self, quantity: str, source: str, cells: Mapping[str, Cell], *, marked: bool = False) -> None:
        """Add a line unless nothing is known in it."""
        if all(cell.value is None for cell in cells.values()):
            return
        line = {HEADINGS[selector]: cells.get(selector, NOTHING) for selector in SELECTORS}
        if marked:
            values = {heading: cell.value for heading, cell in line.items()}
            texts = {heading: cell.text for heading, cell in line.items()}
            self.marks |= line_marks(len(self.lines), values, "low", texts)
        self.lines.append({QUANTITY: word(quantity), FROM: word(source), **line})


TABLE_1 = CostTable(
    name="table1",
    title="Table 1: what selection mechanisms cost beside ViT-B/16",
    backbone="vit_base_patch16_224",
    patch_size=16,
)
TABLE_7 = CostTable(
    name="table7",
    title="Table 7: what selection mechanisms cost beside ViT-B/14",
    backbone="vit_base_patch14_dinov2",
    patch_size=14,
)
TABLE_8 = CostTable(
    name="table8",
    title="Table 8: what selection mechanisms cost beside ViT-T/16",
    backbone="vit_tiny_patch16_224",
    patch_size=16,
)


def table1(data: Data) -> pd.DataFrame:
    """Table 1 as numbers: 10⁶ FLOPs and percent of the backbone's, published, counted, and their difference."""
    return _frame(TABLE_1, data)


def table7(data: Data) -> pd.DataFrame:
    """Table 7 as numbers, like :func:`table1`."""
    return _frame(TABLE_7, data)


def table8(data: Data) -> pd.DataFrame:
    """Table 8 as numbers, like :func:`table1`."""
    return _frame(TABLE_8, data)


class _CostReport(Report):
    """The report of one of these tables."""

    table: ClassVar[CostTable]

    def items(self, data: Data) -> Iterable[Item]:
        """The table, and the commands for selectors that are not counted."""
        costs = counted_costs(data.flops, self.table.backbone, self.table.patch_size)
        yield _table(self.table, costs)
        yield from _missing(self.table, costs)


class Table1(_CostReport):
    """Table 1: what selection mechanisms cost beside ViT-B/16, published and counted."""

    name: ClassVar[str] = "table1"
    table = TABLE_1


class Table7(_CostReport):
    """Table 7: what selection mechanisms cost beside ViT-B/14, published and counted."""

    name: ClassVar[str] = "table7"
    table = TABLE_7


class Table8(_CostReport):
    """Table 8: what selection mechanisms cost beside ViT-T/16, published and counted."""

    name: ClassVar[str] = "table8"
    table = TABLE_8


def _frame(table: CostTable, data: Data) -> pd.DataFrame:
    return frame_of(_lines(table, counted_costs(data.flops, table.backbone, table.patch_size)).lines)


def _table(table: CostTable, costs: CountedCosts) -> Table:
    built = _lines(table, costs)
    return Table.from_cells(
        table.name, table.title, built.lines, names=(QUANTITY, FROM), marks=built.marks, notes=_notes(table, costs)
    )


def _lines(table: CostTable, costs: CountedCosts) -> _Lines:
    built = _Lines()
    complexity = {row["selector"]: word(row["complexity"]) for row in table6()}
    built.add("Complexity", CLOSED_FORM, complexity)
    for source, cost in _counted(costs):
        grown = {name: Cell(value, f"{value:.2f}") for name, value in exponents(cost).items()}
        built.add("Complexity: exponent of N", source, grown)
    for size in IMAGE_SIZES:
        _flops_lines(built, table, costs, size)
        _percent_lines(built, table, costs, size)
    return built


def _counted(costs: CountedCosts) -> Iterator[tuple[str, Cost]]:
    yield BY_PAPER, costs.paper
    yield IN_FULL["published"], costs.published
    yield IN_FULL["fast"], costs.fast


def _flops_lines(built: _Lines, table: CostTable, costs: CountedCosts, size: int) -> None:
    quantity = f"MFLOPs (IS={size})"
    printed = _of_size(flops_mflops(), table, size)
    built.add(quantity, PUBLISHED, {name: Cell(float(text), text) for name, text in printed.items()}, marked=True)
    for source, cost in _counted(costs):
        cells = _cells(cost, size, lambda name, row: Cell(row.flops / MEGA, scientific(row.flops / MEGA)))
        built.add(quantity, source, cells, marked=True)
        if source == BY_PAPER:
            known = {
                name: from_scientific(cell.value, printed[name]) for name, cell in cells.items() if name in printed
            }
            built.add(quantity, DIFFERENCE, known)


def _percent_lines(built: _Lines, table: CostTable, costs: CountedCosts, size: int) -> None:
    quantity = f"% of backbone (IS={size})"
    printed = _of_size(flops_percents(), table, size)
    built.add(quantity, PUBLISHED, {name: Cell(float(text), text) for name, text in printed.items()}, marked=True)

    def rounded(name: str, row: FlopsRow) -> Cell:
        value = float(row.percent_of_backbone)
        return Cell(value, as_printed(value, printed[name]))

    def plain(_: str, row: FlopsRow) -> Cell:
        return Cell(float(row.percent_of_backbone), percent(row.percent_of_backbone))

    for source, cost in _counted(costs):
        cells = _cells(cost, size, rounded if source == BY_PAPER else plain)
        built.add(quantity, source, cells, marked=True)
        if source == BY_PAPER:
            built.add(
                quantity, DIFFERENCE, {name: from_printed(cell.value, printed[name]) for name, cell in cells.items()}
            )


def _of_size(published: Mapping[tuple[str, str, int], str], table: CostTable, size: int) -> dict[str, str]:
    keys = {name: (table.backbone, name, size) for name in SELECTORS}
    return {name: published[key] for name, key in keys.items() if key in published}


def _cells(cost: Cost, size: int, cell: Callable[[str, FlopsRow], Cell]) -> dict[str, Cell]:
    return {name: cell(name, cost[name, size]) for name in SELECTORS if (name, size) in cost}


def _notes(table: CostTable, costs: CountedCosts) -> list[str]:
    number = table.name.removeprefix("table")
    notes = [
        f"Published: {PAPER}, Table {number}. Its closed forms mix units: the backbone is counted in multiply–adds, "
        "PSM and rollout in two operations per multiply–add; PSM and SACM on overlapped patches, the backbone on "
        "patches side by side. Differences are taken after rounding as the paper does.",
        "Complexity is of one selection over L blocks, H heads, N tokens of D dimensions; the formulas of the paper's "
        "own line are the closed forms' leading terms. Lowest cost is bold, second is underlined.",
    ]
    if not _of_size(flops_mflops(), table, IMAGE_SIZES[0]):
        notes.append(
            f"FLOPs of Table {number} are pictures in the text at hand, so its percentages alone are compared."
        )
    if costs.published or costs.fast:
        notes.append(
            "Counted in full: 2·MACs and every element-wise operation, reduction, softmax and comparison, selector and "
            "backbone alike, on patches side by side. Published starts from ready attention maps; fast from queries, "
            "keys and their log-sum-exps, recomputation included."
        )
    if any(exponents(cost) for _, cost in _counted(costs)):
        notes.append(
            "Exponent of N: the slope of log FLOPs over log N between the two largest sizes that were counted."
        )
    if costs.left_out:
        rows = how_many(costs.left_out, "row")
        notes.append(
            f"Left out: {rows} with another step between patches, or another number of classes, than the paper's."
        )
    return notes


def _missing(table: CostTable, costs: CountedCosts) -> Iterable[Missing]:
    paper, published, fast = (sizes_without(cost, IMAGE_SIZES) for cost in (costs.paper, costs.published, costs.fast))
    wanted = {
        "the paper's convention": ("paper", paper),
        "full": ("full", sorted({*published, *fast})),
    }
    number = table.name.removeprefix("table")
    for what, (convention, sizes) in wanted.items():
        if sizes:
            listed = " ".join(map(str, sizes))
            yield Missing(
                what=f"Table {number}: selectors counted in {what}, at {listed.replace(' ', ', ')}",
                command=f"fgbench flops --convention {convention} --backbones {table.backbone} --sizes {listed}",
            )
