"""Figures of accuracy against a cost: points, the Pareto front and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from fgbench.results.image_size import ImageSize
from fgbench.results.records import AccuracyRow
from fgbench.results.reduced_name import ReducedName
from fgbench_reports.advice import accuracy_command
from fgbench_reports.choose.bounds import Bounds, accuracy_bounds, exact, pareto_front, throughput_bounds
from fgbench_reports.choose.configurations import MEASURED, PUBLISHED, Configuration, configurations
from fgbench_reports.data import Data
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.plots.bars import arrow_style, bars_go_on, with_room
from fgbench_reports.plots.looks import Look, Series, labels_of, series_looks, series_of
from fgbench_reports.plots.scales import as_linear, as_log, log_limits
from fgbench_reports.plots.scatter import Mark, Plane, scattered
from fgbench_reports.plots.sources import accuracy_ends, bars_told, left_out, titled
from fgbench_reports.plots.style import INK, Style
from fgbench_reports.plots.sweeps import (
    MAX_POINTS,
    file_names,
    first_figures,
    known_series,
    listed,
    mode_names,
    no_sweep,
    pixels,
    sizes_of,
    sweep_notes,
    thinned,
    thinning_note,
    words_of,
)
from fgbench_reports.published import SOURCE
from fgbench_reports.report import Drawing, Figure, Item, Missing
from fgbench_reports.sweep_rows import EnvironmentKey, as_text, first_notes
from fgbench_reports.tables.numbers import how_many, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_FRONTIERS = 10  # figures of a report: one per published data set, for one mode
FRONT: Style = {"color": INK, "linewidth": 0.9, "linestyle": (0.0, (1.0, 1.2))}
PAPER = SOURCE.partition(", Tables")[0]
MARGIN = 0.1  # margin of the cost axis, as a share
ACCURACY = "top-1 accuracy (%)"
PLAIN = "vit"  # the model that others are compared with: what selecting costs, and what reducing tokens saves
Named = TypeVar("Named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The figure on the axis of cost, such as throughput or memory."""

    word: str  # its name in titles: throughput
    axis: str  # label of the axis, with the unit
    unit: str
    of: Callable[[Configuration], float | None]
    more_is_better: bool
    bounds: Callable[[Configuration], Bounds | None]  # the same figure with the ends of its interval, in any unit

    def cost(self, one: Configuration) -> Bounds:
        """The cost, with the ends of its interval; smaller is better, so a throughput is negated."""
        found = self.bounds(one) or exact(self.of(one) or 0.0)
        return found.mapped(lambda value: -value) if self.more_is_better else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fronts:
    """The points that are on the Pareto front: by their figures, and by their intervals."""

    drawn: Sequence[bool]  # not dominated by the figures of any point: the line
    kept: Sequence[bool]  # not certainly dominated by the intervals of any point

    def within_of(self, points: Sequence[Named]) -> list[Named]:
        """The points below the line that are not certainly dominated."""
        marks = zip(points, self.drawn, self.kept, strict=True)
        return [point for point, is_drawn, is_kept in marks if is_kept and not is_drawn]


def fronts_of(costs: Sequence[Bounds], accuracies: Sequence[Bounds]) -> Fronts:
    """Both fronts of points with a cost (smaller is better) and an accuracy (larger is better)."""
    errors = [accuracy.mapped(lambda top1: -top1) for accuracy in accuracies]
    figures = [(cost.value, error.value) for cost, error in zip(costs, errors, strict=True)]
    return Fronts(drawn=pareto_front(figures), kept=pareto_front(list(zip(costs, errors, strict=True))))


def within_note(names: Sequence[str]) -> list[str]:
    """A note on the points below the line that the 95 % intervals do not exclude from the front."""
    if not names:
        return []
    most = 8
    told = names if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    verb = "is" if len(names) == 1 else "are"
    return [f"Below the front, and by the 95 % intervals {verb} not certainly dominated: {listed(list(told))}."]


def frontiers(data: Data, against: Callable[[str], Against]) -> Iterator[Item]:
    """A figure per mode and data set with known accuracies; ``against`` returns the cost for the mode's device.

    Data sets with measured accuracies come first, then those with published ones only.
    """
    word = against("cuda").word
    groups: dict[tuple[EnvironmentKey, str], list[Configuration]] = {}
    names, seen = mode_names(data), dict[EnvironmentKey, list[Configuration]]()
    for one in configurations(data):
        seen.setdefault(one.mode, []).append(one)
        if one.accuracy is not None and against(one.mode.device).of(one) is not None:
            groups.setdefault((one.mode, one.accuracy.dataset), []).append(one)
    if not groups:
        what = f"accuracy against {word}"
        known = "no model of the sweeps has an accuracy at its size: train it, or measure what was trained"
        rows = [one.row for some in seen.values() for one in some]
        yield Missing(what=what, command=accuracy_command(rows), why=known) if seen else no_sweep(what, data)
        return
    ranks = {mode: rank for rank, mode in enumerate(names)}
    order = sorted(groups, key=lambda key: (_published_only(groups[key]), key[1] != "cub", ranks[key[0]], key[1]))
    found, left = first_figures(order, lambda key: f"{as_text(key[1])} on {names[key[0]]}", MAX_FRONTIERS)
    looks = series_looks(data)
    files = file_names(f"{word} {dataset} {names[mode]}" for mode, dataset in found)
    for key, name in zip(found, files, strict=True):
        notes = left if key == found[-1] else []
        yield _figure(name, groups[key], against(key[0].device), looks, names[key[0]], data, notes, seen[key[0]])


def _published_only(some: Sequence[Configuration]) -> bool:
    return all(one.accuracy is not None and one.accuracy.source == PUBLISHED for one in some)


def _figure(
    name: str,
    group: Sequence[Configuration],
    against: Against,
    looks: Mapping[Series, Look],
    mode: str,
    data: Data,
    left: Sequence[str],
    every: Sequence[Configuration],
) -> Figure:
    dataset = group[0].accuracy.dataset if group[0].accuracy else ""
    kept, many = known_series([one.row for one in group])
    series = {each: [one for one in group if series_of(one.row) == each] for each in kept}
    longest = max(map(len, series.values()))
    shown = [one for some in series.values() for one in thinned(some, lambda one: against.of(one) or 0.0)]
    rows = list({id(one.row): one.row for one in shown}.values())
    labels = labels_of(one.row for one in shown)
    within = [
        f"{labels[series_of(one.row)]} at {one.row.image_size}" for one in fronts_over(shown, against).within_of(shown)
    ]
    notes = [*_sources(shown), *within_note(within), *_origins(data.accuracy, dataset), *many]
    reduces = any(ReducedName.of(one.row.model) is not None for one in shown)
    plain = plain_throughputs(every) if reduces and against.word == "throughput" else {}
    notes += saving_notes(shown, plain)
    notes += thinning_note(longest) if longest > MAX_POINTS else []
    lacking = [*many, *left_out(data, every, group, against.of, against.word)]
    notes += lacking[len(many) :]
    return Frontier(
        name=name,
        title=f"{titled(against.word, shown, data.accuracy, dataset)} · {as_text(dataset)} · {mode}",
        alt=_alt(shown, against, dataset, mode),
        notes=(*notes, *sweep_notes(rows), *left),
        shown=shown,
        against=against,
        looks=looks,
        left_out=lacking,
        plain=plain,
    )


def plain_throughputs(every: Sequence[Configuration]) -> dict[tuple[str, ImageSize], float]:
    """The highest throughput of the plain model on every backbone at every image size."""
    found: dict[tuple[str, ImageSize], float] = {}
    for one in every:
        key = (one.row.backbone, one.row.image_size)
        if one.row.model == PLAIN:
            found[key] = max(one.img_s, found.get(key, 0.0))
    return found


def saving_notes(shown: Sequence[Configuration], plain: Mapping[tuple[str, ImageSize], float]) -> list[str]:
    """A note on the models that are faster than the plain one, and on those that are slower, fastest first."""
    times: dict[str, float] = {}
    labels = labels_of(one.row for one in shown)
    for one in shown:
        base = plain.get((one.row.backbone, one.row.image_size))
        if base is not None and one.row.model != PLAIN:
            times[f"{labels[series_of(one.row)]} at {one.row.image_size}"] = one.img_s / base
    told = [f"{name} {ratio:.2f} ×" for name, ratio in sorted(times.items(), key=lambda pair: -pair[1])]
    most = 12
    more = [f"{len(told) - most} more"] if len(told) > most else []
    return [f"Throughput beside the plain {PLAIN}: {listed([*told[:most], *more])}."] if told else []


def _sources(shown: Sequence[Configuration]) -> list[str]:
    """Notes on the sources of the accuracies, and on the batch size of the costs."""
    sources = {one.accuracy.source for one in shown if one.accuracy}
    notes = ["Each point is a model at one image size, at the batch of its highest throughput."]
    if PUBLISHED in sources:
        which = "Hollow points have" if MEASURED in sources else "All points have"
        notes.append(f"{which} the published accuracy ({PAPER}, Table 4 and Figure 4), which was not measured here.")
    if len({id(one.row) for one in shown}) < len(shown):
        notes.append("A model that was trained in several ways has a point for each of them.")
    return notes


def _origins(rows: Sequence[AccuracyRow], dataset: str) -> list[str]:
    """Notes on the environments in which the accuracies were measured."""
    met: dict[str, None] = {}
    for row in rows:
        environment = row.environment or {}
        if tested_on(row) == dataset and not row.seeds:
            told = [environment.get("device_name") or environment.get("cpu") or environment.get("device")]
            told += [f"torch {environment['torch']}"] if environment.get("torch") else []
            met[", ".join(as_text(word) for word in told if word)] = None
    known = [origin for origin in met if origin]
    if len(known) < 2:
        return [f"Accuracies were measured on {known[0]}."] if known else []
    lines = [f"Accuracies were measured on {origin}." for origin in known]
    return ["A mean over seeds may be of accuracies from several environments.", *first_notes(lines, "environment")]


def _alt(shown: Sequence[Configuration], against: Against, dataset: str, mode: str) -> str:
    labels = labels_of(one.row for one in shown)
    front = fronts_over(shown, against).drawn

    def told(one: Configuration) -> str:
        accuracy = one.accuracy.top1_percent if one.accuracy else 0.0
        label = labels[series_of(one.row)]
        return f"{label} at {one.row.image_size} ({accuracy:.1f} %, {significant(against.of(one))} {against.unit})"

    sizes = pixels(sizes_of(one.row for one in shown))
    best = [
        told(one) for one, is_on in sorted(zip(shown, front, strict=True), key=lambda pair: -_top1(pair[0])) if is_on
    ]
    return (
        f"Scatter plot of top-1 accuracy on {as_text(dataset)} against {against.word}, a logarithmic axis, on {mode}: "
        f"{how_many(len(shown), 'point')} of {listed(list(labels.values()))}, at {sizes}. On the Pareto front: "
        f"{listed(best)}."
    )


def fronts_over(shown: Sequence[Configuration], against: Against) -> Fronts:
    """Both fronts of configurations."""
    return fronts_of([against.cost(one) for one in shown], [_accuracy(one) for one in shown])


def _accuracy(one: Configuration) -> Bounds:
    return accuracy_bounds(one.accuracy) if one.accuracy else exact(0.0)


def _top1(one: Configuration) -> float:
    return one.accuracy.top1_percent if one.accuracy else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier(Figure):
    """Accuracy against a cost, with the Pareto front."""

    shown: Sequence[Configuration]
    against: Against
    looks: Mapping[Series, Look]
    left_out: Sequence[str] = ()  # notes on data that is not drawn, with the reason
    plain: Mapping[tuple[str, ImageSize], float] = field(default_factory=dict)  # as plain_throughputs has them

    def draw(self) -> Drawing:
        """Draw the points and the front. Published accuracies are hollow; bars are the intervals behind the front."""
        labels = labels_of(one.row for one in self.shown)
        marks = [self._mark(one, labels[series_of(one.row)]) for one in self.shown]
        fronts = fronts_over(self.shown, self.against)
        corners = sorted((mark.x, mark.y) for mark, is_on in zip(marks, fronts.drawn, strict=True) if is_on)
        entries: list[tuple[str, Style]] = [("Pareto front", FRONT)]
        across = [mark.across for mark in marks]
        if bars_go_on(across, log_limits(with_room([mark.x for mark in marks], across), MARGIN)):
            entries.append(("the bar goes on", arrow_style("x")))
        notes = [*bars_told(self.shown, self.against.word, timed=any(mark.across for mark in marks)), *self.left_out]

        def prepare(axes: Axes) -> None:
            plane_of_accuracy(axes, marks, self.against.axis)
            draw_front(axes, corners, more_is_better=self.against.more_is_better)

        plane = Plane(heading=self.title, prepare=prepare, entries=entries, notes=notes)
        return scattered(plane, marks, self.looks, labels)

    def _mark(self, one: Configuration, label: str) -> Mark:
        accuracy = one.accuracy
        std = accuracy.top1_std_percent if accuracy else None
        told = f"{_top1(one):.2f} %" + ("" if std is None else f" ± {std:.2f}") + " top-1"
        timed = self.against.word == "throughput"
        rate = throughput_bounds(one)
        across = (rate.low, rate.high) if timed and rate.known else None
        ends = None if accuracy is None else accuracy_ends(accuracy)
        if accuracy:
            epochs = accuracy.recipe.get("epochs")
            runs = how_many(accuracy.runs, "run")
            told += f", {accuracy.source}, {runs}" + (f" of {how_many(epochs, 'epoch')}" if epochs else "")
        plain = self.plain.get((one.row.backbone, one.row.image_size))
        times = None if plain is None or one.row.model == PLAIN else one.img_s / plain
        beside = [] if times is None else [f"{times:.2f} × the throughput of {PLAIN}"]
        text = "\n".join([*words_of(one, label), told, *beside])
        hollow = accuracy is not None and accuracy.source == PUBLISHED
        return Mark(
            series=series_of(one.row),
            x=self.against.of(one) or 0.0,
            y=_top1(one),
            image_size=int(one.row.image_size),
            text=text,
            hollow=hollow,
            ends=ends,
            across=across,
            status=one.row.status,
            unsure=ends is None or (timed and across is None),
            times_plain=times,
        )


def plane_of_accuracy(axes: Axes, marks: Sequence[Mark], axis: str) -> None:
    """Prepare a logarithmic axis of cost and a linear axis of accuracy."""
    as_log(axes, "x", with_room([mark.x for mark in marks], [mark.across for mark in marks]), margin=MARGIN)
    edges = [edge for mark in marks for edge in (mark.y, *(mark.ends or ()))]
    as_linear(axes, "y", edges, least=1.0)
    axes.set_xlabel(axis)
    axes.set_ylabel(ACCURACY)


def draw_front(axes: Axes, corners: Sequence[tuple[float, float]], *, more_is_better: bool) -> None:
    """Draw the Pareto front as steps around the dominated area, up to the edges of the axes."""
    if not corners:
        return
    (left, right), floor = axes.get_xlim(), axes.get_ylim()[0]
    steps = list(_steps(corners, (left if more_is_better else right, floor)))
    axes.plot(*zip(*steps, strict=True), zorder=1.6, **FRONT)


def _steps(corners: Sequence[tuple[float, float]], edge: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """The corners of the steps, from the most accurate point to the cheapest one, edges of the axes included."""
    down = sorted(corners, key=lambda corner: -corner[1])
    yield (edge[0], down[0][1])
    for (x, y), below in zip(down, [*(corner[1] for corner in down[1:]), edge[1]], strict=True):
        yield (x, y)
        if below < y:
            yield (x, below)
