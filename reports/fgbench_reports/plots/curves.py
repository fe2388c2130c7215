"""Figures of insertion and deletion curves: the prediction while the best pixels are added or removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from fgbench.results.records import QualityRow
from fgbench_reports.advice import accuracy_command
from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.legend import Legend, handle
from fgbench_reports.plots.lines import Line, Place, draw_line, points_of
from fgbench_reports.plots.looks import Look, looks_of, names_in
from fgbench_reports.plots.scales import as_linear
from fgbench_reports.plots.style import DOUBLE, frame, in_style
from fgbench_reports.plots.sweeps import chosen_series, file_names, first_figures, listed, not_drawn
from fgbench_reports.report import Drawing, Figure, Item, Missing, Point, Report
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.numbers import how_many, significant
from fgbench_reports.training_groups import Training, by_training, telling_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 150.0
CURVES = {"insertion": "best pixels come back first", "deletion": "best pixels go first"}
ORIGIN = {"device_name": "device", "device": "device", "torch": "torch", "mixed_precision": "precision"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanCurve:
    """The mean of curves over seeds."""

    values: Sequence[float]  # probabilities at equal shares of pixels
    stds: Sequence[float] | None  # standard deviation of each value; None for a single curve
    auc: float | None  # mean area; None if no row has one
    other_lengths: int  # curves that are left out, because they have more or fewer points than the first one

    @property
    def ends(self) -> list[tuple[float, float]]:
        """The ends of a bar of one standard deviation at each point; the point itself if there is none."""
        stds = self.stds or [0.0] * len(self.values)
        return [(value - std, value + std) for value, std in zip(self.values, stds, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorCurves:
    """Both curves of one selector, over seeds."""

    selector: str
    runs: int
    insertion: MeanCurve
    deletion: MeanCurve

    def of(self, kind: str) -> MeanCurve:
        """The curve of a kind out of :data:`CURVES`."""
        return self.insertion if kind == "insertion" else self.deletion


class Curves(Report):
    """Insertion and deletion curves of every selector on every trained model, means over seeds."""

    title = "Insertion and deletion"

    name = "curves"

    def items(self, data: Data) -> Iterable[Item]:
        """A figure per trained model."""
        rows = [row for row in data.selection_quality if row.insertion_curve and row.deletion_curve]
        without = [row for row in data.selection_quality if not (row.insertion_curve and row.deletion_curve)]
        if not rows:
            trained = [row for row in data.accuracy if not row.seeds]
            why = "no row has its curves" if data.selection_quality else "there are no rows for it"
            command = accuracy_command(trained, "--quality") if trained else KINDS["selection_quality"]
            yield Missing(what="insertion and deletion curves", command=command, why=why)
        groups, looks, lacking = by_training(rows), looks_of(names_in(data)), by_training(without)
        titles = {key: _title(key, groups) for key in groups}
        found, left = first_figures(list(groups), titles.__getitem__)
        for key, name in zip(found, file_names(f"curves {titles[key]}" for key in found), strict=True):
            lost = [as_text(row.selector) for row in lacking.get(key, [])]
            left_out = not_drawn(len(lost), "row", listed(list(dict.fromkeys(lost))), "without curves")
            yield _figure(titles[key], name, groups[key], looks, left if key == found[-1] else [], left_out)


def _title(key: Training, groups: Iterable[Training]) -> str:
    words = [as_text(key.model), f"selects by {as_text(key.trained_with)}" if key.trained_with else "selects nothing"]
    return " · ".join([*words, as_text(key.dataset), f"{key.image_size} px", *telling_words(key, groups)])


def _figure(
    trained: str,
    name: str,
    rows: Sequence[QualityRow],
    looks: Mapping[str, Look],
    left: Sequence[str],
    without: Sequence[str],
) -> Figure:
    kept, many = chosen_series([row.selector for row in rows], str)
    curves = {selector: _mean([row for row in rows if row.selector == selector]) for selector in kept}
    seeds = len({row.seed for row in rows})
    images = sorted({row.perturbed_images for row in rows})
    of_images = how_many(images[0], "image") if len(images) == 1 else f"{images[0]} to {images[-1]} images"
    notes = [
        f"Means over {of_images}"
        + (f" and {seeds} trained models, a seed each." if seeds > 1 else "; one trained model.")
    ]
    notes.append(
        "A good ranking rises early in insertion and falls early in deletion. Random and centre look at no image."
    )
    lengths = {name: row.insertion.other_lengths + row.deletion.other_lengths for name, row in curves.items()}
    other = {name: count for name, count in lengths.items() if count}
    why = "not as many points as the first one of the same selector"
    left_out = [*many, *without, *not_drawn(sum(other.values()), "curve", listed([*map(as_text, other)]), why)]
    mixed = _mixed(rows)
    return CurvesFigure(
        name=name,
        title=f"Insertion and deletion · {trained}" + (" · runs of several environments" if mixed else ""),
        alt=_alt(trained, curves),
        notes=(*notes, *mixed, *left_out, *left),
        curves=curves,
        looks=looks,
        left_out=[*_bars(curves), *left_out],
    )


def _bars(curves: Mapping[str, SelectorCurves]) -> list[str]:
    """Notes on the bars, and on curves without bars."""
    alone = [as_text(name) for name, row in curves.items() if row.insertion.stds is None]
    said = ["Bars are one standard deviation over trained models, up and down."] if len(alone) < len(curves) else []
    every = len(alone) == len(curves)
    subject = "Curves have" if every else f"{listed(alone)} {'have' if len(alone) > 1 else 'has'}"
    return [*said, *([f"{subject} no bars: there is one trained model."] if alone else [])]


def _mean(rows: Sequence[QualityRow]) -> SelectorCurves:
    """The means of the curves of one selector."""
    return SelectorCurves(
        selector=rows[0].selector,
        runs=len(rows),
        insertion=_mean_curve([row.insertion_curve or [] for row in rows], [row.insertion_auc for row in rows]),
        deletion=_mean_curve([row.deletion_curve or [] for row in rows], [row.deletion_auc for row in rows]),
    )


def _mean_curve(curves: Sequence[Sequence[float]], aucs: Sequence[float | None]) -> MeanCurve:
    """The mean and standard deviation of curves with as many points as the first one, and their mean area."""
    alike = [curve for curve in curves if len(curve) == len(curves[0])]
    areas = [area for area in aucs if area is not None]
    return MeanCurve(
        values=[fmean(values) for values in zip(*alike, strict=True)],
        stds=[stdev(values) for values in zip(*alike, strict=True)] if len(alike) > 1 else None,
        auc=fmean(areas) if areas else None,
        other_lengths=len(curves) - len(alike),
    )


def _mixed(rows: Sequence[QualityRow]) -> list[str]:
    """A note if a mean is over different devices or versions."""
    met: dict[str, list[str]] = {}
    for field, name in ORIGIN.items():
        values = dict.fromkeys(as_text(value) for row in rows if (value := (row.environment or {}).get(field)))
        if len(values) > 1:
            met.setdefault(name, list(values))
    told = "; ".join(f"{name}: {', '.join(values)}" for name, values in met.items())
    return [f"The means are over runs that differ in their environments, in {told}."] if told else []


def _alt(trained: str, curves: Mapping[str, SelectorCurves]) -> str:
    text = f"Two line plots of the mean probability of the predicted class against the share of pixels, {trained}: "
    text += "insertion, while the pixels that a selector ranks best come back first, and deletion, while they go first."
    highest = [(auc, name) for name, row in curves.items() if (auc := row.insertion.auc) is not None]
    lowest = [(auc, name) for name, row in curves.items() if (auc := row.deletion.auc) is not None]
    if not (highest and lowest):
        return text
    most, rising = max(highest, key=lambda area: area[0])
    least, falling = min(lowest, key=lambda area: area[0])
    text += f" Of {how_many(len(curves), 'selector')} {as_text(rising)} has the largest area in insertion, "
    text += f"{significant(most)}, and {as_text(falling)} the smallest in deletion, "
    return f"{text}{significant(least)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesFigure(Figure):
    """Two panels, insertion and deletion, a line per selector."""

    curves: Mapping[str, SelectorCurves]
    looks: Mapping[str, Look]
    left_out: Sequence[str] = ()  # notes on bars and on data that is not drawn, with the reason

    def draw(self) -> Drawing:
        """Draw the curves. Only some points have markers; on the page every point has a text."""
        with in_style():
            legend = Legend(
                blocks=[[(handle(self.looks[name]), as_text(name)) for name in self.curves]],
                width=DOUBLE - 40,
                notes=self.left_out,
            )
            heading = self.title.partition(" · ")[2]
            canvas, panels = frame(
                width=DOUBLE, height=HEIGHT, panels=2, below=legend.height, heading=heading, titled=True
            )
            points = [point for axes, kind in zip(panels, CURVES, strict=True) for point in self._panel(axes, kind)]
            legend.write(canvas)
        return Drawing(canvas=canvas, points=points)

    def _panel(self, axes: Axes, kind: str) -> list[Point]:
        as_linear(axes, "x", [0.0, 100.0])
        ends = [end for row in self.curves.values() for other in CURVES for one in row.of(other).ends for end in one]
        as_linear(axes, "y", [0.0, *ends])
        axes.set_title(f"{kind}: {CURVES[kind]}")
        axes.set_xlabel("pixels that are there (%)" if kind == "insertion" else "pixels that are gone (%)")
        axes.set_ylabel("probability of the class")
        points = []
        for name, row in self.curves.items():
            line = Line(name=as_text(name), look=self.looks[name], places=_places(row, kind))
            draw_line(axes, line, marked=False)
            points += points_of(axes, line)
        return points


def _places(row: SelectorCurves, kind: str) -> list[Place]:
    curve = row.of(kind)
    last = max(1, len(curve.values) - 1)
    area = f"{kind} AUC {significant(curve.auc)}" + (f", mean of {row.runs} runs" if row.runs > 1 else "")
    places = []
    for index, (value, (low, high)) in enumerate(zip(curve.values, curve.ends, strict=True)):
        share, std = 100 * index / last, f" ± {(high - low) / 2:.3f}" if high > low else ""
        text = f"{as_text(row.selector)}\n{share:.0f} % of the pixels: {value:.3f}{std}\n{area}"
        places.append(Place(x=share, y=value, text=text, ends=(low, high) if high > low else None))
    return places
