"""Energy per image against image size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgbench_reports.advice import sweep_command
from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import Data
from fgbench_reports.plots.bars import statuses_entry
from fgbench_reports.plots.labels import End
from fgbench_reports.plots.lines import Line, Place, Sheet, lined
from fgbench_reports.plots.looks import Look, Series, labels_of, series_looks, series_of
from fgbench_reports.plots.scales import as_log, as_powers
from fgbench_reports.plots.sweeps import (
    by_series,
    file_names,
    first_figures,
    known_series,
    listed,
    measured,
    mode_names,
    pixels,
    points_not_drawn,
    sizes_of,
    sweep_notes,
    untimed,
    untimed_notes,
    words_of,
)
from fgbench_reports.report import Drawing, Figure, Item, Missing, Report
from fgbench_reports.tables.numbers import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NO_INTERVAL = "Points have no bars: the energy of a point is one reading, without an interval."


class Energy(Report):
    """Energy per image against image size, at the batch of the highest throughput."""

    title = "Energy"

    name = "energy"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per mode in which the device's energy was read."""
        every = measured(data)
        points = {mode: [one for one in some if one.energy_j] for mode, some in every.items()}
        lost = untimed(data)
        names, looks = mode_names(data), series_looks(data)
        found, left = first_figures([mode for mode in names if points.get(mode)], names.__getitem__)
        if not found:
            why = (
                "no point has it: a device's energy is read on NVIDIA GPUs"
                if data.throughput
                else "there are no rows for it"
            )
            timed = [row for row in data.throughput if row.latency_s]
            again = ["--again"] if any(row.device == "cuda" for row in timed) else []
            command = sweep_command(timed, *again, device="cuda")
            yield Missing(what="energy per image", command=command, why=why)
        for mode, name in zip(found, file_names(f"energy {names[mode]}" for mode in found), strict=True):
            rows = [one.row for one in every[mode]]
            lacking = [one.row for one in every[mode] if not one.energy_j]
            left_out = points_not_drawn(lacking, rows, "the device's energy was not read")
            left_out += untimed_notes(lost[mode], rows)
            yield _figure(name, names[mode], points[mode], looks, left if mode == found[-1] else [], left_out)


def _figure(
    name: str,
    mode: str,
    points: Sequence[Configuration],
    looks: Mapping[Series, Look],
    left: Sequence[str],
    left_out: Sequence[str],
) -> Figure:
    kept, many = known_series([one.row for one in points])
    lines = by_series(points, kept)
    rows = [one.row for some in lines.values() for one in some]
    note = "Each point is a model at one image size, at the batch of its highest throughput."
    return EnergyFigure(
        name=name,
        title=f"Energy per image · {mode}",
        alt=_alt(mode, [one for some in lines.values() for one in some]),
        notes=(note, *many, *left_out, *sweep_notes(rows), *left),
        lines=lines,
        looks=looks,
        left_out=[NO_INTERVAL, *many, *left_out],
    )


def _alt(mode: str, shown: Sequence[Configuration]) -> str:
    labels, sizes = labels_of(one.row for one in shown), sizes_of(one.row for one in shown)
    text = f"Line plot with two logarithmic axes: joules per image against image size on {mode}, at {pixels(sizes)}, "
    last = [one for one in shown if one.row.image_size == sizes[-1]]
    most, least = (pick(last, key=lambda one: one.energy_j or 0.0) for pick in (max, min))
    ends = f"{labels[series_of(most.row)]} takes most with {significant(most.energy_j)} J"
    ends += f", {labels[series_of(least.row)]} least with {significant(least.energy_j)} J"
    return f"{text}for {listed(list(labels.values()))}. At {sizes[-1]} pixels {ends}."


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFigure(Figure):
    """Joules per image against image size."""

    lines: Mapping[Series, Sequence[Configuration]]
    looks: Mapping[Series, Look]
    left_out: Sequence[str] = ()  # what is not drawn, and why

    def draw(self) -> Drawing:
        """A line per series; a ring around a point whose status is not ok."""
        labels = labels_of(one.row for some in self.lines.values() for one in some)
        drawn = [
            Line(name=labels[each], look=self.looks[each], places=_places(some, labels[each]))
            for each, some in self.lines.items()
        ]
        rings = statuses_entry(one.row.status for some in self.lines.values() for one in some)
        heading = self.title.partition(" · ")[2]
        return lined(Sheet(heading=heading, prepare=self._prepare, entries=rings, notes=self.left_out), drawn)

    def _prepare(self, axes: Axes) -> list[End]:
        shown = [one for some in self.lines.values() for one in some]
        as_powers(axes, "x", [int(one.row.image_size) for one in shown])
        as_log(axes, "y", [one.energy_j or 0.0 for one in shown])
        axes.set_xlabel("image size (pixels)")
        axes.set_ylabel("energy (J per image)")
        return []


def _places(some: Sequence[Configuration], label: str) -> list[Place]:
    return [
        Place(
            x=int(one.row.image_size),
            y=one.energy_j or 0.0,
            text="\n".join(words_of(one, label)),
            status=one.row.status,
        )
        for one in sorted(some, key=lambda one: int(one.row.image_size))
    ]
