"""Engines, precisions and modes side by side: a line of dots per model, size and batch, with the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from fgbench_reports.choose.configurations import Configuration
from fgbench_reports.data import Data
from fgbench_reports.measured.engines import (
    Comparison,
    Way,
    agreement_table,
    comparisons,
    engine_notes,
    fastest,
    ratio_note,
    speed_table,
)
from fgbench_reports.plots.bars import Bar, draw_bars, draw_rings, rate_ends, statuses_entry, with_room
from fgbench_reports.plots.legend import LINE, Legend, handle
from fgbench_reports.plots.looks import BLUE, BROWN, GREEN, GREY, ORANGE, PINK, SKY, Look, labels_of, series_of
from fgbench_reports.plots.scales import as_log
from fgbench_reports.plots.style import DOUBLE, TEXT, fitting, frame, in_style, text_width
from fgbench_reports.plots.sweeps import listed, words_of
from fgbench_reports.report import Drawing, Figure, Item, Missing, Point, Report
from fgbench_reports.sweep_rows import environment_notes, reason_notes
from fgbench_reports.tables.numbers import img_per_s
from fgbench_reports.tables.table import distinct, file_name

COMMAND = "fgbench throughput --dtype float32 bfloat16"
MAX_LINES = 32  # of a figure
PITCH, LONGEST_LABEL = 13.0, 150.0  # points from line to line; of a line's name
WAYS = (
    *(Look(shade=None, marker="o"), Look(shade=BLUE, marker="s"), Look(shade=ORANGE, marker="^")),
    *(Look(shade=GREEN, marker="D"), Look(shade=PINK, marker="v"), Look(shade=SKY, marker="P")),
    *(Look(shade=BROWN, marker="X"), Look(shade=GREY, marker="*")),
)
Ways = Mapping[Way, Configuration]


class Engines(Report):
    """Engines, precisions and modes side by side: throughput of the same models, and agreement with float32."""

    title = "Engines and precisions side by side"

    name = "engines"

    def items(self, data: Data) -> Iterable[Item]:
        """Per device and environment a figure and a table of throughput, and a table of agreement if rows have it."""
        compared = comparisons(data.throughput)
        names = distinct(file_name("engines", comparison.title) for comparison in compared)
        for name, comparison in zip(names, compared, strict=True):
            yield from _items(name, comparison)
        if not compared:
            why = "no device was measured in several" if data.throughput else "there are no rows for it"
            yield Missing(what="engines, precisions and modes side by side", command=COMMAND, why=why)


def _items(name: str, comparison: Comparison) -> Iterator[Item]:
    notes = engine_notes(comparison.rows, mark="Bold")
    told = [*reason_notes(comparison.rows), *environment_notes(comparison.rows)]
    if figure := _figure(f"{name[:70]}-figure", comparison):
        yield figure
    yield speed_table(name, comparison, notes=[*filter(None, (notes[0], ratio_note(comparison))), *told])
    if agreement := agreement_table(f"{name[:70]}-agreement", comparison, notes=notes[1:]):
        yield agreement


def _figure(name: str, comparison: Comparison) -> Figure | None:
    """The lines with two figures or more; None where there are none."""
    ways = list(comparison.ways)[: len(WAYS)]
    several = [timed for line in comparison.points.values() if len(timed := _timed(line, ways)) > 1]
    if not several:
        return None
    shown, more = several[:MAX_LINES], len(several) - MAX_LINES
    left_out = [f"Not drawn: {more} more lines; the table has all."] if more > 0 else []
    if others := [comparison.headings[way] for way in comparison.ways if way not in ways]:
        left_out.append(f"Not drawn: {listed(others)}; the table has all.")
    headings = {way: comparison.headings[way] for way in ways}
    return EnginesFigure(
        name=name,
        title=f"Engines side by side · {comparison.title}",
        alt=_alt(comparison.title, shown, headings),
        notes=left_out,
        lines=shown,
        headings=headings,
        left_out=left_out,
    )


def _timed(line: Ways, ways: Sequence[Way]) -> dict[Way, Configuration]:
    known = {way: line[way] for way in ways if way in line}
    return {way: one for way, one in known.items() if one.row.throughput_img_s and one.row.latency_s}


def _labels(lines: Sequence[Ways]) -> list[str]:
    firsts = [next(iter(line.values())).row for line in lines]
    labels, one_size = labels_of(firsts), len({row.image_size for row in firsts}) == 1
    sizes = ["" if one_size else f" at {row.image_size}" for row in firsts]
    return [f"{labels[series_of(row)]}{size}, batch {row.batch_size}" for row, size in zip(firsts, sizes, strict=True)]


def _alt(title: str, lines: Sequence[Ways], headings: Mapping[Way, str]) -> str:
    told = []
    for line, label in zip(lines, _labels(lines), strict=True):
        best = max(line, key=lambda way: line[way].img_s)
        sure = "is fastest" if fastest(line) == best else "has the most images per second"
        told.append(f"{label}: {headings[best]} {sure} with {img_per_s(line[best].img_s)}")
    more = f"; and {len(told) - 6} more lines" if len(told) > 6 else ""
    ways = listed(list(headings.values()))
    return f"Dot plot with a logarithmic axis of images per second, {title}, of {ways}. {'; '.join(told[:6])}{more}."


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesFigure(Figure):
    """Images per second: a line per model, size and batch, a marker per engine, precision and mode."""

    lines: Sequence[Ways]
    headings: Mapping[Way, str]
    left_out: Sequence[str] = ()

    def draw(self) -> Drawing:
        """Draw the markers of a line at the same height, with bars of their intervals."""
        labels, looks = _labels(self.lines), dict(zip(self.headings, WAYS, strict=False))
        rings = statuses_entry(one.row.status for line in self.lines for one in line.values())
        ends = {
            (place, way): rate_ends(one.row, one.row.batch_size)
            for place, line in enumerate(self.lines)
            for way, one in line.items()
        }
        with in_style():
            entries = [(handle(look, linestyle="none"), self.headings[way]) for way, look in looks.items()]
            legend = Legend(blocks=[entries, rings], width=DOUBLE - 8, notes=self.left_out)
            canvas, (axes,) = frame(
                width=DOUBLE,
                height=PITCH * len(labels) + 4,
                left=min(max(map(text_width, labels)), LONGEST_LABEL) + 10,
                below=legend.height + LINE,
                heading=self.title.partition(" · ")[2],
            )
            values = [one.img_s for line in self.lines for one in line.values()]
            as_log(axes, "x", with_room(values, ends.values()))
            axes.set_yticks(range(len(labels)), [fitting(label, LONGEST_LABEL, TEXT) for label in labels])
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_xlabel("throughput (images/s)")
            for way, look in looks.items():
                there = [(place, line[way]) for place, line in enumerate(self.lines) if way in line]
                bars = [
                    Bar(x=one.img_s, y=place, ends=ends[place, way] or (0.0, inf), side="x")
                    for place, one in there
                    if ends[place, way]
                ]
                draw_bars(axes, bars, look.colour, width=0.6)
                axes.plot([one.img_s for _, one in there], [place for place, _ in there], **look.marks(), zorder=3)
                draw_rings(axes, [(one.img_s, place) for place, one in there if not one.row.status.is_ok], 4.5)
            legend.write(canvas)
        points = [
            Point(axes=axes, x=one.img_s, y=place, text="\n".join(words_of(one, f"{labels[place]}, {heading}")))
            for place, line in enumerate(self.lines)
            for way, heading in self.headings.items()
            if (one := line.get(way))
        ]
        return Drawing(canvas=canvas, points=points)
