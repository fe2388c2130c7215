"""Functions of networks that end a process, wait or set things: each has one line, and the others are counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILE = """
import ctypes
import os
import sys
import time

import torch
from torch import nn

def good():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))

def leaves():
    os._exit(0)

def crashes():
    ctypes.string_at(0)

def exits():
    sys.exit(7)

def reads():
    return input()

def silent():
    raise RuntimeError

def stopped():
    raise KeyboardInterrupt

def sleeps():
    time.sleep(1000)

def on_meta():
    torch.set_default_device("meta")
    return good()

def in_double():
    torch.set_default_dtype(torch.float64)
    os.chdir("/")
    return good()
"""
SAID = {
    "leaves": "exit code 0",
    "crashes": "a segmentation fault",
    "exits": "it calls sys.exit(7)",
    "reads": "it reads standard input",
    "silent": "RuntimeError without a message",
    "stopped": "KeyboardInterrupt without a message",
}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "net.py").write_text(FILE)
    package = tmp_path / "mine" / "nets"
    package.mkdir(parents=True)
    (package / "small.py").write_text(f"from mine.nets import width\n{FILE}")
    (package / "width.py").write_text("WIDTH = 4\n")
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which a function may end, with a terminal that nobody types at."""
    start = "import sys; sys.path.remove(''); from fgbench.cli.program import main; main()"
    command = [sys.executable, "-c", start, *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, complaints = process.stdout.read(), process.stderr.read()
        return subprocess.CompletedProcess(command, process.wait(), out, complaints)


@pytest.mark.slow
def test_flops_counts_all_networks_beside_functions_that_do_not_return():
    good = ["net.py:on_meta", "net.py:in_double", "net.py:good", "mine.nets.small:good"]
    bad = [f"net.py:{name}" for name in SAID]
    done = run("flops", "--models", *bad, *good, "net.py:god", "--sizes", "32", "--format", "json")
    assert done.returncode == 2, done.stderr
    rows = {row["model"]: row["macs"] for row in json.loads(done.stdout) if row["model"]}
    assert list(rows) == good
    assert len(set(rows.values())) == 1
    lines = done.stderr.splitlines()
    assert len(lines) == len(SAID) + 1
    for name, words in SAID.items():
        (line,) = [line for line in lines if f"net.py:{name}'" in line]
        assert words in line
    (line,) = [line for line in lines if "'god'" in line]
    assert line.startswith("fgbench: net.py has no function 'god'; it has: good, ")


@pytest.mark.slow
def test_a_function_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setenv("FGBENCH_PLUGIN_TIMEOUT", "2s")
    done = run("flops", "--models", "net.py:sleeps", "--sizes", "32")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "net.py:sleeps" in line
    assert "it is not built within 2 s" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("export-model", "net.py:leaves", "--sizes", "32"),
        ("visualize", "picture.png", "--model", "net.py:leaves", "--sizes", "32"),
    ],
    ids=lambda words: words[0],
)
def test_a_function_that_leaves_is_no_success(words):
    done = run(*words)
    assert done.returncode == 2
    assert "net.py:leaves" in done.stderr
    assert "exit code 0" in done.stderr


@pytest.mark.slow
def test_audit_asks_the_models_beside_a_function_that_crashes():
    words = ("--size", "32", "--pictures", "2", "--questions", "repeat", "--format", "json")
    done = run("audit", "net.py:crashes", "net.py:good", *words)
    assert done.returncode == 2
    assert [row["model"] for row in json.loads(done.stdout)] == ["net.py:good"]
    assert "a segmentation fault" in done.stderr
