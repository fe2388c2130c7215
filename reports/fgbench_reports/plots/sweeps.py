"""Shared by figures of sweeps: points by environment, names of points, limits of figures and series."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from fgbench.results.image_size import ImageSize
from fgbench.results.records import ThroughputRow
from fgbench_reports.advice import sweep_command
from fgbench_reports.choose.configurations import Configuration, configurations
from fgbench_reports.data import KINDS, Data
from fgbench_reports.plots.looks import FAMILIES, Series, series_of
from fgbench_reports.report import Missing
from fgbench_reports.sweep_rows import (
    EnvironmentKey,
    as_text,
    by_environment,
    environment_notes,
    mode_name,
    one_line,
    places_of,
    reason_notes,
    sites_of,
)
from fgbench_reports.tables.numbers import (
    gigabytes,
    half_width_percent,
    how_many,
    img_per_s,
    milliseconds,
    significant,
)

Key = TypeVar("Key", bound=Hashable)
Thing = TypeVar("Thing")

MIN_POINTS, POINTS_OF_FIGURE = 12, 300  # of a series; of all series of a figure, where they have more
MAX_FIGURES, MAX_SERIES, MAX_POINTS = 6, 24, 120  # of a report; of a figure; of a series
NO_ACCURACY = "no data set"  # a name that no data set has, for configurations without accuracies


def measured(data: Data, *, best_only: bool = True, squares: bool = True) -> dict[EnvironmentKey, list[Configuration]]:
    """Every point that has figures once, by mode.

    Args:
        data: Saved rows.
        best_only: The batch of the highest throughput of each size alone.
        squares: Points of square images alone: an axis of sizes has no place for others.

    """
    groups: dict[EnvironmentKey, list[Configuration]] = {}
    for one in configurations(data, dataset=NO_ACCURACY, best_only=best_only):
        if isinstance(one.row.image_size, int) or not squares:
            groups.setdefault(one.mode, []).append(one)
    return groups


def mode_names(data: Data) -> dict[EnvironmentKey, str]:
    """Every mode of the data's sweeps, in words that tell it from the others; those of the most rows come first."""
    modes = by_environment(data.throughput)
    return {mode: mode_name(mode, modes) for mode in sorted(modes, key=lambda mode: (-len(modes[mode]), mode))}


def no_sweep(
    what: str,
    data: Data,
    why: str = "no point of the sweeps has what it shows",
    rows: Sequence[ThroughputRow] | None = None,
) -> Missing:
    """What is told where sweeps cannot fill a figure, with the command for these rows, or for all of the data's.

    A smaller batch can run where others did not; where batch 1 was tried, it is tried once more.
    """
    rows = data.throughput if rows is None else rows
    if not rows:
        return Missing(what=what, command=KINDS["throughput"], why="there are no rows for it")
    smallest = min(int(row.batch_size) for row in rows)
    ones = [replace(row, batch_size=1) for row in rows] if smallest > 1 else rows
    return Missing(what=what, command=sweep_command(ones, *([] if smallest > 1 else ["--retry"])), why=why)


def words_of(one: Configuration, label: str) -> list[str]:
    """The tooltip of a point: its name, size, batch and figures, a line each."""
    row = one.row
    width = half_width_percent(row.latency_ci95_low_s, row.latency_s, row.latency_ci95_high_s)
    told = [
        f"{img_per_s(one.img_s)} images/s ({'no interval' if width == '–' else f'±{width} %'})",
        f"{milliseconds(one.latency_s)} ms per batch",
    ]
    if one.memory_bytes is not None:
        told.append(f"{gigabytes(one.memory_bytes)} GB")
    if one.energy_j is not None:
        told.append(f"{significant(one.energy_j)} J per image")
    if row.mfu is not None:
        told.append(f"{significant(row.mfu * 100)} % MFU")
    lines = [label, f"{row.image_size} px, batch {row.batch_size}", ", ".join(told)]
    return [*lines, *([f"{as_text(row.status)}: {one_line(row.reason)}"] if not row.status.is_ok else [])]


def sweep_notes(rows: Sequence[ThroughputRow]) -> list[str]:
    """Notes on statuses other than ok and on environments."""
    return [*reason_notes(rows), *environment_notes(rows)]


def not_drawn(count: int, thing: str, names: str, why: str, *, things: str = "") -> list[str]:
    """A sentence on what a figure leaves out; none where it leaves nothing out."""
    return [f"Not drawn: {how_many(count, thing, things)} ({names}): {why}."] if count else []


def points_not_drawn(rows: Sequence[ThroughputRow], among: Sequence[ThroughputRow], why: str) -> list[str]:
    """Points of a sweep that a figure leaves out; ``among`` are rows that their names are to tell them from."""
    every = list({id(row): row for row in [*among, *rows]}.values())
    return not_drawn(len(rows), "point", places_of(rows, sites_of(every)), why) if rows else []


def untimed(data: Data) -> dict[EnvironmentKey, list[ThroughputRow]]:
    """By mode the rows of models and sizes of which no batch has a time."""
    lost: dict[EnvironmentKey, list[ThroughputRow]] = {}
    for mode, rows in by_environment(data.throughput).items():
        timed = {(*series_of(row), row.image_size) for row in rows if row.throughput_img_s and row.latency_s}
        lost[mode] = [row for row in rows if (*series_of(row), row.image_size) not in timed]
    return lost


def untimed_notes(rows: Sequence[ThroughputRow], among: Sequence[ThroughputRow]) -> list[str]:
    """Points of models and sizes that a figure leaves out because no batch of them has a time."""
    met = listed(sorted({as_text(row.status) for row in rows}))
    return points_not_drawn(rows, among, f"no batch has a time, status {met}")


def chosen_series(series: Iterable[Key], name: Callable[[Key], str]) -> tuple[list[Key], list[str]]:
    """The series that a figure has room for, those of known names first; and a note if there are more."""
    ranks = {known: rank for rank, known in enumerate(FAMILIES)}
    found = list(dict.fromkeys(series))
    ordered = sorted(found, key=lambda each: (ranks.get(name(each), len(ranks)), name(each), str(each)))
    left = len(ordered) - MAX_SERIES
    note = f"Of {len(ordered)} series the first {MAX_SERIES} are drawn; the tables have all of them."
    return ordered[:MAX_SERIES], [note] if left > 0 else []


def known_series(rows: Iterable[ThroughputRow]) -> tuple[list[Series], list[str]]:
    """The series that a figure has room for, and a note if there are more."""
    return chosen_series(map(series_of, rows), lambda each: str(each[0]))


def most_points(series: int) -> int:
    """How many points of each of so many series a figure has room for."""
    return min(MAX_POINTS, max(MIN_POINTS, POINTS_OF_FIGURE // max(series, 1)))


def thinned(points: Sequence[Thing], value: Callable[[Thing], float], most: int = MAX_POINTS) -> list[Thing]:
    """No more points of a series than can be seen: both ends, the extremes, and evenly many between."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 3)
    kept = {round(index * step) for index in range(most - 2)}
    order = sorted(range(len(points)), key=lambda index: value(points[index]))
    kept |= {order[0], order[-1]}
    return [points[index] for index in sorted(kept)]


def thinning_note(longest: int, most: int = MAX_POINTS) -> list[str]:
    """What is said where series were thinned."""
    return [f"Of a series of {longest} points {most} are drawn, with its extremes."] if longest > most else []


def first_figures(
    candidates: Sequence[Thing], names: Callable[[Thing], str], limit: int = MAX_FIGURES
) -> tuple[list[Thing], list[str]]:
    """The figures that a report has room for, and a note that names the others."""
    left = [names(each) for each in candidates[limit:]]
    listed = "; ".join(left[:4]) + (f"; and {len(left) - 4} more" if len(left) > 4 else "")
    note = f"This report draws {limit} figures of {len(candidates)}. Without one: {listed}. The tables have all."
    return list(candidates[:limit]), [note] if left else []


def file_names(titles: Iterable[str]) -> list[str]:
    """A name of files for each title: letters, digits and -, none twice."""
    taken: dict[str, int] = {}
    found = []
    for title in titles:
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].strip("-") or "figure"
        taken[base] = taken.get(base, 0) + 1
        name = base if taken[base] == 1 else f"{base}_{taken[base]}"  # no base has a _
        found.append(name)
    return found


def listed(words: Sequence[str], most: int = 6) -> str:
    """Words in a sentence: a, b and c; of many the first, and how many more."""
    shown = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "nothing"


class HasSize(Protocol):
    """A row with an image size."""

    @property
    def image_size(self) -> ImageSize:
        """Pixels of a side, or height × width."""


def sizes_of(rows: Iterable[HasSize]) -> list[int]:
    """The sides of square images at hand, ascending."""
    return sorted({row.image_size for row in rows if isinstance(row.image_size, int)})


def pixels(sizes: Sequence[int]) -> str:
    """Image sizes in words: 224, 448 and 1024 pixels."""
    return f"{listed([str(size) for size in sizes])} pixels"


def by_series(points: Iterable[Configuration], kept: Sequence[Series]) -> dict[Series, list[Configuration]]:
    """Points of each series that is kept, in the series' order."""
    groups: dict[Series, list[Configuration]] = {each: [] for each in kept}
    for one in points:
        if (each := series_of(one.row)) in groups:
            groups[each].append(one)
    return groups
