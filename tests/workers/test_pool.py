"""How workers begin and end, with real processes; those that measure are in tests/sweep/test_faults.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fgbench.errors import CannotMeasureError
from fgbench.results.records import Status
from fgbench.workers import pool as pools
from fgbench.workers.pool import WorkerFailed, WorkerPool, shared_pools

ODD = "helpers.odd_worker"


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(ODD) as pool:
        yield pool


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 60
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_a_worker_has_our_folder_and_path_and_nothing_else_of_ours(pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    with pool.fork() as worker:
        facts = worker.ask("describes_itself", 60)
    assert (facts["folder"], facts["path"]) == (str(tmp_path), sys.path)
    assert facts["session"] == worker.pid  # its own, so that Ctrl-C is ours and it can be killed with all it starts
    assert facts["parent"] == pool._process.pid
    assert os.getsid(pool._process.pid) == pool._process.pid
    assert facts["oom_score_adj"] == 1000
    assert facts["descriptors"] == sorted([0, 1, 2, facts["messages"]])
    assert (facts["handlers_are_usual"], facts["blocked"]) == (True, 0)
    assert facts["stdin"] == os.devnull


def test_a_worker_begins_in_a_folder_that_was_removed(pool, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pool.fork() as worker:
        worker.ask("describes_itself", 60)


def test_programs_that_a_worker_starts_do_not_have_its_connection(pool):
    with pool.fork() as worker:
        assert worker.ask("passes_its_connection_on", 60) == {"passed_on": False}


def test_figures_so_far_arrive_in_order(pool):
    numbers = []
    with pool.fork() as worker:
        assert worker.ask("counts", 60, numbers.append, up_to=100) == {}
    assert numbers == [{"number": number} for number in range(100)]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"do": "exits", "code": 3}, "the worker left with exit code 3; its last words: no more paper"),
        ({"do": "segfaults"}, "the worker was killed by SIGSEGV (a segmentation fault)"),
        ({"do": "unknown"}, "the worker left with exit code 1; its last words: KeyError: 'unknown'"),
        ({"do": "answers", "answer": "hello\n"}, "the worker answered garbage: b'hello'"),
        ({"do": "answers", "answer": '{"done": 5}\n'}, "the worker answered garbage: {'done': 5}"),
        ({"do": "answers", "answer": '{"failed": "error", "reason": 5}\n'}, "the worker answered garbage"),
        (
            {"do": "answers", "answer": '{"failed": "tired", "reason": "it is late"}\n'},
            "the worker answered garbage",
        ),
        ({"do": "answers", "answer": '{"now": 5}\n'}, "the worker answered garbage: {'now': 5}"),
    ],
)
def test_an_end_or_garbage_is_a_crash_with_a_reason(pool, request_, reason):
    with pool.fork() as worker, pytest.raises(WorkerFailed) as failed:
        worker.ask(limit_s=60, **request_)
    assert failed.value.status is Status.CRASHED
    assert failed.value.reason.startswith(reason)
    wait_until_gone(worker.pid)


@pytest.mark.parametrize("request_", [{"do": "sleeps"}, {"do": "answers", "answer": '{"half": '}])
def test_silence_is_a_timeout(pool, request_):
    with pool.fork() as worker, pytest.raises(WorkerFailed, match=r"no result within 0\.3 s") as failed:
        worker.ask(limit_s=0.3, **request_)
    assert failed.value.status is Status.TIMEOUT
    wait_until_gone(worker.pid)


def test_a_request_that_nobody_reads_is_a_timeout(pool):
    with pool.fork() as worker, pytest.raises(WorkerFailed):
        worker.ask("sleeps", 0.1)
    with pool.fork() as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerFailed) as failed:
            worker.ask("answers", 0.3, answer="x" * 10**7)
    assert failed.value.status is Status.TIMEOUT


def test_ticks_come_while_a_result_is_awaited(pool, monkeypatch):
    monkeypatch.setattr(pools, "TICK_S", 0.05)
    ticks = []
    with pool.fork() as worker, pytest.raises(WorkerFailed):
        worker.ask("sleeps", 1.0, tick=lambda: ticks.append(1))
    assert len(ticks) > 3


def test_a_worker_that_closes_its_connection_and_runs_on_is_killed(pool, monkeypatch):
    monkeypatch.setattr(pools, "CLOSED_S", 0.3)
    with pool.fork() as worker, pytest.raises(WorkerFailed, match="closed its connection, and was killed"):
        worker.ask("closes_its_connection", 60)
    wait_until_gone(worker.pid)
    with pool.fork() as worker:
        worker.ask("describes_itself", 60)


def test_a_death_is_noticed_though_a_copy_holds_the_connection_and_half_a_message_came(pool):
    with pool.fork() as worker, pytest.raises(WorkerFailed, match="exit code 4") as failed:
        worker.ask("leaves_a_copy_with_half_a_message", 60)
    os.kill(int(failed.value.log), signal.SIGKILL)


def test_what_a_worker_started_ends_with_it(pool):
    with pool.fork() as worker:
        program = worker.ask("starts_a_program", 60)["pid"]
        assert is_alive(program)
    wait_until_gone(worker.pid, program)


def test_what_a_worker_started_ends_with_the_pool():
    with WorkerPool(ODD) as pool:
        worker = pool.fork()
        program = worker.ask("starts_a_program", 60)["pid"]
    wait_until_gone(worker.pid, program)
    worker.close()


def test_a_kill_of_the_program_leaves_nothing(tmp_path):
    """kill -9: the process that forks, its worker and what that started are gone at once."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from fgbench.workers.pool import WorkerPool\n"
        f"worker = WorkerPool({ODD!r}).fork()\n"
        "print(worker.ask('starts_a_program', 60)['pid'], flush=True)\n"
        "worker.ask('sleeps', 3600)\n"
    )
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", script, tests], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().strip().isdigit()
        below = [process.pid for process in psutil.Process(child.pid).children(recursive=True)]
        assert len(below) == 3
        child.kill()
        wait_until_gone(*below)


def test_the_process_that_forks_may_die(pool):
    with pool.fork() as worker:
        os.kill(pool._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="in a way that nobody saw"):
            worker.ask("sleeps", 60)
    wait_until_gone(worker.pid)
    with pool.fork() as worker:
        worker.ask("describes_itself", 60)


def test_a_pool_ends_though_its_process_is_stopped(monkeypatch):
    monkeypatch.setattr(pools, "END_S", 0.5)
    with WorkerPool(ODD) as pool:
        pool.start()
        pid = pool._process.pid
        os.kill(pid, signal.SIGSTOP)
    wait_until_gone(pid)


def test_a_module_that_cannot_be_preloaded_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise ImportError('libodd.so.3 is missing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with WorkerPool(ODD, ["broken_library"]) as pool, pytest.raises(CannotMeasureError, match=r"libodd\.so\.3"):
        pool.fork()


def test_files_in_the_working_directory_are_not_imported(tmp_path, monkeypatch):
    for name in ("select", "signal", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with WorkerPool(ODD) as pool, pool.fork() as worker:
        worker.ask("describes_itself", 60)


def test_pools_are_shared_inside_of_the_outermost_context():
    with shared_pools() as outer:
        pool = outer(ODD, ())
        with shared_pools() as inner:
            assert inner(ODD, []) is pool
            assert inner(ODD, ["json"]) is not pool
        pool.start()  # it did not end with the inner context
