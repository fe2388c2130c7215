"""A forest plot: differences from a baseline below each other, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench_reports.plots.bars import Bar, Ends, draw_bars
from fgbench_reports.plots.legend import Entry, Legend, handle
from fgbench_reports.plots.looks import DASHED
from fgbench_reports.plots.style import INK, PAPER, TEXT, Style, fitting, frame, in_style, palette, text_width
from fgbench_reports.report import Drawing, Figure, Point

LINE = 13.0  # points: from line to line
LONGEST = 110.0  # points of a name
BETTER_COLOUR, WORSE_COLOUR = 0, 1  # of the palette: blue and orange
ROOM = 0.08  # of the axis beyond the ends of the bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A difference in the plot.

    Attributes:
        label: The name of the model.
        points: The difference in points.
        ends: Of its interval; None where there is none.
        better: Whether the model is better; None where no difference is told.
        one_seed: Whether it is of one seed alone.
        text: Its name and its numbers.

    """

    label: str
    points: float
    ends: Ends | None
    better: bool | None
    one_seed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest(Figure):
    """Differences in points with their 95 % intervals; a line at 0."""

    baseline: str
    trees: Sequence[Tree]

    def draw(self) -> Drawing:
        """A line per model; its colour and marker say the verdict."""
        with in_style():
            labels = [fitting(tree.label, LONGEST, TEXT) for tree in self.trees]
            legend = Legend(blocks=[self._entries()])
            left = 12.0 + max(text_width(label) for label in labels)
            height = LINE * len(self.trees) + 6.0
            canvas, (axes,) = frame(height=height, left=left, below=legend.height, heading=self.title)
            values = [end for tree in self.trees for end in (tree.points, *(tree.ends or ()))] + [0.0]
            room = max(ROOM * (max(values) - min(values)), 0.1)
            axes.set_xlim(min(values) - room, max(values) + room)
            axes.set_ylim(len(self.trees) - 0.5, -0.5)
            axes.set_yticks(range(len(self.trees)), labels)
            axes.grid(visible=False, axis="y")
            axes.set_xlabel(f"difference from {self.baseline} (points of top-1 accuracy)")
            axes.axvline(0.0, color=INK, linewidth=0.6, linestyle=DASHED, zorder=1.5)
            for place, tree in enumerate(self.trees):
                look = _look(tree)
                if tree.ends is not None:
                    bar = Bar(x=tree.points, y=float(place), ends=tree.ends, side="x")
                    draw_bars(axes, [bar], str(look["color"]))
                axes.plot([tree.points], [place], **look, zorder=3)
            legend.write(canvas)
            points = [
                Point(axes=axes, x=tree.points, y=float(place), text=tree.text) for place, tree in enumerate(self.trees)
            ]
            return Drawing(canvas=canvas, points=points)

    def _entries(self) -> list[Entry]:
        words = {_word(tree): _look(tree) for tree in self.trees}
        return [(handle(**look), word) for word, look in words.items()]


def _word(tree: Tree) -> str:
    if tree.one_seed:
        return "one seed alone"
    return {True: "better", False: "worse", None: "no difference found"}[tree.better]


def _look(tree: Tree) -> Style:
    colours = palette()
    colour = {True: colours[BETTER_COLOUR], False: colours[WORSE_COLOUR], None: INK}[tree.better]
    marker = {True: ">", False: "<", None: "o"}[tree.better]
    style: Style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 4.5}
    if tree.better is None:
        style |= {"markerfacecolor": PAPER if tree.one_seed else INK, "markeredgecolor": INK}
    return style
