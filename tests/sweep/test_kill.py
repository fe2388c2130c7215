"""``kill -9`` at any moment: finished points stay, others are measured, none twice, and no process is left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow
COMMAND_KILLS = 1
MARK = "FGBENCH_TEST_MARK"
BATCHES = [str(size) for size in range(1, 6)]
COMMAND = [
    *(sys.executable, "-m", "fgbench", "throughput", "--model", "vit", "glsim", "--backbones", "test_vit"),
    *("--sizes", "32", "64", "--batch-sizes", *BATCHES, "--device", "cpu", "--threads", "1", "--max-time", "0.1s"),
    *("--timeout", "2m", "--format", "json"),
]
POINTS = 2 * 2 * len(BATCHES)


@pytest.mark.parametrize("while_measuring", [5, pytest.param(20, marks=pytest.mark.thorough)])
def test_after_kills_every_point_is_there_exactly_once(tmp_path, while_measuring):
    kills = while_measuring + 5  # some come between two points
    store, mark = tmp_path / "sweep.db", f"kill-test-{os.getpid()}-{random.random()}"
    # Sweeps wait for each other by a lock in TMPDIR: here for nobody else's, who would be measuring at every kill.
    environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}

    loop = [
        sys.executable,
        str(Path(__file__).parents[1] / "helpers" / "kill_loop.py"),
        str(store),
        str(kills),
        *BATCHES,
    ]
    told = subprocess.run(loop, env=environment, stdout=subprocess.PIPE, timeout=3000, check=True)
    report = json.loads(told.stdout)
    assert report["kills"] >= kills
    assert (report["lost"], report["twice"]) == (0, 0), report
    assert report["while_measuring"] >= while_measuring, report
    assert 3 <= report["stored"] < POINTS, report  # the loop sees to it, however slow or fast the machine is
    assert_nobody_is_left(mark)

    words = [*COMMAND, "--store", str(store)]
    for _ in range(COMMAND_KILLS):  # the command itself, with everything that it starts
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        while b" img/s" not in child.stderr.readline():
            assert child.poll() is None  # it may wait for another sweep; then a point is finished
        child.kill()
        child.wait()
        child.stderr.close()
        assert_nobody_is_left(mark)

    final = subprocess.run(words, capture_output=True, env=environment, timeout=3000, check=True)
    rows = json.loads(final.stdout)
    points = Counter((row["model"], row["image_size"], row["batch_size"]) for row in rows)
    assert len(points) == POINTS
    assert set(points.values()) == {1}
    assert all(row["throughput_img_s"] > 0 for row in rows)
    before = int(final.stderr.decode().rpartition("fgbench: ")[2].split()[0])
    assert report["stored"] + COMMAND_KILLS <= before < POINTS  # what was kept was not measured again


def assert_nobody_is_left(mark: str) -> None:
    """Every process that was started with the mark is gone soon; those that are not stay for good."""
    deadline = time.monotonic() + 60
    while left := marked(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def marked(mark: str) -> list[int]:
    """Processes whose environment has the mark, but for this one."""
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                pids.append(process.pid)
    return pids
