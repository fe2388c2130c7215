"""Whole processes, side by side: ``fgbench flops`` against importing what it needs, ``fgbench --help``."""

from __future__ import annotations

import os
import subprocess
import sys
import time

IMPORTS = [sys.executable, "-W", "ignore", "-c", "import timm, fvcore.nn"]
FLOPS = [sys.executable, "-m", "fgbench", "flops", "--sizes", "224", "448", "768", "1024"]
HELP = [sys.executable, "-m", "fgbench", "--help"]


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def test_flops_of_three_backbones_at_four_sizes(benchmark):
    """At most 1.5 times the wall time and 1.3 times the peak memory of the imports alone."""
    run(IMPORTS), run(FLOPS)  # the file cache
    imports, counts = [], []
    benchmark.pedantic(lambda: counts.append(run(FLOPS)), setup=lambda: imports.append(run(IMPORTS)), rounds=5)
    seconds = median([s for s, _ in counts]) / median([s for s, _ in imports])
    memory = median([b for _, b in counts]) / median([b for _, b in imports])
    benchmark.extra_info.update(times_the_imports_seconds=seconds, times_the_imports_memory=memory)
    assert seconds <= 1.5
    assert memory <= 1.3


def test_help(benchmark):
    """At most half a second."""
    run(HELP)
    seconds = []
    benchmark.pedantic(lambda: seconds.append(run(HELP)[0]), rounds=7)
    assert median(seconds) <= 0.5
