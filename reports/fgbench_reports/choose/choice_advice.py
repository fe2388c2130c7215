"""Commands that measure what a choice lacks: an accuracy, or a point for a longer time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from fgbench.results.records import ThroughputRow
from fgbench_reports.advice import Wanted, accuracy_commands, sweep_options, training_options, wanted, word
from fgbench_reports.choose.bounds import Bounds, accuracy_bounds, latency_bounds
from fgbench_reports.choose.choice import Choice, Verdict
from fgbench_reports.choose.configurations import MEASURED
from fgbench_reports.choose.limits import top1_of
from fgbench_reports.dataset_subset import without_part
from fgbench_reports.sweep_rows import as_text, places_of, sites_of

MAX_COMMANDS = 3  # that a note names
TAIL_SAMPLES = 500  # single iterations, somewhat more than p99 needs
LONGER = "60s"  # of timed blocks, where the default is 6 s on a GPU and 10 s on a CPU
TIMED = ("--max-latency", "--min-throughput", "--max-cost")  # limits of what a latency tells


def unknown_notes(choice: Choice) -> list[str]:
    """The configurations without a known accuracy, and the command that measures it."""
    verdicts = [one for one in choice.verdicts if not any(breach.narrows for breach in one.breaches)]
    rows = [one.configuration.row for one in verdicts if top1_of(one.configuration) is None]
    if not rows:
        return []
    rows.sort(key=lambda row: (row.image_size, row.batch_size))
    told = f"{len(rows)} configuration{'s have' if len(rows) > 1 else ' has'} no known accuracy on "
    told += as_text(choice.dataset)
    where = places_of(rows, sites_of([one.configuration.row for one in choice.verdicts]))
    squares = [row for row in rows if isinstance(row.image_size, int)]
    told += f" ({where})"
    if len(squares) < len(rows):
        told += "; models are trained on square images alone"
    if not squares:
        return [f"{told}."]
    commands = accuracy_commands([wanted(row, dataset=without_part(choice.dataset)) for row in squares])
    return [f"{told}; {_listed(commands)} {'measures it' if len(commands) == 1 else 'measure them'}."]


def _commands_of_tested(tested: Sequence[Verdict], choice: Choice) -> list[str]:
    """The commands that train again as these were trained; a file that was only tested has no other seeds."""
    trainings: list[Wanted] = []
    dataset = without_part(choice.dataset)
    for one in tested:
        row, accuracy = one.configuration.row, one.configuration.accuracy
        if accuracy is None or accuracy.source != MEASURED:
            trainings.append(wanted(row, dataset=dataset))
        elif accuracy.lr is not None:
            options = training_options(accuracy.lr, accuracy.recipe, accuracy.begun_from)
            trainings.append(wanted(row, dataset=dataset, training=options))
    return accuracy_commands(trainings)


def doubt_notes(choice: Choice) -> list[str]:
    """The commands that narrow the intervals of uncertain configurations."""
    notes = []
    doubted = [one for one in choice.uncertain if any(doubt.option in TIMED for doubt in one.doubts)]
    unjudged = [one for one in doubted if any(doubt.unknown for doubt in one.doubts)]
    timed = [one for one in doubted if one not in unjudged]
    if unjudged:
        notes.append(_unjudged_note(choice, unjudged))
    if timed:
        commands = _longer_commands([one.configuration.row for one in timed])
        narrow = "narrows" if len(commands) == 1 else "narrow"
        narrow += " its interval" if len(timed) == 1 else " their intervals"
        notes.append(f"Latency, throughput and cost that are too uncertain: {_listed(commands)} {narrow}.")
    tested = [one for one in choice.uncertain if any(doubt.option == "--min-accuracy" for doubt in one.doubts)]
    if tested:
        told = "Accuracies that are too uncertain: more test images and more seeds narrow the interval, seeds never "
        told += "below that of the test images"
        if commands := _commands_of_tested(tested, choice):
            told += f"; {_listed(commands)}" + (" with more --seeds" if all(map(_is_measured, tested)) else "")
        notes.append(f"{told}.")
    others = {doubt.option for one in choice.uncertain for doubt in one.doubts} - {*TIMED, "--min-accuracy"}
    if others:
        notes.append(f"Repeats of one point lie on both sides of {', '.join(sorted(others))}: only other limits tell.")
    return notes


def _unjudged_note(choice: Choice, unjudged: Sequence[Verdict]) -> str:
    """The configurations whose percentile was not measured, and the command that measures it."""
    rows = [one.configuration.row for one in unjudged]
    what = next(doubt.told for doubt in unjudged[0].doubts if doubt.unknown)
    slowest = max(one.configuration.latency_s for one in unjudged)
    longer = f"{max(60, math.ceil(TAIL_SAMPLES * slowest))}s"
    commands = _longer_commands(rows, f"--tail --max-time {longer}")
    where = places_of(rows, sites_of([one.configuration.row for one in choice.verdicts]))
    return f"Not judged, as the {what} ({where}): {_listed(commands)} {_measures(commands)} it."


def _measures(commands: Sequence[str]) -> str:
    return "measures" if len(commands) == 1 else "measure"


def basis_notes(choice: Choice) -> list[str]:
    """Which intervals limits are judged by, and which figures have none."""
    verdicts = [one for one in choice.verdicts if not any(breach.narrows for breach in one.breaches)]
    points = [one.configuration for one in verdicts]
    if not points:
        return []
    notes = ["Limits and the front are judged by the ends of 95 % intervals; GB and energy were measured once."]
    if any(len(point.repeats) > 1 for point in points):
        notes[0] = notes[0].replace("measured once", "measured once, or have the range of their repeats")
        notes.append("A latency that was measured repeatedly has the outermost ends of the intervals of its repeats.")
    if (percent := choice.percentile) is not None:
        notes.append(f"p{percent}: its interval is by order statistics; without an upper end (?) the figure counts.")
    bare = [point.row for point in points if not latency_bounds(point).known]
    if bare:
        where = places_of(bare, sites_of([point.row for point in points]))
        notes.append(f"No interval of the latency, so nothing certain is told of it: {where}.")
    known = [one for point in points if (one := point.accuracy) is not None]
    if any(not accuracy_bounds(one).known for one in known):
        notes.append("An accuracy whose number of test images is not told has no interval.")
    single = [one for one in known if one.runs == 1 and accuracy_bounds(one).known]
    if single:
        notes.append(
            "An accuracy of one run has the interval of its test images alone; how far seeds lie apart is not known."
        )
    if choice.several_accuracies:
        notes.append("Of several trainings or files of a model, the accuracy with the highest low end counts.")
    return notes


def ends_text(figure: Bounds, decimals: int = 2) -> str:
    """Both ends of an accuracy as they stand in a table: 90.16–91.65; – where there is no interval."""
    return f"{figure.low:.{decimals}f}–{figure.high:.{decimals}f}" if figure.known else "–"


def _is_measured(verdict: Verdict) -> bool:
    accuracy = verdict.configuration.accuracy
    return accuracy is not None and accuracy.source == MEASURED


def _listed(commands: Sequence[str]) -> str:
    left = len(commands) - MAX_COMMANDS
    named = ", ".join(f"'{command}'" for command in commands[:MAX_COMMANDS])
    return named + (f" and {left} more" if left > 0 else "")


def _longer_commands(rows: Sequence[ThroughputRow], time: str = f"--max-time {LONGER}") -> list[str]:
    """The commands that measure these points again, and longer: one for all that are measured in one way."""
    groups: dict[tuple[str, ...], list[ThroughputRow]] = {}
    for row in rows:
        groups.setdefault(sweep_options(row), []).append(row)
    commands = []
    for options, group in groups.items():
        words = ["fgbench throughput --models", *_words(row.model for row in group)]
        words += ["--sizes", *_words(row.image_size for row in group)]
        words += ["--batch-sizes", *_words(row.batch_size for row in group)]
        commands.append(" ".join([*words, *options, time, "--again"]))
    return commands


def _words(values: Iterable[str | int]) -> list[str]:
    return [word(value) for value in dict.fromkeys(values)]
