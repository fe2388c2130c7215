"""Sources of the values of an accuracy figure, and the values that it does not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fgbench.results.records import AccuracyRow
from fgbench_reports.choose.bounds import accuracy_bounds
from fgbench_reports.choose.configurations import PUBLISHED, Accuracy, Configuration, accuracies, published_accuracies
from fgbench_reports.data import Data
from fgbench_reports.dataset_subset import tested_on
from fgbench_reports.plots.sweeps import listed, not_drawn, points_not_drawn
from fgbench_reports.sweep_rows import EnvironmentKey, as_text, one_line


def titled(word: str, shown: Sequence[Configuration], rows: Sequence[AccuracyRow], dataset: str) -> str:
    """The first words of a title: what is shown against what, and that both are not of one source where they are not.

    Args:
        word: What accuracy is shown against: throughput.
        shown: The points.
        rows: Rows of accuracy.
        dataset: The data set of the figure.

    """
    sources = {one.accuracy.source for one in shown if one.accuracy}
    if sources == {PUBLISHED}:
        return f"Published accuracy against measured {word}"
    if PUBLISHED in sources:
        return f"Published and measured accuracy against measured {word}"
    here = device_of(shown[0].mode)
    devices = _devices(rows, dataset)
    others = [device for device in devices if device != here]
    if not others:
        return f"Accuracy against {word}"
    places = others[0] if len(others) == 1 else "several other machines"
    return f"Accuracy measured on {places}{' and here' if here in devices else ''} against {word}"


def device_of(mode: EnvironmentKey) -> str:
    """The device that points of a mode were measured on."""
    name = mode.device_name
    return mode.device if name == "–" else name


def _devices(rows: Sequence[AccuracyRow], dataset: str) -> list[str]:
    """The devices on which accuracies of a data set were measured, as far as their rows tell."""
    met: dict[str, None] = {}
    for row in rows:
        environment = row.environment or {}
        name = environment.get("device_name") or environment.get("cpu")
        if name and not row.seeds and tested_on(row) == dataset:
            met[as_text(name)] = None
    return list(met)


def left_out(
    data: Data,
    mode_points: Sequence[Configuration],
    shown: Sequence[Configuration],
    of: Callable[[Configuration], float | None],
    word: str,
) -> Iterator[str]:
    """Sentences on what a figure of accuracies leaves out: accuracies without a cost, points without an accuracy.

    Args:
        data: All rows.
        mode_points: Every point of the figure's mode, at the best batch, with its accuracies.
        shown: The points of the figure.
        of: The cost of a point.
        word: What the cost is called.

    """
    dataset = shown[0].accuracy.dataset if shown[0].accuracy else ""
    known = [one for one in accuracies(data.accuracy) if one.dataset == dataset]
    drawn_accuracies = [one.accuracy for one in shown]
    missing = [one for one in known if one not in drawn_accuracies]
    for why, group in _by_reason(missing, mode_points, of, word).items():
        yield from not_drawn(len(group), "accuracy", _names(group), why, things="accuracies")
    published = [one for one in published_accuracies() if one.dataset == dataset and PUBLISHED in _sources(shown)]
    there = {_key(one) for one in [*known, *(one.accuracy for one in shown if one.accuracy)]}
    untimed = [one for one in published if _key(one) not in there]
    why = f"no {word} was measured here"
    yield from not_drawn(len(untimed), "published accuracy", _names(untimed), why, things="published accuracies")
    drawn = {id(one.row) for one in shown}
    others = list({id(one.row): one.row for one in mode_points if id(one.row) not in drawn}.values())
    fit = {id(one.row) for one in mode_points if one.accuracy and one.accuracy.dataset == dataset}
    every = [one.row for one in mode_points]
    why = f"no accuracy on {as_text(dataset)} is known"
    yield from points_not_drawn([row for row in others if id(row) not in fit], every, why)
    yield from points_not_drawn([row for row in others if id(row) in fit], every, f"{word} is not known")


def _by_reason(
    some: Sequence[Accuracy], points: Sequence[Configuration], of: Callable[[Configuration], float | None], word: str
) -> dict[str, list[Accuracy]]:
    """Measured accuracies that no point shows, by what they lack."""
    groups: dict[str, list[Accuracy]] = {}
    for one in some:
        alike = [point for point in points if _is_of(one, point)]
        if not alike:
            why = f"no {word} of that model, size and backbone was measured on this machine"
        elif not any(of(point) is not None for point in alike):
            why = f"{word} is not known"
        else:
            why = f"{word} was measured with the published options alone"
        groups.setdefault(why, []).append(one)
    return groups


def _is_of(one: Accuracy, point: Configuration) -> bool:
    row = point.row
    return (*_key(one), one.backbone) == (row.model, row.selector, row.image_size, row.backbone)


def _names(some: Sequence[Accuracy]) -> str:
    """The best ones first: their names are what is missed most."""
    ordered = sorted(some, key=lambda one: -one.top1_percent)
    return listed([f"{one_line(one.label)} at {one.image_size}, {one.top1_percent:.1f} %" for one in ordered], 4)


def _sources(shown: Sequence[Configuration]) -> set[str]:
    return {one.accuracy.source for one in shown if one.accuracy}


def _key(one: Accuracy) -> tuple[str, str | None, int]:
    return (one.model, one.selector, one.image_size)


def bars_told(shown: Sequence[Configuration], word: str, *, timed: bool) -> list[str]:
    """What the bars of accuracies and throughputs are, and of which there are none.

    Args:
        shown: The points.
        word: What the cost is called.
        timed: Whether any cost has an interval.

    """
    known = [one.accuracy for one in shown if one.accuracy and accuracy_ends(one.accuracy)]
    told = [*(["accuracy"] if known else []), *(["throughput"] if timed else [])]
    said = [f"Bars are 95 % intervals of {' and '.join(told)}."] if told else []
    if any(one.runs == 1 for one in known):
        said.append("An accuracy of one run has that of its test images alone.")
    return said + ([] if timed else [f"{word.capitalize()} has no interval."])


def accuracy_ends(one: Accuracy) -> tuple[float, float] | None:
    """The 95 % interval that the front goes by, in percent; None where the number of test images is not known."""
    bounds = accuracy_bounds(one)
    return (bounds.low, bounds.high) if bounds.known else None
