"""Every failure of a worker is a row with a reason, and the sweep continues; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from helpers.sweeping import outcomes, sweep
from helpers.worker_pool import FAULTY

from fgbench.errors import CannotMeasureError
from fgbench.workers.pool import WorkerFailed, WorkerPool, describe_exit, last_words

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("selector", "status", "reason"),
    [
        ("raises", "error", "KeyError: 'nothing"),
        ("exits", "crashed", "exit code 3"),
        ("leaves", "error", "it calls sys.exit('had enough')"),
        ("aborts", "crashed", "SIGABRT (an abort)"),
        ("segfaults", "crashed", "SIGSEGV (a segmentation fault)"),
        ("killed", "crashed", "SIGKILL (as the system does when memory runs out)"),
        ("hangs", "timeout", "no result within {limit} s"),
        ("speaksgarbage", "crashed", "garbage"),
    ],
)
def test_a_worker_that_dies_is_a_row_and_the_next_batch_is_measured(pool, tmp_path, selector, status, reason):
    limit = 600.0
    if status == "timeout":  # ten times as long as a request of a point takes here and now
        limit = round(max(6.0, 10 * longest_request_s(pool)))
    done = sweep(pool, tmp_path / "s.db", selectors=[selector], plugins=[str(FAULTY)], timeout_s=limit)
    assert outcomes(done.rows) == [(1, "ok"), (2, status), (4, "ok")]
    row = done.rows[1]
    assert reason.format(limit=limit) in row["reason"]
    assert "\n" not in row["reason"]
    assert (row["throughput_img_s"], row["latency_s"], row["blocks"], row["best"]) == (None, None, None, False)
    assert all(other["throughput_img_s"] > 0 for other in (done.rows[0], done.rows[2]))


def test_the_reason_of_a_crash_says_where_it_happened(pool, tmp_path):
    done = sweep(
        pool, tmp_path / "s.db", selectors=["segfaults"], plugins=[str(FAULTY)], batch_sizes=[2], timeout_s=600.0
    )
    assert "in string_at" in done.rows[0]["reason"]
    assert "Segmentation fault" in done.rows[0]["environment"]["seen"]["log"]


def test_what_a_worker_prints_does_no_harm(pool, tmp_path):
    done = sweep(pool, tmp_path / "s.db", selectors=["prints"], plugins=[str(FAULTY)])
    assert outcomes(done.rows) == [(1, "ok"), (2, "ok"), (4, "ok")]


def test_what_does_not_fit_is_out_of_memory_and_larger_batches_are_inferred(pool, tmp_path):
    done = sweep(pool, tmp_path / "s.db", selectors=["allocates"], plugins=[str(FAULTY)], batch_sizes=[1, 2, 4, 8])
    assert outcomes(done.rows) == [(1, "ok"), (2, "oom"), (4, "oom_inferred"), (8, "oom_inferred")]
    assert "memory" in done.rows[1]["reason"]
    assert done.rows[2]["reason"] == done.rows[3]["reason"] == "batch 2 did not fit"


def test_a_limit_on_memory_is_kept_by_ordinary_models(pool, tmp_path):
    """Batch 256 of 96-pixel images needs more than 64 MB beyond what torch itself takes."""
    done = sweep(pool, tmp_path / "s.db", memory_limit_bytes=64 * 10**6, batch_sizes=[1, 256, 512])
    assert outcomes(done.rows) == [(1, "ok"), (256, "oom"), (512, "oom_inferred")]


def test_a_model_that_cannot_even_be_built_within_the_limit_is_out_of_memory(pool, tmp_path):
    done = sweep(pool, tmp_path / "s.db", backbones=["vit_base_patch16_224"], memory_limit_bytes=50 * 10**6)
    assert outcomes(done.rows) == [(1, "oom"), (2, "oom_inferred"), (4, "oom_inferred")]


@pytest.mark.parametrize("selector", ["sleeps", "hangs"])
def test_a_worker_that_never_answers_is_ended_and_leaves_no_process_behind(pool, tmp_path, selector):
    before = descendants(os.getpid())
    done = sweep(pool, tmp_path / "s.db", selectors=[selector], plugins=[str(FAULTY)], batch_sizes=[2], timeout_s=3.0)
    assert outcomes(done.rows) == [(2, "timeout")]
    assert "no result within 3 s" in done.rows[0]["reason"]
    deadline = time.monotonic() + 60
    while descendants(os.getpid()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descendants(os.getpid()) == before


def test_what_a_dead_worker_started_neither_hides_its_death_nor_outlives_it(pool, tmp_path):
    """A child that holds the worker's channel open: the crash is told at once, and the child is gone as well."""
    before = descendants(os.getpid())
    done = sweep(pool, tmp_path / "s.db", selectors=["orphans"], plugins=[str(FAULTY)], batch_sizes=[2])
    assert outcomes(done.rows) == [(2, "crashed")]
    assert "SIGSEGV" in done.rows[0]["reason"]
    assert descendants(os.getpid()) == before


def test_a_plugin_that_ends_the_interpreter_is_named_and_takes_nothing_else_down(pool, tmp_path):
    fatal = tmp_path / "fatal.py"
    fatal.write_text("import os\nos._exit(5)\n")
    problems: list = []
    done = sweep(pool, tmp_path / "s.db", problems, plugins=[str(fatal)], batch_sizes=[1])
    assert outcomes(done.rows) == [(1, "ok")]
    (problem,) = map(str, problems)
    assert problem == f"plug-in 'fatal.py' from {fatal} is broken: the worker left with exit code 5"


def test_files_in_the_working_directory_are_not_taken_for_pythons_own(tmp_path, monkeypatch):
    for name in ("statistics", "profile", "select"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with WorkerPool() as pool:
        pool.start()


def test_the_host_may_die_and_the_sweep_goes_on(tmp_path):
    with WorkerPool() as mortal:
        mortal.start()

        def kill_host(event) -> None:
            if event.row is None and event.what.endswith("batch 2") and event.latency_s is None:
                os.kill(mortal._process.pid, signal.SIGKILL)

        class Killer(list):
            def append(self, event) -> None:
                kill_host(event)

        done = sweep(mortal, tmp_path / "s.db", events=Killer())
    assert outcomes(done.rows) == [(1, "ok"), (2, "crashed"), (4, "ok")]


def test_a_worker_dies_with_the_sweep_though_nobody_tells_it(tmp_path):
    """kill -9 on the process that sweeps: its pool and its worker are gone at once."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from fgbench.workers.pool import WorkerPool\n"
        "from helpers.sweeping import sweep\n"
        "sweep(WorkerPool(), Path(sys.argv[2]), selectors=['sleeps'], plugins=[sys.argv[3]], batch_sizes=[2])\n"
    )
    tests = str(Path(__file__).parents[1])
    child = subprocess.Popen([sys.executable, "-c", script, tests, str(tmp_path / "s.db"), str(FAULTY)])
    try:
        deadline = time.monotonic() + 600
        while len(found := descendants(child.pid)) < 2 or not asleep(found[-1]):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.1)
        child.kill()
        child.wait()
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in found) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [pid for pid in found if alive(pid)] == []
    finally:
        child.kill()
        child.wait()


def test_a_host_that_cannot_start_says_why(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.99 is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CannotMeasureError, match=r"libcudart\.so\.99 is missing"), WorkerPool() as pool:
        pool.fork()


def test_a_refusal_is_no_crash_and_the_worker_can_be_asked_again(pool):
    with pool.fork() as worker:
        with pytest.raises(WorkerFailed, match="unknown model 'glsimm'; did you mean glsim") as refused:
            worker.ask("load", 60, case=case("glsimm"), mode={"device": "cpu"}, uuid=None, cap_s=0.1)
        assert refused.value.refused
        worker.ask("load", 60, case=case("glsim"), mode={"device": "cpu"}, uuid=None, cap_s=0.1)
        assert worker.ask("measure", 60, batch_size=1, energy=False)["throughput_img_s"] > 0


def test_ends_are_told_in_words():
    assert describe_exit(0) == "the worker left with exit code 0"
    assert describe_exit(-7) == "the worker was killed by SIGBUS (a bus error)"
    assert describe_exit(-15) == "the worker was killed by SIGTERM"
    assert describe_exit(-99) == "the worker was killed by signal 99"


def test_last_words_are_the_last_line_that_says_something():
    assert last_words("") == ""
    assert last_words("first\nlast \x1b[0m\n\n") == "last [0m"
    report = (
        'x\nFatal Python error: Aborted\n\nCurrent thread 0x1:\n  File "a.py", line 3 in f\n  File "b.py", line 1\n'
    )
    assert last_words(report) == 'File "a.py", line 3 in f'


def longest_request_s(pool) -> float:
    """How long the longest request takes that has to answer in time: a file, a model, a point."""
    requests = (
        ("plugins", {"files": [str(FAULTY)]}),
        ("load", {"case": case("glsim"), "mode": {"device": "cpu", "threads": 1}, "uuid": None, "cap_s": 0.1}),
        ("measure", {"batch_size": 1, "energy": False}),
    )
    times = []
    with pool.fork() as worker:
        for do, arguments in requests:
            start = time.monotonic()
            worker.ask(do, 600.0, **arguments)
            times.append(time.monotonic() - start)
    return max(times)


def case(model: str) -> dict:
    return {
        "model": model,
        "backbone": "test_vit",
        "selector": None,
        "impl": "fast",
        "image_size": 96,
        "num_classes": 10,
    }


def descendants(pid: int) -> list[int]:
    """All processes below one, the youngest last."""
    processes = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                processes.append((process.create_time(), process.pid))
    return [pid for _, pid in sorted(processes)]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def asleep(pid: int) -> bool:
    """Whether a worker has come to its hour of sleep."""
    try:
        return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False
