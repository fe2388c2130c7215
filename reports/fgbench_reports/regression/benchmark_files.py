"""Times in files of pytest-benchmark: old and new files are compared in pairs by the rule for times."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from fgbench_reports.regression.benchmark_names import match_names
from fgbench_reports.regression.benchmark_settings import (
    Facts,
    facts_of,
    machine_of,
    options_of,
    other_places,
    other_settings,
    out_of_turn,
    remarks,
)
from fgbench_reports.regression.findings import INCONCLUSIVE, NEW, TIME, VANISHED, Finding
from fgbench_reports.regression.rule import FIRST_PAIRS, PairedPoint, Spread, judge, pooled_spread
from fgbench_reports.regression.wording import line_of, more_points
from fgbench_reports.tables.numbers import how_many

LEAST_S, MOST_S = 1e-15, 1e9  # range of a median that is accepted as a time
LEAST_SPREAD = 0.01  # spread between processes that is assumed with fewer than three pairs, at least
ENOUGH = 5  # benchmarks, at least, to estimate the spread of two runs from their ratios
NORMAL_IQR, NORMAL_MAD = 1.349, 1.4826  # normal distribution: quartile range in σ; σ in median deviations
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean

TWICE = "stands twice"  # reason to leave out a name


class BadBenchmarksError(ValueError):
    """A file that was not written by pytest-benchmark; the message names the place and the reason on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One benchmark of one file."""

    median: float  # seconds
    error: float  # relative standard error of the median, estimated from the rounds
    options: Facts = field(default_factory=dict)  # options of the measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkFile:
    """The benchmarks of one run of pytest-benchmark."""

    benchmarks: Mapping[str, Timed]  # by full name
    machine: str | None  # processor and number of cores; None if the file does not have them
    python: str | None
    facts: Facts = field(default_factory=dict)  # of the machine and its Python
    unusable: Mapping[str, str] = field(default_factory=dict)  # by full name: the reason why it has no usable time
    revision: str | None = None  # revision of the repository in commit_info
    version: str | None = None  # version of pytest-benchmark


def read_benchmarks(text: str) -> BenchmarkFile:
    """Read the benchmarks of a file.

    A benchmark whose median is not a time, or whose name occurs twice, is left out; the others are read.

    Raises:
        BadBenchmarksError: If another program wrote the file, or no benchmark is usable.

    """
    try:
        data = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        raise BadBenchmarksError("it is not JSON") from error
    if not isinstance(data, dict) or not isinstance(data.get("benchmarks"), list):
        raise BadBenchmarksError('it is JSON, and not pytest-benchmark\'s: it has no list "benchmarks"')
    found: dict[str, Timed] = {}
    unusable: dict[str, tuple[str, str]] = {}  # by name: the place in the file, and the reason
    for at, benchmark in enumerate(data["benchmarks"]):
        where = f"benchmarks[{at}]"
        name = _name_of(benchmark, where)
        timed = _read_stats(benchmark)
        if name in found or name in unusable:
            found.pop(name, None)
            unusable[name] = (f"{where}: {name!r} ", TWICE)
        elif isinstance(timed, str):
            unusable[name] = (f"{where}.stats.", timed)
        else:
            found[name] = timed
    if unusable and not found:
        where, why = next(iter(unusable.values()))
        raise BadBenchmarksError(f"{where}{why}")
    info, commit = data.get("machine_info"), data.get("commit_info")
    return BenchmarkFile(
        benchmarks=found,
        machine=machine_of(facts_of(info)),
        python=_python(info),
        facts=facts_of(info),
        unusable={name: why for name, (_, why) in unusable.items()},
        revision=_string(commit.get("id")) if isinstance(commit, dict) else None,
        version=_string(data.get("version")),
    )


def _name_of(benchmark: object, where: str) -> str:
    if not isinstance(benchmark, dict) or not isinstance(benchmark.get("stats"), dict):
        raise BadBenchmarksError(f'{where} has no "stats"')
    name = benchmark.get("fullname") or benchmark.get("name")
    if not isinstance(name, str):
        raise BadBenchmarksError(f"{where} has no name")
    return name


def _read_stats(benchmark: Mapping[str, Any]) -> Timed | str:
    """The time of a benchmark, or the reason why it has none."""
    stats = benchmark["stats"]
    median = stats.get("median")
    if not _is_number(median) or not LEAST_S <= median <= MOST_S:
        return f"median is {median!r:.40}, and must be seconds, {LEAST_S:g} to {MOST_S:g}"
    rounds, apart = stats.get("rounds"), stats.get("iqr")
    known = _is_number(rounds) and rounds > 0 and _is_number(apart) and apart >= 0
    error = MEDIAN_ERROR * apart / NORMAL_IQR / math.sqrt(rounds) / median if known else 0.0
    return Timed(median=float(median), error=error, options=options_of(benchmark))


def _string(value: object) -> str | None:
    return line_of(value) if isinstance(value, str) and value.strip() else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST_S**2


def _python(info: object) -> str | None:
    return str(info["python_version"]) if isinstance(info, dict) and info.get("python_version") else None


def compare_benchmarks(
    old: Sequence[BenchmarkFile], new: Sequence[BenchmarkFile]
) -> tuple[list[Finding], Spread | None]:
    """A finding per benchmark, and the spread that the rule used; ``old[i]`` and ``new[i]`` are a pair.

    Files of different processors, systems or Pythons are not compared, nor are benchmarks with different settings:
    their findings are inconclusive, with the reason. With fewer than three pairs the spread of runs of the same code
    cannot be measured; a lower bound is estimated from the rounds and the other benchmarks, and is 1 % at least. If
    the root folder changed, names are matched by their ends; a name that matches several others is inconclusive.
    """
    aligned = align(old, new)
    old, new = aligned.old, aligned.new
    pairs = list(zip(old, new, strict=True))
    aside = _set_aside(old, new)
    before = list(dict.fromkeys(name for file in old for name in file.benchmarks))
    after = dict.fromkeys(name for file in new for name in file.benchmarks)
    names = [name for name in before if name in after and name not in aside]
    settings = {name: other_settings(_options_of(name, (*old, *new))) for name in names}
    points = {name: _point(name, pairs) for name in names}
    alike = [points[name] for name in names if not settings[name]]
    spread = pooled_spread(alike)
    if len(pairs) < FIRST_PAIRS and alike:
        least = max(LEAST_SPREAD, _error_of(pairs), _scatter_of(alike), spread.value if spread else 0.0)
        spread = Spread(value=least, degrees=0)
    judged = {finding.point: finding for finding in judge(alike, spread, final=True)}
    others = [points[name] for name in names if settings[name]]
    judged |= {finding.point: finding for finding in judge(others, spread)}
    place = out_of_turn([file.revision for file in old], [file.revision for file in new])
    place = place or other_places([file.facts for file in (*old, *new)])
    findings = [
        replace(judged[name], verdict=INCONCLUSIVE, reason=why) if (why := place or settings[name]) else judged[name]
        for name in names
    ]
    findings += [_left_open(name, f"it is set aside: {why}") for name, why in aside.items()]
    findings += [_gone(name, aligned.unclear) for name in before if name not in after and name not in aside]
    fresh = [name for name in after if name not in before and name not in aside]
    return findings + [_new(name, new) for name in fresh], spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Files whose benchmarks are renamed to the names that the first file with them uses."""

    old: Sequence[BenchmarkFile]
    new: Sequence[BenchmarkFile]
    renamed: Mapping[str, str]  # name in a file → name of the first file
    unclear: Mapping[str, Sequence[str]]  # name → several names of another file with the same end


def align(old: Sequence[BenchmarkFile], new: Sequence[BenchmarkFile]) -> Aligned:
    """Give benchmarks whose root folder changed their earlier names; see :func:`match_names`."""
    known: dict[str, None] = {}
    renamed: dict[str, str] = {}
    unclear: dict[str, Sequence[str]] = {}
    files = []
    for file in (*old, *new):
        names = [*file.benchmarks, *file.unusable]
        matched = match_names(known, names)
        renamed |= matched.renamed
        unclear |= matched.unclear
        known |= dict.fromkeys(matched.renamed.get(name, name) for name in names)
        files.append(_renamed(file, matched.renamed) if matched.renamed else file)
    return Aligned(old=files[: len(old)], new=files[len(old) :], renamed=renamed, unclear=unclear)


def _renamed(file: BenchmarkFile, names: Mapping[str, str]) -> BenchmarkFile:
    benchmarks = {names.get(name, name): timed for name, timed in file.benchmarks.items()}
    return replace(
        file, benchmarks=benchmarks, unusable={names.get(name, name): why for name, why in file.unusable.items()}
    )


def comparison_notes(old: Sequence[BenchmarkFile], new: Sequence[BenchmarkFile]) -> list[str]:
    """Sentences on renamed and left out benchmarks, and on differences between the files."""
    aligned, files = align(old, new), (*old, *new)
    notes = []
    if aligned.renamed:
        told = [f"{line_of(name)} is {line_of(known)}" for name, known in aligned.renamed.items()]
        matched = "benchmark was" if len(told) == 1 else "benchmarks were"
        notes.append(f"{len(told)} {matched} matched by the end of the name: {more_points(told[:3], len(told[3:]))}.")
    if aside := _set_aside(aligned.old, aligned.new):
        told = [f"{line_of(name)} ({why})" for name, why in aside.items()]
        listed = more_points(told[:3], len(told[3:]))
        notes.append(f"{how_many(len(told), 'benchmark')} set aside, the others are compared: {listed}.")
    options = [timed.options for file in files for timed in file.benchmarks.values()]
    notes += remarks([file.facts for file in files], options)
    versions = list(dict.fromkeys(file.version for file in files if file.version))
    if len(versions) > 1:
        notes.append(f"The files were written by pytest-benchmark {', '.join(versions)}.")
    return notes


def _set_aside(old: Sequence[BenchmarkFile], new: Sequence[BenchmarkFile]) -> dict[str, str]:
    """The benchmarks without a usable time in some file, and the reason."""
    found: dict[str, str] = {}
    for side, files in (("old", old), ("new", new)):
        for number, file in enumerate(files, 1):
            which = f"{side} file" if len(files) == 1 else f"{side} file {number}"
            for name, why in file.unusable.items():
                found.setdefault(name, f"in the {which} {'it' if why == TWICE else 'its'} {why}")
    return found


def _options_of(name: str, files: Sequence[BenchmarkFile]) -> list[Facts]:
    return [file.benchmarks[name].options for file in files if name in file.benchmarks]


def _left_open(name: str, reason: str) -> Finding:
    return Finding(check=TIME, point=name, figure="latency_s", verdict=INCONCLUSIVE, reason=reason)


def _gone(name: str, unclear: Mapping[str, Sequence[str]]) -> Finding:
    if name in unclear:
        alike = [line_of(other) for other in unclear[name]]
        listed = more_points(alike[:3], len(alike[3:]))
        return _left_open(name, f"it is not in the new file by this name, and which one it is cannot be told: {listed}")
    gone = "it is in the old file, and not in the new one"
    return Finding(check=TIME, point=name, figure="latency_s", verdict=VANISHED, reason=gone)


def _point(name: str, pairs: Sequence[tuple[BenchmarkFile, BenchmarkFile]]) -> PairedPoint:
    both = [(a.benchmarks[name], b.benchmarks[name]) for a, b in pairs if name in a.benchmarks and name in b.benchmarks]
    return PairedPoint(name=name, base=[a.median for a, _ in both], head=[b.median for _, b in both])


def _new(name: str, files: Sequence[BenchmarkFile]) -> Finding:
    times = [file.benchmarks[name].median for file in files if name in file.benchmarks]
    return Finding(
        check=TIME,
        point=name,
        figure="latency_s",
        verdict=NEW,
        after=statistics.median(times),
        after_samples=tuple(times),
        reason="it is not in the old file",
    )


def _error_of(pairs: Sequence[tuple[BenchmarkFile, BenchmarkFile]]) -> float:
    errors = [timed.error for pair in pairs for file in pair for timed in file.benchmarks.values()]
    return statistics.median(errors) if errors else 0.0


def _scatter_of(points: Sequence[PairedPoint]) -> float:
    """The spread of one process, from the ratios of all benchmarks; robust against a few that changed."""
    ratios = [statistics.median(point.log_ratios) for point in points if point.base]
    if len(ratios) < ENOUGH:
        return 0.0
    middle = statistics.median(ratios)
    return NORMAL_MAD * statistics.median(abs(ratio - middle) for ratio in ratios) / math.sqrt(2)
