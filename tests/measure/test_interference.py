"""Load of other programs, on an artificial /proc and on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fgbench.measure.interference import TOLERATED, Interference

TICKS = os.sysconf("SC_CLK_TCK")


class Proc:
    """A /proc of one process: how long each of its threads has waited, what the hypervisor took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "self").mkdir(parents=True)
        (folder / "self" / "schedstat").write_text("0 0 0\n")
        self.steal(0)

    def thread(self, number: int, waited_s: float) -> None:
        task = self.folder / "self" / "task" / str(number)
        task.mkdir(parents=True, exist_ok=True)
        (task / "schedstat").write_text(f"1000 {int(waited_s * 1e9)} 7\n")

    def steal(self, seconds: float) -> None:
        (self.folder / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {int(seconds * TICKS)} 0 0\ncpu0 1\n")


@pytest.fixture
def proc(tmp_path, monkeypatch) -> Proc:
    monkeypatch.setattr("psutil.cpu_count", lambda: 4)
    made = Proc(tmp_path / "proc")
    monkeypatch.setattr("psutil.PROCFS_PATH", str(made.folder))
    made.thread(1, 5.0)
    return made


def watch(proc: Proc, threads: int = 2):
    times = iter([100.0, 110.0, 120.0])
    return Interference(threads, proc.folder, lambda: next(times))


def test_waiting_counts_per_thread_and_from_the_start(proc):
    seen = watch(proc)
    proc.thread(1, 6.0)
    proc.thread(2, 3.0)  # a new one
    assert seen.share() == pytest.approx((1.0 + 3.0) / 2 / 10)


def test_what_a_hypervisor_takes_counts_per_core(proc):
    seen = watch(proc)
    proc.steal(8.0)
    assert seen.share() == pytest.approx(8.0 / 4 / 10)


def test_a_quiet_machine_has_no_share_and_an_ended_thread_gives_nothing_back(proc):
    seen = watch(proc)
    assert seen.share() == 0
    seen = watch(proc)
    proc.thread(1, 0.0)
    assert seen.share() == 0


def test_a_system_without_the_figures_says_nothing(tmp_path):
    assert Interference(2, tmp_path).share() is None
    (tmp_path / "self" / "task" / "1").mkdir(parents=True)
    assert Interference(2, tmp_path).share() is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no scheduler statistics")
def test_a_real_rival_is_noticed():
    """Two busy processes on this process's core; alone, it would wait for next to nothing."""
    cores = os.sched_getaffinity(0)
    one = min(cores)
    burn = f"import os\nos.sched_setaffinity(0, {{{one}}})\nprint('busy', flush=True)\nwhile True: pass"
    rivals = [subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    share: list[float | None] = []

    def work() -> None:
        os.sched_setaffinity(0, {one})  # of this thread alone
        seen = Interference(1)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            pass
        share.append(seen.share())

    try:
        assert [rival.stdout.readline() for rival in rivals] == ["busy\n"] * 2
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
            rival.stdout.close()
    assert share[0] is not None
    assert share[0] > 4 * TOLERATED
