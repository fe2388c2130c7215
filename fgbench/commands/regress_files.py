"""Files of pytest-benchmark, old and new, judged by the rule for times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench_reports.numbers import how_many
from fgbench_reports.regression.benchmark_files import (
    BadBenchmarksError,
    BenchmarkFile,
    compare_benchmarks,
    read_benchmarks,
)
from fgbench_reports.regression.findings import Outcome
from fgbench_reports.regression.pairs import ALL_PAIRS, FIRST_PAIRS
from fgbench_reports.regression.wording import percent_text


def compare_files(names: Sequence[str]) -> Outcome:
    """Judge files that come as old, new, old, new, …; what lies next to each other in time is a pair."""
    if len(names) % 2:
        raise FgbenchError("--pytest-benchmark takes an old and a new file, or several such pairs; got", len(names))
    files = [_read(Path(name)) for name in names]
    old, new = files[::2], files[1::2]
    if not any(file.benchmarks for file in old):
        raise CannotMeasureError("there is no benchmark in", ", ".join(names[::2]), "nothing can be compared with it")
    findings, spread = compare_benchmarks(old, new)
    notes = []
    if spread is not None and spread.degrees:
        notes.append(f"Runs of one side differ by {percent_text(spread.value)}.")
    if len(old) < FIRST_PAIRS:
        notes.append(
            f"{how_many(len(old), 'pair')} of files: how far runs of the same code lie apart is not known, so only a "
            f"change of more than 10 % is held against the new one. {FIRST_PAIRS} to {ALL_PAIRS} pairs tell more."
        )
    pythons = list(dict.fromkeys(file.python for file in files if file.python))
    if len(pythons) > 1:
        notes.append(f"The files were made with Python {', '.join(pythons)}.")
    return Outcome(
        findings=findings,
        notes=notes,
        before=", ".join(names[::2]),
        after=", ".join(names[1::2]),
        facts={"cpu": files[-1].machine, "python": files[-1].python},
    )


def _read(path: Path) -> BenchmarkFile:
    try:
        return read_benchmarks(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise FgbenchError("cannot read", str(path), error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise FgbenchError("this is no file of pytest-benchmark:", str(path), "it is not a text in UTF-8") from error
    except BadBenchmarksError as error:
        raise FgbenchError("this is no file of pytest-benchmark:", str(path), str(error)) from error
