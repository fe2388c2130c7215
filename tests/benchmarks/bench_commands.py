"""Time of whole processes: ``fgbench flops`` against the import of its libraries, and ``fgbench --help``."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

PYTHON = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("peak.py"))]
IMPORTS = [*PYTHON, "-c", "import timm, fvcore.nn"]
FLOPS = [*PYTHON, "-m", "fgbench", "flops", "--sizes", "224", "448", "768", "1024"]
HELP = [sys.executable, "-m", "fgbench", "--help"]
PRINTING = [sys.executable, "-c", "import typer.main, typer.rich_utils, rich.table, rich.markdown"]


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one process."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return time.perf_counter() - start, int(done.stderr.split()[-1])


def test_flops_of_three_backbones_at_four_sizes(benchmark, tmp_path, monkeypatch):
    """For the first time: at most 1.35 times the wall time and 1.3 times the peak memory of the imports alone."""
    folders = itertools.count()

    def imported() -> None:
        imports.append(run(IMPORTS))
        monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / str(next(folders))))  # nothing has been counted

    monkeypatch.chdir(tmp_path)
    run(IMPORTS), run(FLOPS)  # the file cache
    imports, counts = [], []
    benchmark.pedantic(lambda: counts.append(run(FLOPS)), setup=imported, rounds=5)
    seconds = median([s for s, _ in counts]) / median([s for s, _ in imports])
    memory = median([b for _, b in counts]) / median([b for _, b in imports])
    benchmark.extra_info.update(times_the_imports_seconds=seconds, times_the_imports_memory=memory)
    assert seconds <= 1.35
    assert memory <= 1.3


@pytest.mark.parametrize("words", [[], ["choose"]], ids=["fgbench", "choose"])
def test_help(benchmark, words):
    """At most 2.5 times the wall time of the imports that print it."""

    def seconds(command: list[str]) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    command = [*HELP[:-1], *words, "--help"]
    seconds(PRINTING), seconds(command)
    imports, taken = [], []
    benchmark.pedantic(
        lambda: taken.append(seconds(command)), setup=lambda: imports.append(seconds(PRINTING)), rounds=7
    )
    ratio = median(taken) / median(imports)
    benchmark.extra_info.update(times_the_imports_seconds=ratio, target=2.5)
    assert ratio <= 2.5
