"""The times of the head in pytest-benchmark's JSON, for ``pytest-benchmark compare`` and similar programs."""

from __future__ import annotations

import json
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from fgbench.results.escaping import json_text
from fgbench_reports.regression.findings import TIME, Finding, Outcome
from fgbench_reports.regression.wording import distinct, line_of

WRITTEN_AS = "5.3.1"  # version of pytest-benchmark that has this format and these statistics


def to_benchmark_json(outcome: Outcome) -> str:
    """A document with a benchmark per timed point; a round is the time of one process of the head in seconds.

    Points without samples of the head are left out, and so are counted figures: the format holds seconds only.
    ``extra_info`` has the time before, the change and the verdict. ``params`` serve ``--group-by param:batch_size``.
    All facts are in ``machine_info``; ``datetime``, ``git_revision`` and ``branch`` have fields of their own as well.
    """
    timed = [finding for finding in outcome.findings if finding.check == TIME and _seconds(finding.after_samples)]
    names = distinct(line_of(f"{each.figure}[{each.point}]") for each in timed)
    document = {
        "machine_info": _machine(outcome.facts),
        "commit_info": _commit(outcome.facts),
        "benchmarks": [_benchmark(finding, name) for finding, name in zip(timed, names, strict=True)],
        "datetime": _text(outcome.facts.get("datetime")),
        "version": WRITTEN_AS,
    }
    return json_text(json.dumps(document, indent=4, allow_nan=False)) + "\n"


def _benchmark(finding: Finding, name: str) -> dict[str, object]:
    seconds = _seconds(finding.after_samples)
    point = line_of(finding.point)
    return {
        "group": "fgbench.time",
        "name": name,
        "fullname": f"fgbench.time::{name}",
        "params": {"figure": line_of(finding.figure), "point": point, "batch_size": finding.batch_size},
        "param": point,
        "extra_info": {
            "before": _number(finding.before),
            "after": _number(finding.after),
            "change": _number(finding.change),
            "bound": _number(finding.bound),
            "verdict": finding.verdict,
            "reason": line_of(finding.reason),
            "before_data": _seconds(finding.before_samples),
        },
        # A round is the median of one process, which warms up and chooses its number of iterations itself.
        "options": {
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": len(seconds),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": {**round_statistics(seconds), "data": seconds, "iterations": 1},
    }


def round_statistics(seconds: Sequence[float]) -> dict[str, float | str]:
    """The statistics of pytest-benchmark's ``Stats``: outliers lie beyond 1.5 interquartile ranges.

    Quartiles are the medians of both halves for an even number of rounds, and Method 3 of Wikipedia's "Quartile"
    for an odd one. ValueError without any rounds.
    """
    if not seconds:
        raise ValueError("no seconds were measured, so there are no statistics of them")
    data, total = sorted(seconds), sum(seconds)
    mean = statistics.mean(seconds)
    stddev = statistics.stdev(seconds) if len(data) > 1 else 0
    q1, q3 = _quartiles(data)
    iqr = q3 - q1
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    far = sum(value < mean - stddev or value > mean + stddev for value in data)
    outliers = sum(value < low or value > high for value in data)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": statistics.median(data),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outliers,
        "stddev_outliers": far,
        "outliers": f"{far};{outliers}",
        "ld15iqr": data[bisect_left(data, low)],
        "hd15iqr": data[bisect_right(data, high) - 1],
        "ops": len(data) / total if total else 0,
        "total": total,
    }


def _quartiles(data: Sequence[float]) -> tuple[float, float]:
    """The quartiles of sorted values."""
    count = len(data)
    if count == 1:
        return data[0], data[0]
    if count % 2 == 0:
        return statistics.median(data[: count // 2]), statistics.median(data[count // 2 :])
    n = count // 4
    if count % 4 == 1:
        return 0.25 * data[n - 1] + 0.75 * data[n], 0.75 * data[3 * n] + 0.25 * data[3 * n + 1]
    return 0.75 * data[n] + 0.25 * data[n + 1], 0.25 * data[3 * n + 1] + 0.75 * data[3 * n + 2]


def _machine(facts: Mapping[str, object]) -> dict[str, object]:
    """The fields that pytest-benchmark writes about a machine, empty if unknown, and all facts."""
    processor, python = _text(facts.get("cpu")) or "", _text(facts.get("python")) or ""
    return {
        "node": _text(facts.get("hostname")) or "",
        "processor": processor,
        "machine": _text(facts.get("machine")) or "",
        "python_compiler": "",
        "python_implementation": _text(facts.get("python_implementation")) or "",
        "python_implementation_version": python,
        "python_version": python,
        "python_build": ["", ""],
        "release": "",
        "system": _text(facts.get("system")) or "",
        "cpu": {"brand_raw": processor},
        "fgbench": _plain(facts),
    }


def _commit(facts: Mapping[str, object]) -> dict[str, object]:
    revision = _text(facts.get("git_revision")) or "unknown"
    return {
        "id": revision.rstrip("+"),
        "time": None,
        "author_time": None,
        "dirty": revision.endswith("+"),  # fgbench marks a revision with changed files so
        "project": "fgbench",
        "branch": _text(facts.get("branch")) or "(unknown)",
    }


def _text(value: object) -> str | None:
    return None if value is None else line_of(value)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _seconds(samples: Sequence[float]) -> list[float]:
    return [float(value) for value in samples if math.isfinite(value)]


def _plain(value: object) -> object:
    """A value that JSON can hold."""
    if isinstance(value, Mapping):
        return {line_of(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _number(value)
    return value if value is None or isinstance(value, (bool, int)) else line_of(value)
