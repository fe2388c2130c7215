"""Runs that hang, jobs that are interrupted or killed, and jobs that continue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stand_ins import request

from fgbench.errors import FgbenchError
from fgbench.regress.pairs import measure_pairs
from fgbench.results.store import Store

JOB = """
import sys
from pathlib import Path
from helpers.stand_ins import StandIns, request
stand_ins = StandIns.__new__(StandIns)
stand_ins.folder = Path(sys.argv[1])
stand_ins.python = stand_ins.folder / "python"
result = stand_ins.measure(batch_sizes=[1, 2], store=Path(sys.argv[2]))
print(result.interrupted, [len(point.base) for point in result.points])
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition, limit_s: float = 300.0):
    until = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return found


@pytest.fixture
def job(stand_ins, tmp_path):
    """A job in a process of its own that has come to a run that hangs; the process, and those of the run."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def start():
        environment = {**os.environ, "TMPDIR": str(temporary)}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        words = [sys.executable, "-c", JOB, str(stand_ins.folder), str(tmp_path / "pairs.db")]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        file = stand_ins.folder / "hanging"
        running = [int(pid) for pid in wait_for(lambda: file.exists() and file.read_text()).split()]
        return child, running

    start.temporary = temporary
    return start


def test_a_run_has_an_empty_folder_and_a_store_of_its_own(stand_ins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FGBENCH_STORE", str(tmp_path / "mine.db"))
    side = stand_ins.side("base", plugins=("/some where/a,b.py",))
    measure_pairs(request(first_pairs=1), side, stand_ins.side("head"), lambda _: [])
    base, head = stand_ins.log
    assert base["folder"] == head["folder"] == []
    assert base["cwd"] != head["cwd"]
    assert "--plugin=/some where/a,b.py" in base["words"]
    assert not any(word.startswith("--plugin") for word in head["words"])
    for run in (base, head):
        assert not Path(run["cwd"]).exists()
        assert str(tmp_path / "mine.db") not in " ".join(run["words"])


def test_a_run_that_hangs_is_killed_with_what_it_started(stand_ins):
    start = time.monotonic()
    stand_ins.measure()
    usual = len(stand_ins.runs)
    limit = round(max(2.0, 3 * (time.monotonic() - start)))  # for one run, three times as long as all take here and now
    stand_ins.plan({"side": "head", "do": "hang"})
    (point,) = stand_ins.measure(run_limit_s=float(limit)).points
    assert (point.base_failure, point.head_failure) == (None, f"timeout: it was killed after {limit} s")
    assert len(stand_ins.runs) == usual + 4
    pids = [int(pid) for pid in (stand_ins.folder / "hanging").read_text().split()]
    wait_for(lambda: not any(map(is_running, pids)))


def test_a_side_whose_python_is_gone_is_one_with_a_reason(stand_ins):
    side = stand_ins.side("head", python="/no/such/python")
    (point,) = measure_pairs(request(), stand_ins.side("base"), side, lambda _: []).points
    assert "/no/such/python" in point.head_failure or "No such file" in point.head_failure
    assert point.base_failure is None


def test_ctrl_c_keeps_what_is_finished_and_leaves_nothing_behind(stand_ins, job, tmp_path):
    stand_ins.plan({"side": "head", "runs": [3], "do": "hang"})
    child, running = job()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=300)
    assert (child.returncode, out) == (0, "True [2, 2]\n")
    wait_for(lambda: not any(map(is_running, running)))
    assert list(job.temporary.iterdir()) == []

    stand_ins.plan()
    before = len(stand_ins.runs)
    result = stand_ins.measure(batch_sizes=[1, 2], store=tmp_path / "pairs.db")
    assert (result.taken, len(stand_ins.runs) - before) == (2, 2), "finished pairs are taken, the third is measured"
    assert [point.base for point in result.points] == [[1.001, 1.002, 1.004], [2.001, 2.002, 2.004]]
    assert [len(point.head) for point in result.points] == [3, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="the system has to kill what its parent leaves")
def test_a_job_that_is_killed_takes_its_run_along_and_loses_no_finished_pair(stand_ins, job, tmp_path):
    stand_ins.plan({"side": "base", "runs": [3], "do": "hang"})
    child, running = job()
    child.kill()
    child.communicate(timeout=300)
    wait_for(lambda: not is_running(running[0]))
    os.kill(running[1], signal.SIGKILL)  # a real run's workers watch their own parent
    stand_ins.plan()
    result = stand_ins.measure(batch_sizes=[1, 2], store=tmp_path / "pairs.db")
    assert result.taken == 2
    assert [len(point.base) for point in result.points] == [3, 3]


@pytest.mark.parametrize("other", [{"code": "another one"}, {"python": "another one"}], ids=["code", "environment"])
def test_pairs_of_another_side_are_not_taken(stand_ins, tmp_path, other):
    path, base = tmp_path / "pairs.db", stand_ins.side("base")
    measure_pairs(request(store=path), base, stand_ins.side("head"), lambda _: [])
    if "python" in other:
        other = {"python": str(stand_ins.python.with_name("second"))}
        Path(other["python"]).symlink_to(stand_ins.python)
    result = measure_pairs(request(store=path), base, stand_ins.side("head", **other), lambda _: [])
    assert (result.taken, len(stand_ins.runs)) == (0, 12)


@pytest.mark.parametrize("other", [{"cap_s": 1.0}, {"threads": 2}, {"batch_sizes": [1, 2]}, {"dtypes": ["bfloat16"]}])
def test_pairs_of_another_request_are_not_taken(stand_ins, tmp_path, other):
    path = tmp_path / "pairs.db"
    stand_ins.measure(store=path, first_pairs=1)
    assert stand_ins.measure(store=path, first_pairs=1, **other).taken == 0
    assert stand_ins.measure(store=path, first_pairs=1, seed=7).taken == 1, "the order is not what is measured"


def test_a_repeated_pair_is_taken_up_as_such_and_a_crash_is_measured_again(stand_ins, tmp_path):
    path = tmp_path / "pairs.db"
    stand_ins.plan(
        {"side": "head", "runs": [1], "row": {"status": "contended", "reason": "load"}},
        {"side": "head", "runs": [3, 4], "do": "crash"},
    )
    (before,) = stand_ins.measure(store=path).points
    assert (before.head, before.head_failure) == ([2.002], "crashed: killed by SIGSEGV, Segmentation fault")
    stand_ins.plan()
    result = stand_ins.measure(store=path)
    assert result.taken == 2, "the disturbed one, and its repetition"
    assert result.points[0].head == [2.002, 2.005, 2.006]
    with Store(path) as store:
        kept = list(store.rows("regress"))
    assert kept[0]["environment"]["base"]["label"] == "base"


def test_a_store_that_goes_away_costs_no_measurement(stand_ins, tmp_path):
    path = tmp_path / "pairs.db"
    stand_ins.plan({"side": "head", "runs": [2], "do": "remove", "file": str(path)})
    result = stand_ins.measure(store=path)
    assert len(result.points[0].base) == 3
    assert str(result.not_kept).startswith("finished pairs are not kept from here on: ")
    assert str(path) in str(result.not_kept)
    assert result.not_kept.exit_code == 3


def test_a_store_that_is_none_is_refused_before_anything_is_measured(stand_ins, tmp_path):
    path = tmp_path / "pairs.db"
    path.write_text(json.dumps(["no database, and long enough to be taken for something else"] * 9))
    with pytest.raises(FgbenchError, match="it is no SQLite database"):
        stand_ins.measure(store=path)
    assert stand_ins.runs == []
