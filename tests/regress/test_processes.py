"""Other programs are ended at their time limit, with all their child processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from fgbench.regress.sides.processes import run_program

STARTS = """
import subprocess, sys, time
children = [subprocess.Popen(["sleep", "3600"], start_new_session=session) for session in (False, True)]
print(*(child.pid for child in children), flush=True)
time.sleep(float(sys.argv[1]))
"""


def run(*words: str, folder: Path, limit_s: float = 60.0):
    return run_program([sys.executable, *words], folder=folder, environment=dict(os.environ), limit_s=limit_s)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 60
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_a_program_runs_in_its_folder_and_its_output_is_kept(tmp_path):
    ended = run("-c", "import os, sys; print(os.getcwd()); sys.exit('no')", folder=tmp_path)
    assert (ended.code, ended.stdout, ended.stderr) == (1, f"{tmp_path}\n", "no\n")


def test_at_its_limit_a_program_ends_with_all_that_it_started(tmp_path):
    ended = run("-c", STARTS, "3600", folder=tmp_path, limit_s=5.0)
    assert ended.code is None
    pids = [int(word) for word in ended.stdout.split()]
    assert len(pids) == 2
    wait_until_gone(pids)


def test_the_rest_of_its_session_ends_with_a_program(tmp_path):
    ended = run("-c", STARTS, "0", folder=tmp_path)
    assert ended.code == 0
    of_its_session, of_another = map(int, ended.stdout.split())
    wait_until_gone([of_its_session])
    psutil.Process(of_another).kill()  # a daemon that a program leaves on purpose is its own affair


@pytest.mark.parametrize("program", ["", "nowhere"])
def test_a_program_that_cannot_be_started_says_why(tmp_path, program):
    words = [str(tmp_path / program)]
    ended = run_program(words, folder=tmp_path, environment=dict(os.environ), limit_s=60.0)
    assert ended.code not in (0, None)
    assert "ermission denied" in ended.stderr or "No such file" in ended.stderr
