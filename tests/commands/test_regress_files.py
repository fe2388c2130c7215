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
