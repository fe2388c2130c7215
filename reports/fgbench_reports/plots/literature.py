"""Published accuracies of Tables 2 and 3 beside the work that was counted here, one panel per data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from fgbench_reports.data import Data
from fgbench_reports.paper.costs import USUAL_SIZE, Costs, costs_of
from fgbench_reports.paper.literature import TABLE_2, TABLE_3, LiteratureTable, built, model_of
from fgbench_reports.paper.names import DATASETS
from fgbench_reports.plots.frontier import ACCURACY
from fgbench_reports.plots.legend import Legend, handle
from fgbench_reports.plots.looks import Look, looks_of
from fgbench_reports.plots.scales import as_linear, as_log, prefixed, with_unit
from fgbench_reports.plots.style import DOUBLE, TEXT, frame, in_style
from fgbench_reports.plots.sweeps import listed
from fgbench_reports.published import PAPER, literature
from fgbench_reports.report import Drawing, Figure, Item, Missing, Point, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 150.0
TABLES = (TABLE_2, TABLE_3)


class Method(NamedTuple):
    """A method of a table that can be built: its published accuracy, and its work here."""

    name: str
    model: str
    top1_percent: float
    flops: int


class Literature(Report):
    """Published accuracy on NABirds and iNat17 against the work of those systems that can be built here."""

    title = "Published accuracies beside counted work"

    name: ClassVar[str] = "literature"

    def items(self, data: Data) -> Iterable[Item]:
        """One figure with a panel per data set."""
        models = list(dict.fromkeys(model for table in TABLES for model in built(table)))
        costs = costs_of(data, models)
        panels = {table: _methods(table, costs) for table in TABLES}
        if any(panels.values()):
            yield _figure(panels, costs)
        else:
            command = f"fgbench flops --models {' '.join(models)} --sizes {USUAL_SIZE}"
            yield Missing(what="the work of the systems of Tables 2 and 3", command=command)


def _methods(table: LiteratureTable, costs: Costs) -> list[Method]:
    found = []
    for row in literature(table.name):
        model = model_of(row["method"])
        if model and (flops := costs.work_of(model)):
            found.append(Method(str(row["method"]), model, float(row["top1_percent"]), flops))
    return found


def _figure(panels: Mapping[LiteratureTable, Sequence[Method]], costs: Costs) -> Figure:
    told = [
        f"on {DATASETS[table.dataset]} {listed([_words(method) for method in methods])}"
        for table, methods in panels.items()
        if methods
    ]
    return LiteratureFigure(
        name="literature-cost",
        title=f"Published accuracy against FLOPs · {costs.image_size} px",
        alt=f"Two scatter plots of published top-1 accuracy against the FLOPs of one image of {costs.image_size} "
        f"pixels, counted here, a logarithmic axis: {'; '.join(told)}.",
        notes=(
            f"Accuracies: {PAPER}, Tables 2 and 3, gathered from the papers of the methods, which do not all have the "
            "same image size; methods that cannot be built here are left out.",
            *costs.notes[:1],
        ),
        panels=panels,
    )


def _words(method: Method) -> str:
    return f"{method.name} ({method.top1_percent:.1f} %, {with_unit(method.flops, 'FLOPs')})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteratureFigure(Figure):
    """Two panels, NABirds and iNat17: published accuracy against the FLOPs of one image."""

    panels: Mapping[LiteratureTable, Sequence[Method]]

    def draw(self) -> Drawing:
        """A hollow mark per method, as its accuracy is a published one."""
        every = [method for methods in self.panels.values() for method in methods]
        names = {method.model: method.name for method in every}
        looks = looks_of(names)
        points: list[Point] = []
        with in_style():
            entries = [
                (handle(looks[model], hollow=True, linestyle="none", markersize=5), name)
                for model, name in names.items()
            ]
            legend = Legend(blocks=[entries], width=DOUBLE - 8)
            canvas, axes = frame(
                width=DOUBLE,
                height=HEIGHT,
                panels=len(self.panels),
                below=legend.height,
                heading=self.title,
                titled=True,
            )
            for panel, (table, methods) in zip(axes, self.panels.items(), strict=True):
                _draw(panel, DATASETS[table.dataset], methods, looks)
                points += [
                    Point(axes=panel, x=method.flops, y=method.top1_percent, text=_words(method)) for method in methods
                ]
            axes[0].set_ylabel(ACCURACY)
            legend.write(canvas)
        return Drawing(canvas=canvas, points=points)


def _draw(axes: Axes, title: str, methods: Sequence[Method], looks: Mapping[str, Look]) -> None:
    axes.set_title(title, fontsize=TEXT + 0.5)
    axes.set_xlabel("FLOPs of one image")
    if not methods:
        return
    as_log(axes, "x", [method.flops for method in methods], name=prefixed)
    as_linear(axes, "y", [method.top1_percent for method in methods])
    for method in methods:
        axes.plot([method.flops], [method.top1_percent], **looks[method.model].marks(hollow=True), markersize=5)
