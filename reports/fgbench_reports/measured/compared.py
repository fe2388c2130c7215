"""Trained models beside a baseline: which runs are compared, and what the comparison says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fgbench.results.recipe import RECIPE_FIELDS
from fgbench.results.records import AccuracyRow
from fgbench_reports.data import group_by
from fgbench_reports.measured.trained_rows import APART, BASELINE, TrainedRows, baseline_of, run_name
from fgbench_reports.relative import is_same_model
from fgbench_reports.statistics import (
    BETTER,
    IMAGES,
    NONE_FOUND,
    ONE_SEED,
    SEEDS,
    SEEDS_AND_IMAGES,
    WORSE,
    Difference,
    Judgement,
    all_answers,
    differences,
    judged,
)
from fgbench_reports.tables.numbers import how_many

OVERLAP = "overlap"  # an option that is part of the name of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The runs of one model that differ by their seeds alone."""

    name: str  # the model, and the options in which it differs from others of its name here
    runs: Sequence[AccuracyRow]

    @property
    def top1_percent(self) -> float:
        """The mean over seeds."""
        return fmean(row.top1_percent for row in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A condition beside the baseline that fits it."""

    condition: Condition
    baseline: Condition
    judgement: Judgement

    @property
    def difference(self) -> Difference:
        """The difference in points."""
        return self.judgement.difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All conditions of one training beside a baseline.

    Attributes:
        baseline: The name of the baseline.
        baselines: The conditions that others are compared with: one per backbone and start.
        compared: The others.
        alone: The conditions that no baseline fits.
        unlike: The conditions that were tested on other images than their baseline.

    """

    baseline: str
    baselines: Sequence[Condition]
    compared: Sequence[Compared]
    alone: Sequence[Condition]
    unlike: Sequence[Condition]

    @property
    def judgements(self) -> int:
        """The number of comparisons that Holm's correction is for."""
        return sum(one.judgement.p_holm is not None for one in self.compared)


def options_of(row: AccuracyRow) -> dict[str, Any]:
    """The options of the model of a run, without those that are in its name."""
    return {key: value for key, value in (row.recipe or {}).items() if key not in (*RECIPE_FIELDS, OVERLAP)}


def conditions(rows: Sequence[AccuracyRow]) -> list[Condition]:
    """Runs by all that they share but the seed.

    Args:
        rows: Runs of one training.

    """
    groups = group_by(rows, run_name, "selector", "impl", _options, *APART.values())
    named = group_by([runs[0] for runs in groups.values()], run_name, "selector")
    found = []
    for runs in groups.values():
        alike = named[run_name(runs[0]), runs[0].selector]
        found.append(Condition(name=_name(runs[0], alike), runs=runs))
    return found


def compare(rows: TrainedRows, baseline: str | None = None) -> Comparison:
    """Compare every model of one training with a baseline.

    The baseline of a model is the one on the same backbone that began from the same weights; of several learning rates
    the best one. So a baseline that was searched better is never the weaker one.

    Args:
        rows: The rows of one training.
        baseline: The name of a model; None for the plain ViT.

    """
    name = baseline or BASELINE
    found = conditions(rows.runs)
    options = _fewest_options([one for one in found if _is_named(one, name)])
    bases = [one for one in found if _is_named(one, name) and _options(one.runs[0]) == options]
    chosen: dict[int, Condition] = {}
    pairs: list[tuple[Condition, Condition]] = []
    alone: list[Condition] = []
    for one in found:
        if one in bases:
            continue
        fitting = [base for base in bases if _fits(base, one, rows.runs)]
        if not fitting:
            alone.append(one)
            continue
        base = max(fitting, key=lambda each: each.top1_percent)
        chosen[id(base)] = base
        pairs.append((base, one))
    told: list[tuple[Condition, Condition, Difference]] = []
    unlike: list[Condition] = []
    kept = {id(one): all_answers(one.runs, rows.predictions) for one in found}
    for base, one in pairs:
        if one.runs[0].seed is None and not all(run.marks is not None for run in (*kept[id(one)], *kept[id(base)])):
            continue  # files that were only tested are no pairs of seeds
        try:
            told.append((base, one, differences(kept[id(base)], kept[id(one)])))
        except ValueError:
            unlike.append(one)
    judgements = judged([difference for _, _, difference in told])
    compared = [
        Compared(condition=one, baseline=base, judgement=judgement)
        for (base, one, _), judgement in zip(told, judgements, strict=True)
    ]
    return Comparison(
        baseline=name,
        baselines=list(chosen.values()) or bases,
        compared=compared,
        alone=alone if bases else [],
        unlike=unlike,
    )


def interval_text(difference: Difference) -> str:
    """``+1.0 to +15.0``; empty where there is no interval."""
    if difference.low_points is None or difference.high_points is None:
        return ""
    return f"{difference.low_points:+.1f} to {difference.high_points:+.1f}"


def verdict(rows: TrainedRows, baseline: str | None = None) -> str:
    """Which models are more accurate than the plain one, in a few sentences.

    Args:
        rows: The rows of one training.
        baseline: The name of another baseline.

    """
    comparison = compare(rows, baseline)
    name = comparison.baseline
    if not comparison.compared:
        return f"Nothing was trained beside the plain {name} with the same seed: no gain is told."
    groups: dict[str, list[str]] = {}
    for one in comparison.compared:
        groups.setdefault(one.judgement.verdict, []).append(_words(one))
    sentences = [
        f"{word}: {', '.join(groups[verdict_])}."
        for verdict_, word in (
            (BETTER, f"Better than {name}"),
            (WORSE, f"Worse than {name}"),
            (NONE_FOUND, f"No difference from {name} found at this size"),
            (ONE_SEED, f"One seed alone, which tells no model from {name}"),
        )
        if verdict_ in groups
    ]
    return " ".join([*sentences, *basis_sentences(comparison)])


def basis_sentences(comparison: Comparison) -> list[str]:
    """What the intervals are made from, and for how many comparisons p-values are corrected."""
    bases = {one.difference.basis for one in comparison.compared}
    sentences = []
    if SEEDS_AND_IMAGES in bases:
        sentences.append("Intervals (95 %) hold the chance of seeds and of test images.")
    if SEEDS in bases:
        some = " of some" if SEEDS_AND_IMAGES in bases else ""
        sentences.append(
            f"Intervals{some} are Student's of the mean gain over seeds, on these test images alone: predictions per "
            "image were not kept."
        )
    if IMAGES in bases:
        sentences.append("Where one seed was trained, the interval holds the chance of the test images alone.")
    if count := comparison.judgements:
        of = how_many(count, "comparison")
        sentences.append(f"A difference is told where its interval leaves 0 out, after Holm's correction for {of}.")
    return sentences


def _words(one: Compared) -> str:
    difference = one.difference
    words = f"{one.condition.name} ({difference.mean_points:+.1f} points"
    words += f", 95 % interval {text}" if (text := interval_text(difference)) else ""
    base = {run.seed: run.top1_percent for run in one.baseline.runs}
    gains = [run.top1_percent - base[run.seed] for run in one.condition.runs if run.seed in base]
    words += f", {sum(gain > 0 for gain in gains)} of {how_many(len(gains), 'seed')} better" if gains else ""
    return f"{words})"


def _options(row: AccuracyRow) -> str:
    return json.dumps(options_of(row), sort_keys=True, default=str)


def _name(row: AccuracyRow, alike: Sequence[AccuracyRow]) -> str:
    """The model with the options and other fields in which runs of its name differ."""
    options = [options_of(one) for one in alike]
    varying = [key for key in dict.fromkeys(key for one in options for key in one) if _vary(options, key)]
    own = options_of(row)
    words = [f"{key}={own[key]}" for key in varying if key in own]
    others = {heading: of for heading, of in APART.items() if heading != "options"}  # which are named above
    apart: Mapping[str, Any] = {heading: of for heading, of in others.items() if len({of(one) for one in alike}) > 1}
    words += [f"{heading} {value}" for heading, of in apart.items() if (value := of(row)) is not None]
    words += [row.impl] if row.impl and len({one.impl for one in alike}) > 1 else []
    return ", ".join([run_name(row), *words])


def _vary(options: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({json.dumps(one.get(key), sort_keys=True, default=str) for one in options}) > 1


def _is_named(one: Condition, name: str) -> bool:
    return is_same_model(run_name(one.runs[0]), name)


def _fewest_options(bases: Sequence[Condition]) -> str:
    """The options of the plainest condition of a name: one with more of them is compared with it."""
    plainest = min(bases, key=lambda one: len(options_of(one.runs[0])), default=None)
    return "" if plainest is None else _options(plainest.runs[0])


def _fits(base: Condition, one: Condition, runs: Sequence[AccuracyRow]) -> bool:
    first, other = base.runs[0], one.runs[0]
    backbone = baseline_of(runs, other.backbone) if run_name(first) == BASELINE else other.backbone
    return first.begun_from == other.begun_from and first.backbone in (backbone, other.backbone)
