"""Commands that measure what a choice lacks: an accuracy, or a point for a longer time."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence

from fgbench.results.records import ThroughputRow
from fgbench_reports.advice import Wanted, accuracy_commands, sweep_options, training_options, wanted, word
from fgbench_reports.choose.bounds import Bounds, accuracy_bounds, latency_bounds, tail_bounds
from fgbench_reports.choose.choice import Choice, Verdict
from fgbench_reports.choose.configurations import MEASURED
from fgbench_reports.choose.limits import top1_of, why_no_percentile
from fgbench_reports.dataset_subset import without_part
from fgbench_reports.sweep_rows import NUMBER, SERIES, as_text, in_common, places_of, sites_of

MAX_COMMANDS = 3  # that a note names
TAIL_SAMPLES = 500  # single iterations, somewhat more than p99 needs
LONGER_S, LONGER = 60.0, 1.5  # of timed blocks at least, where the default is 6 s or 10 s; times what rows had
LONGEST_S = 86_400.0  # of timed blocks in a command
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
            options = training_options(accuracy.lr, accuracy.recipe, accuracy.begun_from, backbone=accuracy.backbone)
            trainings.append(wanted(row, dataset=dataset, training=options))
    return accuracy_commands(trainings)


def doubt_notes(choice: Choice) -> list[str]:
    """The commands that narrow the intervals of uncertain configurations."""
    notes = []
    doubted = [one for one in choice.uncertain if any(doubt.option in TIMED for doubt in one.doubts)]
    unjudged = [one for one in doubted if any(doubt.unknown for doubt in one.doubts)]
    timed = [one for one in doubted if one not in unjudged]
    if unjudged:
        notes += _unjudged_notes(choice, unjudged)
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


def _unjudged_notes(choice: Choice, unjudged: Sequence[Verdict]) -> list[str]:
    """The configurations whose percentile is not known, why, and the command that measures it.

    A point that was measured again by other code or versions stands beside its old row, which nothing can complete:
    no command is named for it.
    """
    percent = choice.percentile or 0
    judged = {_place(one) for one in choice.verdicts if tail_bounds(one.configuration, percent) is not None}
    groups: dict[tuple[bool, str], list[Verdict]] = {}
    for one in unjudged:
        why = re.sub(NUMBER, "#", why_no_percentile(one.configuration.row, percent))
        groups.setdefault((_place(one) in judged, why), []).append(one)
    sites = sites_of([one.configuration.row for one in choice.verdicts])
    return [_unjudged_note(group, percent, sites, superseded) for (superseded, _), group in groups.items()]


def _unjudged_note(group: Sequence[Verdict], percent: int, sites: Mapping[int, str], superseded: bool) -> str:
    rows = [one.configuration.row for one in group]
    why = in_common([why_no_percentile(row, percent) for row in rows])
    told = f"Not judged, as the p{percent} of the latency is not known ({places_of(rows, sites)}): {why}; "
    if superseded:
        return f"{told}other rows of the same points, of other code or versions, have it."
    slowest = max(one.configuration.latency_s for one in group)
    commands = _longer_commands(rows, "--tail", at_least_s=TAIL_SAMPLES * slowest)
    return f"{told}{_listed(commands)} {_measures(commands)} it."


def _place(verdict: Verdict) -> tuple[Hashable, ...]:
    """The point of a configuration, whatever the code and the versions that measured it."""
    row, mode = verdict.configuration.row, verdict.configuration.mode
    names = (getattr(row, name) for name in (*SERIES, "image_size", "batch_size"))
    return (*names, mode._replace(torch="", cuda="", driver="", code=""))


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


def _longer_commands(rows: Sequence[ThroughputRow], *more: str, at_least_s: float = LONGER_S) -> list[str]:
    """The commands that measure these points again, and longer: one for all that are measured in one way.

    A row that was timed for as long already would stand beside the new one, as its repeat.
    """
    groups: dict[tuple[str, ...], list[ThroughputRow]] = {}
    for row in rows:
        groups.setdefault(sweep_options(row), []).append(row)
    commands = []
    for options, group in groups.items():
        words = ["fgbench throughput --models", *_words(row.model for row in group)]
        words += ["--sizes", *_words(row.image_size for row in group)]
        words += ["--batch-sizes", *_words(row.batch_size for row in group)]
        seconds = max(LONGER_S, at_least_s, *(LONGER * _max_time_s(row) for row in group))
        time = f"--max-time {math.ceil(min(seconds, LONGEST_S))}s"
        commands.append(" ".join([*words, *options, *more, time, "--again"]))
    return commands


def _max_time_s(row: ThroughputRow) -> float:
    """How long a row was timed at most; 0 where it does not say so."""
    time = (row.environment or {}).get("max_time_s")
    return float(time) if isinstance(time, (int, float)) and 0 < time < LONGEST_S else 0.0


def _words(values: Iterable[str | int]) -> list[str]:
    return [word(value) for value in dict.fromkeys(values)]
