"""Accuracy against throughput and against memory, and Figure 4 as published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fgbench_reports.choose.bounds import Bounds, accuracy_bounds, exact, memory_bounds, throughput_bounds
from fgbench_reports.choose.configurations import Configuration, published_accuracies
from fgbench_reports.data import Data
from fgbench_reports.plots.frontier import (
    FRONT,
    PAPER,
    Against,
    Fronts,
    draw_front,
    frontiers,
    fronts_of,
    plane_of_accuracy,
    within_note,
)
from fgbench_reports.plots.looks import Series, looks_of
from fgbench_reports.plots.scatter import Mark, Plane, scattered
from fgbench_reports.plots.sweeps import listed, pixels, sizes_of
from fgbench_reports.published import figure4
from fgbench_reports.report import Drawing, Figure, Item, Report
from fgbench_reports.tables.numbers import img_per_s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THROUGHPUT = Against(
    word="throughput",
    axis="throughput (images/s)",
    unit="images/s",
    of=lambda one: one.img_s,
    bounds=throughput_bounds,
    more_is_better=True,
)


NO_INTERVAL = "Bars are 95 % intervals of accuracy. The publication gives none of a throughput."


class Tradeoff(Report):
    """Accuracy against throughput with the Pareto front, as Figure 4 of the paper; and that figure itself."""

    title = "Accuracy and throughput"

    name = "tradeoff"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode and data set, then the published one."""
        yield from frontiers(data, lambda device: THROUGHPUT)
        yield published_figure()


class Memory(Report):
    """Accuracy against peak memory with the Pareto front, as Figure 7 of the paper."""

    title = "Accuracy and memory"

    name = "memory"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode and data set."""
        yield from frontiers(data, against_memory)


def against_memory(device: str) -> Against:
    """Memory of a device: what tensors held at the peak, or the process's peak resident set."""
    kind = "peak VRAM of tensors" if device == "cuda" else "peak resident set of the process"
    axis = f"{kind} (GB)"
    return Against(word="memory", axis=axis, unit="GB", of=_gigabytes, bounds=memory_bounds, more_is_better=False)


def _gigabytes(one: Configuration) -> float | None:
    return one.memory_bytes / 1e9 if one.memory_bytes else None


class PublishedPoint(NamedTuple):
    """A point of Figure 4 on CUB; the fields have the names of the published file."""

    model: str
    image_size: int
    top1_percent: float
    throughput_img_s: float
    gpu: str
    read_from: str


def published_figure() -> Figure:
    """Figure 4 as it was published: always at hand."""
    of_cub = [row for row in figure4() if row["dataset"] == "cub"]
    rows = [PublishedPoint(**{name: row[name] for name in PublishedPoint._fields}) for row in of_cub]
    first, fronts = rows[0], _fronts(rows)
    front = [row for row, is_on in zip(rows, fronts.drawn, strict=True) if is_on]
    best = [
        f"{row.model} at {row.image_size} ({row.top1_percent:.1f} %, {row.throughput_img_s} images/s)"
        for row in sorted(front, key=lambda row: -float(row.top1_percent))
    ]
    within = [f"{row.model} at {row.image_size}" for row in fronts.within_of(rows)]
    models = list(dict.fromkeys(row.model for row in rows))
    return PublishedFrontier(
        name="published-figure-4",
        title=f"Accuracy against throughput, as published · CUB · {first.gpu}",
        alt=f"Scatter plot of the published top-1 accuracy on CUB against throughput on a {first.gpu}, a "
        f"logarithmic axis, for {listed(models)} at {pixels(sizes_of(rows))}. On the Pareto front: {listed(best)}.",
        notes=(
            f"{PAPER}, Figure 4; throughputs were read from {first.read_from}: they "
            "are as exact as the plot, and nothing of them was measured here.",
            *within_note(within),
        ),
        rows=rows,
    )


def _fronts(rows: Sequence[PublishedPoint]) -> Fronts:
    """Throughputs are taken as they were read; accuracies have the intervals of their test images and seeds."""
    known = _known()
    costs = [exact(-float(row.throughput_img_s)) for row in rows]
    return fronts_of(costs, [known[row.model, row.image_size] for row in rows])


def _known() -> dict[tuple[str, int], Bounds]:
    """The intervals of the published accuracies on CUB, by model and image size."""
    return {(one.model, one.image_size): accuracy_bounds(one) for one in published_accuracies() if one.dataset == "cub"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFrontier(Figure):
    """Figure 4 of the paper, drawn from its printed values."""

    rows: Sequence[PublishedPoint]

    def draw(self) -> Drawing:
        """A colour and a marker per model, its two sizes joined."""
        known = _known()
        marks = [_mark(row, known[row.model, row.image_size]) for row in self.rows]
        corners = sorted((mark.x, mark.y) for mark, is_on in zip(marks, _fronts(self.rows).drawn, strict=True) if is_on)
        names: dict[Series, str] = {(row.model,): row.model for row in self.rows}
        looks = looks_of(names.values())

        def prepare(axes: Axes) -> None:
            plane_of_accuracy(axes, marks, THROUGHPUT.axis)
            draw_front(axes, corners, more_is_better=True)

        plane = Plane(heading=self.title, prepare=prepare, entries=[("Pareto front", FRONT)], notes=[NO_INTERVAL])
        return scattered(plane, marks, {series: looks[name] for series, name in names.items()}, names)


def _mark(row: PublishedPoint, accuracy: Bounds) -> Mark:
    told = f"{row.top1_percent:.2f} % top-1, {img_per_s(row.throughput_img_s)} images/s"
    text = f"{row.model}\n{row.image_size} px\n{told}\nread from {row.read_from}"
    x, y = float(row.throughput_img_s), float(row.top1_percent)
    ends = (accuracy.low, accuracy.high)
    return Mark(series=(row.model,), x=x, y=y, image_size=row.image_size, text=text, hollow=True, ends=ends)
