"""The peak memory of a process, its available memory, and a limit that raises an error."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from fgbench.measure.memory import available_bytes, peak_resident_bytes

MB = 10**6
OTHERS = "MemFree Buffers Cached Shmem Active Inactive"  # figures of /proc/meminfo that psutil reads as well


def child(code: str) -> str:
    prelude = "from fgbench.measure.memory import *\n"
    run = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=600, check=True
    )
    return run.stdout.strip()


def test_the_peak_is_there_after_the_memory_is_gone():
    before, after = map(
        int,
        child("a = peak_resident_bytes(); x = bytearray(200_000_000); del x; print(a, peak_resident_bytes())").split(),
    )
    assert 190 * MB < after - before < 260 * MB


def test_the_peak_can_begin_again():
    said = child("x = bytearray(200_000_000); del x; print(forget_peak(), peak_resident_bytes())").split()
    if said[0] == "False":
        pytest.skip("the system does not let the peak begin again")
    assert int(said[1]) < 100 * MB


def test_a_limit_is_a_memory_error_and_what_fits_still_fits():
    said = child(
        "limit_memory(100_000_000)\n"
        "x = bytearray(50_000_000); print('fits')\n"
        "try: bytearray(80_000_000)\n"
        "except MemoryError: print('does not')\n"
    )
    assert said.split("\n") == ["fits", "does not"]


def write(folder, **files: str):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_control_groups_limit_counts_where_it_is_the_smaller(tmp_path, monkeypatch):
    kilobytes = {"MemTotal": 9000, "MemAvailable": 8000} | dict.fromkeys(OTHERS.split(), 1)
    proc = write(tmp_path / "proc", meminfo="".join(f"{name}: {number} kB\n" for name, number in kilobytes.items()))
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    none = tmp_path / "none"
    assert available_bytes(none) == 8000 * 1024
    second = write(tmp_path / "v2", memory_dot_max="5000000\n", memory_dot_current="2000000\n")
    assert available_bytes(second) == 3_000_000
    cached = write(
        tmp_path / "cached",
        memory_dot_max="5000000",
        memory_dot_current="4900000",
        memory_dot_stat="anon 100\ninactive_file 4000000\n",
    )
    assert available_bytes(cached) == 4_100_000  # what the kernel only keeps as long as nobody wants it
    unlimited = write(tmp_path / "max", memory_dot_max="max\n", memory_dot_current="2000000\n")
    assert available_bytes(unlimited) == 8000 * 1024
    first = write(
        tmp_path / "v1", memory__memory_dot_limit_in_bytes="4000000", memory__memory_dot_usage_in_bytes="5000000"
    )
    assert available_bytes(first) == 0
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(none))
    assert available_bytes(none) is None


def test_a_system_that_does_not_tell_gives_none(tmp_path):
    assert peak_resident_bytes(tmp_path) is None


def test_the_allocator_keeps_what_it_gave_once_a_large_block_was_freed():
    """In a process that has only ever freed small blocks, 4 MB are given back and faulted in again each time."""
    code = (
        "import resource, torch\n"
        "torch.set_num_threads(1)\n"
        "{settle}\n"
        "def work():\n"
        "    parts = [torch.ones(300_000) for _ in range(20)]\n"
        "for _ in range(5): work()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): work()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    settled = int(child(code.format(settle="settle_allocator()")))
    assert settled < 500  # 20 passes of 24 MB are 117,000 pages
