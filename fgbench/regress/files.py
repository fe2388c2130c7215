"""Files of pytest-benchmark, old and new, judged by the rule for times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.results.reading import read_text
from fgbench_reports.regression.benchmark_files import (
    BadBenchmarksError,
    BenchmarkFile,
    compare_benchmarks,
    comparison_notes,
    read_benchmarks,
)
from fgbench_reports.regression.findings import Outcome
from fgbench_reports.regression.rule import ALL_PAIRS, FIRST_PAIRS, LARGEST, Spread
from fgbench_reports.regression.wording import roughly
from fgbench_reports.tables.numbers import how_many


def compare_files(names: Sequence[str]) -> Outcome:
    """Judge files of pytest-benchmark.

    Args:
        names: Their paths: old, new, old, new, …; an old file and the next new one are a pair.

    Returns:
        The findings, and notes about what so many pairs can show.

    Raises:
        FgbenchError: For a file that cannot be read, and an odd number of them.
        CannotMeasureError: Where the old files have no benchmark.

    """
    if len(names) % 2:
        raise FgbenchError("--pytest-benchmark takes an old and a new file, or several such pairs; got", len(names))
    files = [_read(Path(name)) for name in names]
    old, new, notes = _each_once(names, files)
    if not any(file.benchmarks for file in old):
        raise CannotMeasureError("there is no benchmark in", ", ".join(names[::2]), "nothing can be compared with it")
    findings, spread = compare_benchmarks(old, new)
    notes += comparison_notes(old, new)
    if spread is not None and spread.degrees:
        notes.append(f"Runs of one side differ by {roughly(spread.value)}.")
    notes += _notes_of_few(len(old), spread)
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


def _each_once(
    names: Sequence[str], files: Sequence[BenchmarkFile]
) -> tuple[list[BenchmarkFile], list[BenchmarkFile], list[str]]:
    """Old and new files in which each run stands once: a repeated one does not show how far runs lie apart."""
    met: tuple[set[Path], set[Path]] = (set(), set())
    pairs, repeated = [], dict[str, None]()
    for at in range(0, len(names), 2):
        paths = [Path(name).resolve() for name in names[at : at + 2]]
        again = [name for name, path, seen in zip(names[at : at + 2], paths, met, strict=True) if path in seen]
        repeated |= dict.fromkeys(again)
        if not again:
            pairs.append((files[at], files[at + 1]))
            for path, seen in zip(paths, met, strict=True):
                seen.add(path)
    left = f"{how_many(len(pairs), 'pair')} {'is' if len(pairs) == 1 else 'are'} left"
    note = f"A run counts once: {', '.join(repeated)} is given repeatedly, and {left}."
    return [a for a, _ in pairs], [b for _, b in pairs], [note] if repeated else []


def _notes_of_few(pairs: int, spread: Spread | None) -> list[str]:
    """What so many pairs can see, and how many more would see more."""
    if pairs < FIRST_PAIRS:
        return [
            f"{how_many(pairs, 'pair')} of files: how far runs of the same code lie apart is not known, so only a "
            f"change of more than 10 % is held against the new one. {FIRST_PAIRS} to {ALL_PAIRS} pairs tell more."
        ]
    if pairs < ALL_PAIRS and spread is not None and spread.conclusive:
        return [
            f"{pairs} pairs of files: up to {roughly(spread.bound)} is the same; from {roughly(LARGEST)} on a change "
            "counts where all pairs show it and runs of one side differ by less; "
            f"{ALL_PAIRS - pairs} more pairs tell what lies between."
        ]
    return []


def _read(path: Path) -> BenchmarkFile:
    try:
        return read_benchmarks(read_text(path))
    except OSError as error:
        raise FgbenchError("cannot read", str(path), error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise FgbenchError("this is no file of pytest-benchmark:", str(path), "it is not a text in UTF-8") from error
    except BadBenchmarksError as error:
        raise FgbenchError("this is no file of pytest-benchmark:", str(path), str(error)) from error
