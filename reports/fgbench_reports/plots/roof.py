"""Drawing of rooflines: the highest speed of a device at each intensity, and marks of measured speeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fgbench_reports.plots.bars import arrow_style, bars_go_on, with_room
from fgbench_reports.plots.looks import Look, Series
from fgbench_reports.plots.scales import as_log, log_limits, plain, prefixed, round_ticks, with_unit
from fgbench_reports.plots.scatter import Mark, Plane, scattered
from fgbench_reports.plots.style import INK, Style
from fgbench_reports.plots.sweeps import listed
from fgbench_reports.report import Drawing, Figure
from fgbench_reports.tables.numbers import how_many, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 1.2  # points: width of the roof's line


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The rates of a device: its highest speed is limited by one of them."""

    product_flop_s: float  # rate of products of large matrices
    copy_bytes_s: float  # rate of large copies

    @property
    def ridge(self) -> float:
        """FLOPs per byte above which the rate of products, not that of copies, is the limit."""
        return self.product_flop_s / self.copy_bytes_s

    def over(self, intensity: float) -> float:
        """The roof in FLOPs per second at an intensity in FLOPs per byte."""
        return min(self.product_flop_s, intensity * self.copy_bytes_s)

    @property
    def words(self) -> str:
        """Both rates in words: products 420 TFLOP/s, copies 3.9 TB/s."""
        return f"products {speed_words(self.product_flop_s)}, copies {with_unit(self.copy_bytes_s, 'B/s')}"


def highest(roofs: Iterable[Roof]) -> Roof:
    """The highest value of each rate, since disturbances of its measurement only lower it."""
    measured = list(roofs)
    rates = max(roof.product_flop_s for roof in measured), max(roof.copy_bytes_s for roof in measured)
    return Roof(product_flop_s=rates[0], copy_bytes_s=rates[1])


def above_notes(marks: Sequence[Mark], roof: Roof, labels: Mapping[Series, str]) -> list[str]:
    """Notes on marks above the roof, with the explanation."""
    told = []
    over = [mark for mark in marks if mark.y > roof.over(mark.x)]
    for slope in (True, False):
        some = [mark for mark in over if (mark.x < roof.ridge) == slope]
        names = listed(list(dict.fromkeys(f"{labels[mark.series]} at {mark.image_size}" for mark in some)))
        lie = f"Above the roof: {how_many(len(some), 'point')} ({names})"
        if some and slope:
            told.append(
                f"{lie}. The slope is the rate of large copies, through main memory; what these read and write stays "
                "in a cache, which is faster and whose rate was not measured."
            )
        elif some:
            told.append(
                f"{lie}. The flat part is one measurement of products of large matrices; the device was faster when "
                "these were timed."
            )
    return told


def speed_words(flop_s: float) -> str:
    """FLOPs per second with three digits: 12.3 TFLOP/s."""
    return with_unit(flop_s, "FLOP/s")


def under_roof(title: str, marks: Sequence[Mark], roof: Roof, labels: Mapping[Series, str]) -> str:
    """The alternative text of a roofline."""
    best = max(marks, key=lambda mark: mark.y)
    reached = significant(100 * best.y / roof.product_flop_s)
    return (
        f"Roofline with two logarithmic axes, FLOPs per second against FLOPs per byte: {title.partition(' · ')[2]}. "
        f"The roof is {roof.words}. There {'is' if len(marks) == 1 else 'are'} {how_many(len(marks), 'point')} of "
        f"{listed(list(labels.values()))}; the highest is "
        f"{labels[best.series]} at {best.image_size} pixels, {speed_words(best.y)}, {reached} % of the roof."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineFigure(Figure):
    """FLOPs per second against FLOPs per byte, with the roof of the device."""

    marks: Sequence[Mark]
    roof: Roof
    looks: Mapping[Series, Look]
    labels: Mapping[Series, str]
    share: str  # label of the right axis, the percentage of the rate of products
    left_out: Sequence[str] = ()  # notes on data that is not drawn, with the reason

    def draw(self) -> Drawing:
        """Draw the roof, and marks by series and image size."""
        plane = Plane(
            heading=self.title.partition(" · ")[2],
            prepare=self._prepare,
            entries=[(self.roof.words, {"color": INK, "linewidth": WIDTH}), *self._arrows()],
            notes=[*_bar_notes(self.marks), *above_notes(self.marks, self.roof, self.labels), *self.left_out],
            right=34.0,
            named=False,  # names beside the marks would overlap: many marks have the same intensity
        )
        some_known = any(mark.ends for mark in self.marks)
        marks = [replace(mark, unsure=some_known and mark.ends is None) for mark in self.marks]
        return scattered(plane, marks, self.looks, self.labels)

    def _arrows(self) -> list[tuple[str, Style]]:
        """The entry of the legend for arrows, if a bar ends in one."""
        goes_on = bars_go_on([mark.ends for mark in self.marks], log_limits(self._heights()))
        return [("the bar goes on", arrow_style())] if goes_on else []

    def _heights(self) -> list[float]:
        """The values that the axis of speed must include."""
        speed = self.roof.product_flop_s
        shown = with_room([mark.y for mark in self.marks], [mark.ends for mark in self.marks])
        return [*shown, speed, speed / 10]

    def _prepare(self, axes: Axes) -> None:
        speed, ridge = self.roof.product_flop_s, self.roof.ridge
        as_log(axes, "x", [*(mark.x for mark in self.marks), ridge / 3, ridge * 3])
        as_log(axes, "y", self._heights(), name=prefixed)
        left, right = axes.get_xlim()
        heights = [left * self.roof.copy_bytes_s, speed, speed]
        axes.plot([left, ridge, right], heights, color=INK, linewidth=WIDTH, zorder=1.8)
        axes.set_xlabel("intensity (FLOPs per byte moved)")
        axes.set_ylabel("speed (FLOP/s)")
        _shares(axes, speed, self.share)


def _bar_notes(marks: Sequence[Mark]) -> list[str]:
    if any(mark.ends for mark in marks):
        return ["Bars are 95 % intervals of the speed."]
    return ["No interval of the speed is known."]


def _shares(axes: Axes, speed: float, name: str) -> None:
    """Add an axis of speed in percent at the right."""
    beside = axes.twinx()
    beside.grid(visible=False)
    beside.spines["right"].set_visible(True)
    low, high = (100 * limit / speed for limit in axes.get_ylim())
    as_log(beside, "y", [low, high], margin=0)
    ticks = [tick for tick in round_ticks(low, high) if tick <= 100]
    beside.set_yticks(ticks, labels=[plain(tick) for tick in ticks])
    beside.set_ylabel(name)
