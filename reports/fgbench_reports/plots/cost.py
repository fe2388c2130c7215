"""Figures of cost against image size: a line per selector and implementation, the backbone at 100 %."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench.results.image_size import ImageSize
from fgbench.results.records import FlopsRow
from fgbench_reports.advice import flops_command
from fgbench_reports.data import Data
from fgbench_reports.measured.flops import NOTES
from fgbench_reports.plots.bars import impl_entries
from fgbench_reports.plots.labels import End
from fgbench_reports.plots.legend import Entry
from fgbench_reports.plots.lines import Line, Place, Sheet, lined
from fgbench_reports.plots.looks import Look, Series, looks_of, names_in, with_lines
from fgbench_reports.plots.scales import as_log, as_powers, with_unit
from fgbench_reports.plots.style import INK
from fgbench_reports.plots.sweeps import chosen_series, file_names, first_figures, listed, pixels, sizes_of
from fgbench_reports.report import Drawing, Figure, Item, Missing, Report
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.numbers import how_many, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BACKBONE = "backbone"
CONVENTIONS = ("full", "paper", "fvcore")


class Cost(Report):
    """The FLOPs of selection in percent of the backbone's, against image size: published and fast."""

    title = "Cost of selection"

    name = "cost"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per convention and backbone."""
        groups = _groups(data.flops)
        if not any(convention == "full" for convention, *_ in groups):
            rows = [row for some in groups.values() for row in some]
            yield Missing(what="cost of selection against image size", command=flops_command(rows, "full"))
        looks = looks_of(names_in(data))
        found, left = first_figures(list(groups), _title)
        for key, name in zip(found, file_names(f"cost {' '.join(key)}" for key in found), strict=True):
            yield _figure(key, name, groups[key], looks, left if key == found[-1] else [])


def _groups(rows: Sequence[FlopsRow]) -> dict[tuple[str, ...], list[FlopsRow]]:
    """Rows of selections by convention, backbone, grid and number of classes, which a series must not mix."""
    groups: dict[tuple[str, ...], list[FlopsRow]] = {}
    for row in rows:
        if row.model is None and row.selector is not None and not row.stage and isinstance(row.image_size, int):
            environment = row.environment or {}
            stride, classes = environment.get("patch_stride"), environment.get("num_classes")
            told = [
                f"patches every {stride} px" if stride else "",
                how_many(classes, "class", "classes") if classes else "",
            ]
            key = (str(row.convention), as_text(row.backbone), *(word for word in told if word))
            groups.setdefault(key, []).append(row)
    ranks = {convention: rank for rank, convention in enumerate(CONVENTIONS)}
    return {key: groups[key] for key in sorted(groups, key=lambda key: (ranks.get(key[0], 9), key))}


def _title(key: tuple[str, ...]) -> str:
    convention, *told = key
    return " · ".join([*told, f"convention {convention}"])


def _figure(
    key: tuple[str, ...], name: str, rows: Sequence[FlopsRow], looks: Mapping[str, Look], left: Sequence[str]
) -> Figure:
    met: dict[tuple[str | None, str | None, ImageSize], list[FlopsRow]] = {}
    for row in rows:
        met.setdefault((row.selector, row.impl, row.image_size), []).append(row)
    free = sorted({as_text(selector) for (selector, _, _), some in met.items() if some[0].percent_of_backbone <= 0})
    kept, many = chosen_series([key[:2] for key in met], lambda each: str(each[0]))
    shown = [some[0] for each, some in met.items() if each[:2] in kept and some[0].percent_of_backbone > 0]
    left_out = [*many]
    if free:
        zero = sum(some[0].percent_of_backbone <= 0 for some in met.values())
        told = f"Not drawn: {how_many(zero, 'point')} of {listed(free)}, for which this convention counts nothing"
        left_out.append(f"{told}: a logarithmic axis has no place for zero.")
    differing = [some for some in met.values() if len({row.percent_of_backbone for row in some}) > 1]
    if differing:
        names = listed(list(dict.fromkeys(f"{_name(some[0])} at {some[0].image_size}" for some in differing)))
        lost = sum(len(some) - 1 for some in differing)
        told = f"Not drawn: {how_many(lost, 'row')} of {names}: counts of one selection differ between the rows"
        left_out.append(f"{told} that were put together; the first is drawn.")
    notes = [*NOTES.get(key[0], ())[:2], *left_out]
    styled = with_lines({each: (looks[str(each[0])], each[1] == "published") for each in kept})
    title = f"Cost of selection · {_title(key)}"
    return CostFigure(
        name=name,
        title=title,
        alt=_alt(key, shown),
        notes=(*notes, *left),
        rows=shown,
        looks=styled,
        left_out=left_out,
    )


def _alt(key: tuple[str, ...], rows: Sequence[FlopsRow]) -> str:
    text = f"Line plot with two logarithmic axes: FLOPs of a selection in percent of the backbone's, {_title(key)}"
    if not rows:
        return f"{text}; there is nothing to draw."
    sizes = sizes_of(rows)
    selectors = listed(sorted({as_text(row.selector) for row in rows}))
    last = [row for row in rows if row.image_size == sizes[-1]]
    most, least = (pick(last, key=lambda row: float(row.percent_of_backbone)) for pick in (max, min))
    ends = [
        f"{_name(row)} {verb} with {percent(row.percent_of_backbone)} %"
        for row, verb in ((most, "costs most"), (least, "least"))
    ]
    above = sorted({_name(row) for row in rows if row.percent_of_backbone > 100})
    beyond = (
        f"Above the backbone's own cost, the line at 100 %: {listed(above)}."
        if above
        else "All stay below the backbone."
    )
    text += f", against image size at {pixels(sizes)}, for {selectors}. At {sizes[-1]} pixels {', '.join(ends)}."
    return f"{text} {beyond}"


def _name(row: FlopsRow) -> str:
    return " ".join(as_text(word) for word in (row.selector, row.impl) if word is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFigure(Figure):
    """Percent of the backbone's FLOPs against image size, on two logarithmic axes."""

    rows: Sequence[FlopsRow]
    looks: Mapping[Series, Look]
    left_out: Sequence[str] = ()  # notes on data that is not drawn, with the reason

    def draw(self) -> Drawing:
        """Draw a line per selector and implementation; published ones are dashed, with half filled markers."""
        ends = (BACKBONE,)
        heading, kinds = self.title.partition(" · ")[2], self._kinds()
        sheet = Sheet(heading=heading, prepare=self._prepare, ends=ends, entries=kinds, notes=self.left_out)
        lines = [
            Line(name=as_text(series[0]), look=look, places=self._places(series)) for series, look in self.looks.items()
        ]
        return lined(sheet, [line for line in lines if line.places])

    def _places(self, series: Series) -> list[Place]:
        rows = [row for row in self.rows if (row.selector, row.impl) == series]
        return [_place(row) for row in sorted(rows, key=lambda row: int(row.image_size))]

    def _prepare(self, axes: Axes) -> list[End]:
        as_powers(axes, "x", sizes_of(self.rows) or [224])
        as_log(axes, "y", [100.0, *(row.percent_of_backbone for row in self.rows)])
        axes.axhline(100, color=INK, linewidth=1.2, zorder=1.8)
        axes.set_xlabel("image size (pixels)")
        axes.set_ylabel("FLOPs (% of the backbone)")
        return [End(x=axes.get_xlim()[1], y=100, label=BACKBONE, colour=INK)]

    def _kinds(self) -> list[Entry]:
        """Entries of the legend for dashes and half filled markers."""
        impls = {impl for _, impl in self.looks}
        return [kind for impl, kind in impl_entries().items() if impl in impls]


def _place(row: FlopsRow) -> Place:
    share = f"{percent(row.percent_of_backbone)} % of the backbone, {with_unit(row.flops, 'FLOPs')}"
    text = "\n".join([_name(row), f"{row.image_size} px", share])
    return Place(x=int(row.image_size), y=row.percent_of_backbone, text=text, half=row.impl == "published")
