"""Times out of pytest-benchmark's JSON: old and new files in pairs, judged by the rule for times."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fgbench_reports.regression.findings import INCONCLUSIVE, NEW, TIME, VANISHED, Finding
from fgbench_reports.regression.pairs import FIRST_PAIRS, PairedPoint
from fgbench_reports.regression.rule import Spread, judge, pooled_spread

LEAST_S, MOST_S = 1e-15, 1e9  # of a benchmark: what is shorter or longer was not measured
LEAST_SPREAD = 0.01  # between processes; one run of each does not show it
ENOUGH = 5  # benchmarks whose ratios show how far two runs lie apart
NORMAL_IQR, NORMAL_MAD = 1.349, 1.4826  # of a normal distribution: quartiles apart in σ; σ in median deviations
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean


class BadBenchmarksError(ValueError):
    """A file that is not pytest-benchmark's; the message says where and why, on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One benchmark of one file."""

    median: float  # seconds
    error: float  # relative standard error of the median, as the rounds of its process show it


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkFile:
    """What one run of pytest-benchmark measured."""

    benchmarks: Mapping[str, Timed]  # by full name
    machine: str | None  # processor and number of cores; None where the file does not say
    python: str | None


def read_benchmarks(text: str) -> BenchmarkFile:
    """The benchmarks of a file. Raises :class:`BadBenchmarksError`."""
    try:
        data = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError, too
        raise BadBenchmarksError("it is not JSON") from error
    if not isinstance(data, dict) or not isinstance(data.get("benchmarks"), list):
        raise BadBenchmarksError('it is JSON, and not pytest-benchmark\'s: it has no list "benchmarks"')
    found: dict[str, Timed] = {}
    for at, benchmark in enumerate(data["benchmarks"]):
        name, timed = _read_benchmark(benchmark, f"benchmarks[{at}]")
        if name in found:
            raise BadBenchmarksError(f"benchmarks[{at}]: {name!r} stands twice")
        found[name] = timed
    machine = data.get("machine_info")
    return BenchmarkFile(benchmarks=found, machine=_machine(machine), python=_python(machine))


def _read_benchmark(benchmark: Any, where: str) -> tuple[str, Timed]:
    if not isinstance(benchmark, dict) or not isinstance(benchmark.get("stats"), dict):
        raise BadBenchmarksError(f'{where} has no "stats"')
    name = benchmark.get("fullname") or benchmark.get("name")
    if not isinstance(name, str):
        raise BadBenchmarksError(f"{where} has no name")
    stats = benchmark["stats"]
    median = stats.get("median")
    if not _is_number(median) or not LEAST_S <= median <= MOST_S:
        raise BadBenchmarksError(
            f"{where}.stats.median is {median!r:.40}, and must be seconds, {LEAST_S:g} to {MOST_S:g}"
        )
    rounds, apart = stats.get("rounds"), stats.get("iqr")
    known = _is_number(rounds) and rounds > 0 and _is_number(apart) and apart >= 0
    error = MEDIAN_ERROR * apart / NORMAL_IQR / math.sqrt(rounds) / median if known else 0.0
    return name, Timed(median=float(median), error=error)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST_S**2


def _machine(info: Any) -> str | None:
    cpu = info.get("cpu") if isinstance(info, dict) else None
    if not isinstance(cpu, dict) or not cpu.get("brand_raw"):
        return None
    return f"{cpu['brand_raw']}, {cpu['count']} cores" if cpu.get("count") else str(cpu["brand_raw"])


def _python(info: Any) -> str | None:
    return str(info["python_version"]) if isinstance(info, dict) and info.get("python_version") else None


def compare_benchmarks(
    old: Sequence[BenchmarkFile], new: Sequence[BenchmarkFile]
) -> tuple[list[Finding], Spread | None]:
    """A finding per benchmark, and the spread they were judged by; ``old[i]`` and ``new[i]`` are a pair.

    Files of different processors are not compared. With fewer than three pairs nothing tells how far runs of the same
    code lie apart: the rounds within a run and the other benchmarks give a lower bound, 1 % is the least.
    """
    pairs = list(zip(old, new, strict=True))
    before = list(dict.fromkeys(name for file in old for name in file.benchmarks))
    after = dict.fromkeys(name for file in new for name in file.benchmarks)
    points = [_point(name, pairs) for name in before if name in after]
    spread = pooled_spread(points)
    if len(pairs) < FIRST_PAIRS and points:
        least = max(LEAST_SPREAD, _error_of(pairs), _scatter_of(points), spread.value if spread else 0.0)
        spread = Spread(value=least, degrees=0)
    findings = judge(points, spread)
    machines = list(dict.fromkeys(file.machine for file in (*old, *new) if file.machine is not None))
    if len(machines) > 1:
        reason = f"the files come from different machines: {'; '.join(machines)}; measure both on one"
        findings = [replace(finding, verdict=INCONCLUSIVE, reason=reason) for finding in findings]
    gone = "it is in the old file, and not in the new one"
    findings += [
        Finding(check=TIME, point=name, figure="latency_s", verdict=VANISHED, reason=gone)
        for name in before
        if name not in after
    ]
    fresh = [name for name in after if name not in before]
    return findings + [_new(name, new) for name in fresh], spread


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
    """How far ratios of different benchmarks lie apart, as the spread of one process; few that changed do not count."""
    ratios = [statistics.median(point.log_ratios) for point in points if point.base]
    if len(ratios) < ENOUGH:
        return 0.0
    middle = statistics.median(ratios)
    return NORMAL_MAD * statistics.median(abs(ratio - middle) for ratio in ratios) / math.sqrt(2)
