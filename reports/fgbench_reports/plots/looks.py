"""Colours, markers and lines of names, the same in all figures of a report."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from fgbench.results.records import AccuracyRow, FlopsRow, QualityRow, ThroughputRow
from fgbench.results.reduced_name import model_label
from fgbench_reports.data import Data
from fgbench_reports.plots.style import INK, PAPER, Style, palette
from fgbench_reports.sweep_rows import as_text

Marker = str | tuple[int, int, float]
Dash = str | tuple[float, tuple[float, ...]]
Series = tuple[str | None, ...]  # values of SERIES; of selectors, the selector and the implementation

BLUE, ORANGE, GREEN, RED, PINK, BROWN, LIGHT, GREY, YELLOW, SKY = range(10)  # of seaborn's palette
FAMILIES: dict[
    str, tuple[int | None, Marker]
] = {  # a model looks like its selector; those of one selector differ in their markers
    **{"resnet101": (GREY, "*"), "cal": (GREY, "p"), "vit": (None, "h"), "own": (None, "h")},
    **{"psm": (BLUE, "o"), "transfg": (BLUE, "o"), "maws": (ORANGE, "s"), "ffvt": (ORANGE, "s")},
    **{"rollout": (PINK, "^"), "ramstrans": (PINK, "^"), "dcal": (PINK, "v"), "ev": (PINK, "<")},
    **{"sacm": (RED, "P"), "aftrans": (RED, "P"), "tpskg": (BROWN, ">"), "gls": (GREEN, "D"), "glsim": (GREEN, "D")},
    **{"mhv": (BROWN, (5, 1, 0.0)), "ielt": (BROWN, (5, 1, 0.0)), "column_mass": (SKY, "H"), "r2trans": (SKY, "H")},
    **{"attention": (SKY, "X"), "random": (GREY, "d"), "centre": (GREY, "p")},
    **{"column_entropy": (BROWN, (8, 1, 0.0)), "aatrans": (BROWN, (8, 1, 0.0)), "simtrans": (YELLOW, (5, 1, 36.0))},
    **{"confidence": (GREEN, (7, 1, 0.0)), "pim": (GREEN, (7, 1, 0.0)), "herbs": (GREEN, (7, 1, 25.0))},
    **{"mpsa": (LIGHT, (10, 1, 0.0)), "vitnet": (LIGHT, (3, 0, 30.0))},
    **{"accvit": (PINK, ">"), "attention_sum": (SKY, (9, 1, 0.0)), "falvit": (SKY, (9, 1, 0.0))},
}
REST_COLOURS = (SKY, BROWN, BLUE, RED, GREEN)
REST_MARKERS: tuple[Marker, ...] = ((4, 1, 0.0), "8", (3, 1, 0.0), (6, 1, 0.0), (4, 1, 45.0))
BLIND = ("random", "centre")  # selectors that read no image
SOLID, DASHED, DOTTED = "-", (0.0, (3.2, 1.6)), (0.0, (1.0, 1.3))
MORE_LINES: tuple[Dash, ...] = (DOTTED, (0.0, (5.0, 1.3, 1.0, 1.3)), (0.0, (8.0, 2.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a series looks; its marker and line tell it from others without its colour."""

    shade: int | None  # of seaborn's palette; None is ink
    marker: Marker
    line: Dash = SOLID

    @property
    def colour(self) -> str:
        """As matplotlib takes it."""
        return INK if self.shade is None else palette()[self.shade]

    def marks(self, *, hollow: bool = False, half: bool = False) -> Style:
        """Arguments of ``Axes.plot`` for its markers: filled, hollow, or their left half filled."""
        face = {"markerfacecolor": PAPER if hollow else self.colour, "markeredgecolor": self.colour}
        face |= {"fillstyle": "left", "markerfacecoloralt": PAPER} if half else {}
        return {"marker": self.marker, "linestyle": "none", **face}

    def strokes(self) -> Style:
        """Arguments of ``Axes.plot`` for its line."""
        return {"color": self.colour, "linestyle": self.line}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Known names in their colours; any others, in their order in the alphabet, in what is left."""
    looks = {name: _known(name) for name in FAMILIES}
    rest = sorted({name for name in names if name not in looks})
    return looks | dict(zip(rest, _rest(), strict=False))


def _known(name: str) -> Look:
    shade, marker = FAMILIES[name]
    return Look(shade=shade, marker=marker, line=DOTTED if name in BLIND else SOLID)


def _rest() -> Iterator[Look]:
    """Looks without end: a marker of its own for each of the first, then the same markers with other lines."""
    for line in chain((SOLID,), _more_lines()):
        for index, marker in enumerate(REST_MARKERS):
            yield Look(shade=REST_COLOURS[index], marker=marker, line=line)


def _more_lines() -> Iterator[Dash]:
    yield from MORE_LINES
    for dots in count(2):
        yield (0.0, (5.0, 1.3, *(1.0, 1.3) * dots))


def names_in(data: Data) -> set[str]:
    """Every model and selector that any figure of this data shows."""
    rows: list[FlopsRow | ThroughputRow | AccuracyRow | QualityRow] = [*data.flops, *data.throughput]
    rows += [*data.accuracy, *data.selection_quality]
    selectors = [row.selector for row in [*rows, *data.selection]]
    return {str(name) for name in [*(row.model for row in rows), *selectors] if name is not None}


def series_of(row: ThroughputRow) -> Series:
    """The series of a row: model, selector, implementation, backbone."""
    return row.model, row.selector, row.impl, row.backbone


def series_looks(data: Data) -> dict[Series, Look]:
    """A look for every series of the sweeps: the colour and the marker of its model, and a line of its own."""
    by_name = looks_of(names_in(data))
    found = sorted({series_of(row) for row in data.throughput}, key=lambda each: tuple(map(str, each)))
    return with_lines({each: (by_name[str(each[0])], each[2] == "published") for each in found})


def with_lines(series: Mapping[Series, tuple[Look, bool]]) -> dict[Series, Look]:
    """Looks that differ in marker or line: those that are ``published`` dashed if they can be, others solid."""
    taken: set[Hashable] = set()
    looks = {}
    for key, (look, published) in series.items():
        wishes = (DASHED, SOLID) if published else (look.line, SOLID, DASHED)
        line = next(line for line in _in_turn(wishes) if (look.marker, line) not in taken)
        taken.add((look.marker, line))
        looks[key] = Look(shade=look.shade, marker=look.marker, line=line)
    return looks


def _in_turn(first: Sequence[Dash]) -> Iterator[Dash]:
    yield from first
    yield from _more_lines()


def labels_of(rows: Iterable[ThroughputRow]) -> dict[Series, str]:
    """A name for the series of each row: its model, and the fields that tell it from others of that model."""
    every = {series_of(row): None for row in rows}
    labels = {}
    for series in every:
        alike = [other for other in every if other[0] == series[0]]
        differing = [series[index] for index in (1, 2, 3) if len({other[index] for other in alike}) > 1]
        words = (model_label(str(series[0])), *differing)
        labels[series] = " ".join(as_text(part) for part in words if part is not None)
    return labels
