"""``fgbench regress --pytest-benchmark``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words: object):
    return CliRunner().invoke(app, ["regress", *map(str, words)])


def benchmark_file(name: str, **seconds: float) -> str:
    stats = [{"fullname": each, "stats": {"median": value, "iqr": 0, "rounds": 9}} for each, value in seconds.items()]
    Path(name).write_text(json.dumps({"benchmarks": stats}))
    return name


def test_files_of_pytest_benchmark():
    old = benchmark_file("old.json", a=1.0, b=1.0)
    assert run("--pytest-benchmark", old, benchmark_file("same.json", a=1.0, b=1.01)).exit_code == 0
    slow = run("--pytest-benchmark", old, benchmark_file("slow.json", a=1.5, b=1.0))
    assert slow.exit_code == 1
    assert slow.stdout.splitlines()[-1] == "failed: 1 slower; 1 figure of 1 point is the same"
    assert run("--pytest-benchmark", old, benchmark_file("gone.json", a=1.0)).exit_code == 1
    middling = ("--pytest-benchmark", old, benchmark_file("middling.json", a=1.06, b=1.0))
    assert (run(*middling).exit_code, run(*middling, "--strict").exit_code) == (0, 3)
    result = run("--pytest-benchmark", benchmark_file("none.json"), old)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "there is no benchmark in 'none.json'" in result.stderr


def spread_files(slowdown: float, pairs: int = 3) -> list[str]:
    """Old and new files in turn, whose runs differ by 0.1 %."""
    names = []
    for at in range(pairs):
        apart = 1 + 0.001 * (at % 3 - 1)
        names.append(benchmark_file(f"old{at}.json", a=1.0 * apart))
        names.append(benchmark_file(f"new{at}.json", a=(1 + slowdown) / apart))
    return names


def test_three_pairs_with_a_spread_of_a_tenth_of_a_percent_see_five_percent():
    result = run("--pytest-benchmark", *spread_files(0.05))
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "slower in 3 of 3 pairs, by +5.0 %; 3 % is allowed" in said
    assert "Runs of one side differ by 0.1 %." in said
    assert "3 pairs of files: up to 2 % is the same; from 3 % on a change counts where all pairs show it" in said
    assert run("--pytest-benchmark", *spread_files(0.0)).exit_code == 0
    between = run("--pytest-benchmark", *spread_files(0.025), "--strict")
    assert between.exit_code == 3
    assert "7 tell one above 2 %" in " ".join(between.stdout.split())


def test_a_run_that_is_given_repeatedly_counts_once():
    old = benchmark_file("old.json", a=1.0)
    new = [benchmark_file(f"new{at}.json", a=1.05) for at in range(3)]
    result = run("--pytest-benchmark", old, new[0], old, new[1], old, new[2], "--strict")
    assert result.exit_code == 3, "one old run does not show how far old runs lie apart"
    assert "A run counts once: old.json is given repeatedly, and 1 pair is left." in " ".join(result.stdout.split())


def test_what_is_set_aside_or_matched_by_its_end_is_said():
    old = benchmark_file("old.json", **{"tests/t.py::a": 1.0, "tests/t.py::zero": 1.0})
    new = benchmark_file("new.json", **{"repo/tests/t.py::a": 1.0, "repo/tests/t.py::zero": 0.0})
    result = run("--pytest-benchmark", old, new)
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "2 benchmarks were matched by the end of the name: repo/tests/t.py::a is tests/t.py::a" in said
    assert "1 benchmark set aside, the others are compared: tests/t.py::zero" in said
    assert "1 figure of 1 point is the same" in said
    alone = run("--pytest-benchmark", old, benchmark_file("zero.json", a=0.0))
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "benchmarks[0].stats.median is 0.0" in alone.stderr
