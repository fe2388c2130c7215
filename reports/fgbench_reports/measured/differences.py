"""Differences of trained models from a baseline, with their uncertainty: the table and the figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from fgbench.results.records import AccuracyRow
from fgbench_reports.advice import accuracy_command
from fgbench_reports.conventions import measured_rows
from fgbench_reports.data import Data, group_by
from fgbench_reports.measured.compared import (
    Compared,
    Comparison,
    Condition,
    basis_sentences,
    compare,
    interval_text,
)
from fgbench_reports.measured.trained_rows import APART, BASELINE, TrainedRows, training_groups
from fgbench_reports.plots.forest import Forest, Tree
from fgbench_reports.report import Item, Missing, Report
from fgbench_reports.seed_intervals import MOST_SEEDS
from fgbench_reports.statistics import BETTER, ONE_SEED, WORSE, Difference
from fgbench_reports.tables.column import NOTHING, Cell, figure, word
from fgbench_reports.tables.numbers import how_many
from fgbench_reports.tables.table import Table, distinct, file_name, without_empty

IS_BASELINE = "baseline"
NAMES = ("model", "selects by", "backbone", "begun from", "verdict")
ALWAYS = ("model", "seeds", "top-1 %", "difference", "95 % interval", "seeds for 1 point", "verdict")


class Differences(Report):
    """Differences of trained models from a baseline in points, with intervals, tests and verdicts."""

    title = "Differences between models"

    def items(self, data: Data) -> Iterable[Item]:
        """A table and a figure per data set, image size and recipe."""
        groups = each_training(data)
        names = distinct(file_name(rows.dataset, rows.image_size) for rows in groups)
        for name, rows in zip(names, groups, strict=True):
            comparison = compare(rows, data.baseline)
            if comparison.compared:
                title = f"Differences from {comparison.baseline} · {rows.dataset} at {rows.image_size}"
                notes = _notes(comparison, rows)
                yield difference_table(comparison, name, title, notes)
                yield _forest(comparison, f"{name}-differences", title, notes)
            yield from _missing(comparison, rows)
        if not groups:
            what = "differences between trained models"
            yield Missing(what=what, command=accuracy_command(data.throughput))


def each_training(data: Data) -> list[TrainedRows]:
    """The rows of each training, once: where its models were timed does not matter here."""
    return [rows for rows, _ in training_groups(replace(data, throughput=(), training=(), parts=()))]


def difference_table(comparison: Comparison, name: str, title: str, notes: Sequence[str] = ()) -> Table:
    """The baselines, and below them what is compared with them."""
    backbones = {one.runs[0].backbone for one in _all(comparison)}
    starts = {one.runs[0].begun_from for one in _all(comparison)}
    lines = [_names(base, backbones, starts) | {"verdict": word(IS_BASELINE)} for base in comparison.baselines]
    for one in comparison.compared:
        lines.append(_names(one.condition, backbones, starts) | _figures(one))
    return Table.from_cells(
        name,
        title,
        without_empty(lines, ALWAYS),
        names=NAMES,
        notes=notes,
        headings=_headings(without_empty(lines, ALWAYS)),
        units={"top-1 %": "%", "difference": "percentage point"},
    )


def _all(comparison: Comparison) -> list[Condition]:
    return [*comparison.baselines, *(one.condition for one in comparison.compared)]


def _headings(lines: Sequence[dict[str, Cell]]) -> list[str]:
    found = dict.fromkeys(heading for line in lines for heading in line)
    return [heading for heading in found if heading != "verdict"] + ["verdict"]


def _names(one: Condition, backbones: set[str | None], starts: set[str | None]) -> dict[str, Cell]:
    first = one.runs[0]
    values = [row.top1_percent for row in one.runs]
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    line = {"model": word(one.name), "selects by": word(first.selector)}
    line |= {"backbone": word(first.backbone)} if len(backbones) > 1 else {}
    line |= {"begun from": word(first.begun_from)} if len(starts) > 1 else {}
    return line | {
        "seeds": word(len(one.runs)),
        "top-1 %": Cell(fmean(values), f"{fmean(values):.1f}{spread}"),
    }


def _figures(one: Compared) -> dict[str, Cell]:
    difference, p_holm = one.difference, one.judgement.p_holm
    interval = interval_text(difference)
    needed = difference.seeds_for_one_point
    ends = [difference.low_points, difference.high_points]
    per_seed = list(difference.p_per_seed.values())
    return {
        "difference": Cell(difference.mean_points, f"{difference.mean_points:+.1f}"),
        "95 % interval": Cell(ends, interval) if interval else NOTHING,
        "McNemar's p": Cell(per_seed, " ".join(map(p_text, per_seed))) if per_seed else NOTHING,
        "Holm's p": figure(p_holm, p_text),
        "seeds for 1 point": Cell(needed, str(needed)) if needed else NOTHING,
        "verdict": word(one.judgement.verdict),
    }


def p_text(p: float) -> str:
    """A p-value in two digits: 0.52, 0.014, <0.001."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _notes(comparison: Comparison, rows: TrainedRows) -> list[str]:
    kinds = {one.difference.images for one in comparison.compared if one.difference.images is not None}
    tested = max(row.images for row in rows.runs)
    notes = [
        "difference: of the means over seeds, in points of top-1 accuracy; ± is the standard deviation over seeds.",
        *basis_sentences(comparison),
    ]
    if any(one.difference.p_per_seed for one in comparison.compared):
        notes.append(
            "McNemar's p: the exact test of each pair of runs, in the order of the seeds; it tells two trainings apart."
        )
    if comparison.judgements:
        notes.append(
            "seeds for 1 point: so many seeds of each model would find a difference of 1 point (power 80 %, one "
            f"comparison); –: more than {MOST_SEEDS}, or the {tested} test images alone leave too much open."
        )
    if any(not one.difference.paired for one in comparison.compared):
        unpaired = [one.condition.name for one in comparison.compared if not one.difference.paired]
        notes.append(f"Seeds differ from those of the baseline, so that means are compared: {', '.join(unpaired)}.")
    fewer = [one for one in comparison.compared if one.difference.paired and _lacks_seeds(one)]
    notes += ["Seeds that one of two models lacks are left out of their comparison."] if fewer else []
    left = sorted(tested - images for images in kinds if images < tested)
    if left:
        notes.append(f"Images that a run could not read are left out of its comparison: up to {left[-1]}.")
    return [*notes, *measured_rows("Accuracy", rows.runs)]


def _lacks_seeds(one: Compared) -> bool:
    return one.difference.seeds < max(len(one.condition.runs), len(one.baseline.runs))


def _missing(comparison: Comparison, rows: TrainedRows) -> Iterable[Missing]:
    where = f"{rows.dataset} at {rows.image_size}"
    name = comparison.baseline
    if not comparison.baselines and not comparison.compared:
        command = accuracy_command([_as_baseline(row, name) for row in _first_of_each_seed(rows.runs)])
        yield Missing(what=f"differences from {name}, {where}", command=command, why=f"there are no runs of {name}")
        return
    if not comparison.compared and not comparison.alone and not comparison.unlike:
        command = accuracy_command(list(rows.runs))
        yield Missing(what=f"differences from {name}, {where}", command=command, why="there are no other runs")
    if comparison.alone:
        runs = [_as_baseline(row, name) for one in comparison.alone for row in one.runs]
        names = ", ".join(one.name for one in comparison.alone)
        why = f"{name} was not trained on the same backbone from the same weights"
        yield Missing(what=f"the difference of {names}, {where}", command=accuracy_command(runs), why=why)
    if comparison.unlike:
        runs = [row for one in comparison.unlike for row in one.runs]
        names = ", ".join(one.name for one in comparison.unlike)
        why = f"it was tested on other images than {name}"
        yield Missing(what=f"the difference of {names}, {where}", command=accuracy_command(runs, "--again"), why=why)


def _first_of_each_seed(runs: Sequence[AccuracyRow]) -> list[AccuracyRow]:
    return [rows[0] for rows in group_by(runs, "seed", *(APART[name] for name in ("backbone", "begun from"))).values()]


def _as_baseline(row: AccuracyRow, name: str) -> AccuracyRow:
    """A run as the baseline would be trained for it: without options of its own model."""
    selector = None if name == BASELINE else row.selector
    return replace(row, model=name, selector=selector, recipe=None)


def _forest(comparison: Comparison, name: str, title: str, notes: Sequence[str]) -> Forest:
    trees = [_tree(one) for one in comparison.compared]
    told: dict[str, list[str]] = {}
    for one in comparison.compared:
        told.setdefault(one.judgement.verdict, []).append(one.condition.name)
    words = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in told.items())
    return Forest(
        name=name,
        title=title,
        alt=f"Differences of {how_many(len(trees), 'model')} from {comparison.baseline} in points of top-1 accuracy, "
        f"one below the other, with their 95 % intervals. {words}.",
        notes=notes,
        baseline=comparison.baseline,
        trees=trees,
    )


def _tree(one: Compared) -> Tree:
    difference = one.difference
    ends = _ends(difference)
    text = f"{one.condition.name}\n{difference.mean_points:+.1f} points"
    text += f", 95 % interval {interval_text(difference)}" if ends else ""
    text += f"\n{one.judgement.verdict}"
    verdict = one.judgement.verdict
    certain: Any = True if verdict == BETTER else False if verdict == WORSE else None
    label = one.condition.name + (f" {one.condition.runs[0].selector}" if one.condition.runs[0].selector else "")
    return Tree(
        label=label,
        points=difference.mean_points,
        ends=ends,
        better=certain,
        one_seed=verdict == ONE_SEED,
        text=text,
    )


def _ends(difference: Difference) -> tuple[float, float] | None:
    if difference.low_points is None or difference.high_points is None:
        return None
    return difference.low_points, difference.high_points
