"""Where the time goes: the parts of runs as stacked bars, with their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgbench_reports.data import Data
from fgbench_reports.measured.parts import REST, STAGES, Division, divisions, group_by_way, part_notes
from fgbench_reports.measured.parts import part_table as table_of
from fgbench_reports.plots.legend import LINE, Legend, handle
from fgbench_reports.plots.looks import BLUE, BROWN, GREEN, GREY, ORANGE, PINK, SKY, YELLOW, labels_of, series_of
from fgbench_reports.plots.style import DOUBLE, INK, TEXT, fitting, frame, in_style, palette, text_width
from fgbench_reports.plots.sweeps import file_names
from fgbench_reports.report import Drawing, Figure, Item, Missing, Point, Report
from fgbench_reports.sweep_rows import as_text, mode_name
from fgbench_reports.tables.numbers import four_digits, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMAND = "fgbench throughput --by-part"
MAX_BARS = 24  # of a figure
BAR, PITCH = 0.72, 15.0  # of a bar's place; points from bar to bar
LONGEST_LABEL = 130.0  # points
# Colour and hatch of parts; a hatch tells a part from its neighbours without its colour.
PARTS: dict[str, tuple[int, str]] = {
    **{"pass 1": (SKY, ""), "selector": (ORANGE, "/////"), "crop": (GREEN, "....."), "pass 2": (BLUE, "\\\\\\\\\\")},
    **{"fusion": (PINK, "xxxx"), REST: (GREY, "|||||")},
    **{"decode": (ORANGE, "/////"), "resize": (GREEN, "....."), "transfer": (PINK, "xxxx"), "model": (SKY, "")},
}
OTHERS = ((YELLOW, "+++++"), (BROWN, "-----"), (YELLOW, "ooo"), (BROWN, "**"))


class Parts(Report):
    """Time and memory of the parts of runs: stages of forward passes, and the way from files to logits."""

    title = "Parts of runs"

    name = "parts"

    def items(self, data: Data) -> Iterable[Item]:
        """Per environment and way of dividing a run: a figure of stacked bars, and a table."""
        groups = divisions(data.parts)
        if not groups:
            yield Missing(what="time and memory of the parts of runs", command=COMMAND)
        found = [
            (way, divided, " · ".join([_kind(way), mode_name(key, groups)]))
            for key, some in groups.items()
            for way, divided in group_by_way(some).items()
        ]
        names = file_names(f"parts {title}" for *_, title in found)
        for name, (way, divided, title) in zip(names, found, strict=True):
            rows = [row for one in divided for row in (*one.parts, *([one.total] if one.total else []))]
            notes = part_notes(rows, divided, environment=True)
            if bars := _bars(divided):
                yield _figure(name, title, way, bars, notes)
            yield table_of(f"{name[:70]}_table", title, divided, notes)


def _kind(way: str) -> str:
    return "Stages of a forward pass" if way == STAGES else "From files to logits"


def _bars(divided: Sequence[Division]) -> list[Division]:
    """Of each model and size the batch of the most images per second."""
    best: dict[tuple[Any, ...], Division] = {}
    for one in divided:
        if not one.parts or not one.total_s:
            continue
        key = (*series_of(one.first), one.first.image_size)
        if key not in best or _image_s(one) < _image_s(best[key]):
            best[key] = one
    return list(best.values())


def _image_s(one: Division) -> float:
    assert one.total_s is not None
    return one.total_s / one.first.batch_size


def _figure(name: str, title: str, way: str, bars: Sequence[Division], notes: Sequence[str]) -> Figure:
    left = bars[MAX_BARS:]
    left_out = [f"Not drawn: {len(left)} more bars; the table has all."] if left else []
    shown = bars[:MAX_BARS]
    return PartsFigure(
        name=name, title=title, alt=_alt(title, way, shown), notes=(*notes, *left_out), bars=shown, left_out=left_out
    )


def _alt(title: str, way: str, bars: Sequence[Division]) -> str:
    names = _names(bars)
    told = []
    for one, name in zip(bars, names, strict=True):
        most = max(one.parts, key=lambda row: row.latency_s or 0.0)
        share = significant(100 * (most.latency_s or 0.0) / (one.total_s or 1.0))
        told.append(f"{name} takes {_ms(_image_s(one))} ms per image, most of it in {as_text(most.part)}, {share} %")
    what = "the stages of a forward pass" if way == STAGES else "the way from files to logits"
    bar = "one stacked bar" if len(bars) == 1 else f"{len(bars)} stacked bars"
    return f"{bar} of milliseconds per image in {what}, {title.partition(' · ')[2]}: {'; '.join(told[:6])}."


def _names(bars: Sequence[Division]) -> list[str]:
    labels = labels_of(one.first for one in bars)
    return [f"{labels[series_of(one.first)]} at {one.first.image_size}, batch {one.first.batch_size}" for one in bars]


def _ms(seconds: float) -> str:
    return four_digits(1e3 * seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsFigure(Figure):
    """Milliseconds per image, a bar per model and size, divided into parts."""

    bars: Sequence[Division]
    left_out: Sequence[str] = ()

    def draw(self) -> Drawing:
        """Draw a bar per division; a thick line across a bar is the pass that was timed without parts."""
        from matplotlib.patches import Patch

        names = _names(self.bars)
        parts = list(dict.fromkeys(as_text(row.part) for one in self.bars for row in one.parts))
        looks = _looks(parts)
        with in_style():
            entries: list[Any] = [(Patch(**_style(looks[part])), part) for part in parts]
            if any(one.whole is not None for one in self.bars):
                entries.append((handle(**MARK, linestyle="none"), "the whole, timed without stages"))
            legend = Legend(blocks=[entries], width=DOUBLE - 8, notes=self.left_out)
            left = min(max(text_width(name) for name in names), LONGEST_LABEL) + 10
            canvas, (axes,) = frame(
                width=DOUBLE,
                height=PITCH * len(names) + 4,
                left=left,
                below=legend.height + LINE,
                heading=self.title.partition(" · ")[2],
            )
            points = [
                point for place, one in enumerate(self.bars) for point in _bar(axes, place, one, names[place], looks)
            ]
            axes.set_yticks(range(len(names)), [fitting(name, LONGEST_LABEL, TEXT) for name in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_xlim(left=0)
            axes.grid(visible=False, axis="y")
            axes.set_xlabel("time (ms per image)")
            legend.write(canvas)
        return Drawing(canvas=canvas, points=points)


MARK: dict[str, Any] = {"marker": "|", "markersize": 9.0, "markeredgewidth": 2.0, "color": INK}


def _looks(parts: Sequence[str]) -> dict[str, tuple[int, str]]:
    others = [part for part in parts if part not in PARTS]
    return {part: PARTS[part] if part in PARTS else OTHERS[others.index(part) % len(OTHERS)] for part in parts}


def _style(look: tuple[int, str]) -> dict[str, Any]:
    return {"facecolor": palette()[look[0]], "hatch": look[1], "edgecolor": INK, "linewidth": 0.5}


def _bar(axes: Axes, place: int, one: Division, name: str, looks: Mapping[str, tuple[int, str]]) -> Iterable[Point]:
    """Draw the bar of a division; its parts as points that can be asked."""
    images, begin = one.first.batch_size, 0.0
    for row in one.parts:
        part, width = as_text(row.part), 1e3 * (row.latency_s or 0.0) / images
        axes.barh(place, width, left=begin, height=BAR, **_style(looks[part]))
        share = f"{significant(100 * (row.latency_s or 0.0) / (one.total_s or 1.0))} %"
        text = f"{name}\n{part}: {four_digits(width)} ms per image, {share}"
        yield Point(axes=axes, x=begin + width / 2, y=place, text=text)
        begin += width
    if one.whole is not None and one.whole.latency_s:
        whole = 1e3 * one.whole.latency_s / images
        axes.plot([whole], [place], **MARK, linestyle="none", clip_on=False, zorder=4)
        yield Point(axes=axes, x=whole, y=place, text=f"{name}\nthe whole: {four_digits(whole)} ms per image")
