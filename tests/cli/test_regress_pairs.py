"""``fgbench regress --base …``: verdicts on pairs of real processes that report planned times."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from helpers.stand_ins import StandIns
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.regress import paired

NAME = "vit fast test_vit 64 batch 1"
SAME = {"side": "head", "row": {"latency_s": 1.0}}, {"side": "base", "row": {"latency_s": 1.0}}


@pytest.fixture
def stand_ins(tmp_path, monkeypatch) -> StandIns:
    made = StandIns(tmp_path)

    @contextmanager
    def side(name, plugins):
        yield made.side(name)

    monkeypatch.setattr(paired, "environment_side", side)
    monkeypatch.setattr(paired, "running_side", lambda plugins: side("head", plugins))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return made


def run(*words: str, sides=("--base-python", "base", "--head-python", "head")):
    small = ("--models", "vit", "--sizes", "64", "--batch-sizes", "1")
    return CliRunner().invoke(app, ["regress", *sides, *small, *words])


def findings(*words: str, code: int) -> dict[tuple[str, str], dict]:
    result = run("--format", "json", *words)
    assert result.exit_code == code, result.stderr
    return {(each["point"], each["figure"]): each for each in json.loads(result.stdout)}


def test_twice_the_time_is_found_in_seven_pairs(stand_ins):
    found = findings(code=1)[NAME, "latency_s"]
    assert (found["verdict"], len(found["before_samples"]), found["batch_size"]) == ("slower", 7, 1)
    assert found["change"] == pytest.approx(1.0, abs=0.01)
    assert found["reason"].startswith("slower in 7 of 7 pairs, by +99.")


def test_the_same_time_is_cleared_by_three_pairs(stand_ins):
    stand_ins.plan(*SAME)
    assert findings(code=0)[NAME, "latency_s"]["verdict"] == "same"
    assert len(stand_ins.runs) == 6
    again = run()
    assert len(stand_ins.runs) == 6, "finished pairs are kept"
    assert "3 pairs had been measured before; --again measures them once more." in again.stdout
    assert run("--again").exit_code == 0
    assert len(stand_ins.runs) == 12


def test_pairs_that_could_not_be_kept_are_judged_and_the_exit_code_says_so(stand_ins, tmp_path):
    stand_ins.plan({"side": "head", "runs": [2], "do": "remove", "file": str(tmp_path / "fgbench.db")}, *SAME)
    result = run("--format", "json")
    assert result.exit_code == 3
    assert {each["verdict"] for each in json.loads(result.stdout)} == {"same"}
    assert "finished pairs are not kept from here on: cannot use the store" in result.stderr


def test_a_machine_that_is_too_noisy_is_no_failure_unless_it_is_to_be_one(stand_ins):
    noisy = [{"runs": [at], "row": {"latency_s": 1.0 + 0.1 * (at % 3)}} for at in range(1, 30)]
    stand_ins.plan(*noisy)
    result = run()
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "inconclusive: 1 inconclusive; 0 figures are the same"
    assert "too noisy: runs of one side differ by" in result.stdout
    assert run("--strict").exit_code == 3


def test_what_the_head_cannot_measure_any_more_fails_and_what_it_alone_can_is_new(stand_ins):
    stand_ins.plan({"side": "head", "do": "refuse"})
    gone = findings(code=1)[NAME, "latency_s"]
    assert gone["verdict"] == "vanished"
    assert "unknown selector 'new'" in gone["reason"]
    stand_ins.plan({"side": "base", "do": "refuse"})
    new = findings(code=0)[NAME, "latency_s"]
    assert new["verdict"] == "new"
    stand_ins.plan({"do": "refuse"})
    result = run()
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nothing was measured" in result.stderr
    assert "unknown selector 'new'" in result.stderr


def test_what_neither_side_measures_has_not_passed(stand_ins):
    stand_ins.plan({"do": "refuse", "model": "vit"}, *SAME)
    found = findings("--models", "glsim", code=0)
    assert found["vit fast 64", "latency_s"]["verdict"] == "inconclusive"
    assert "neither side measures it: refused: " in found["vit fast 64", "latency_s"]["reason"]
    assert found["glsim fast test_vit 64 batch 1", "latency_s"]["verdict"] == "same"
    assert run("--models", "glsim", "--strict").exit_code == 3
    oom = {"batch": 2, "row": {"status": "oom", "reason": "out of memory", "latency_s": None}}
    stand_ins.plan(oom, *SAME)
    found = findings("--batch-sizes", "2", "--again", code=0)
    assert found["vit fast test_vit 64 batch 2", "latency_s"]["verdict"] == "inconclusive"


def test_ctrl_c_before_anything_is_finished_is_no_failure_to_measure(stand_ins):
    stand_ins.plan({"side": "base", "runs": [1], "do": "interrupt"})
    result = run()
    assert (result.exit_code, result.stdout) == (130, "")


@pytest.mark.parametrize(
    ("memory", "torch", "code", "verdict"),
    [
        (4000, "2.9", 0, "same"),
        (4500, "2.9", 1, "larger"),
        (3500, "2.9", 0, "smaller"),
        (4500, "2.8", 0, "re-baseline"),
    ],
)
def test_allocated_memory_of_both_sides(stand_ins, memory, torch, code, verdict):
    def row(mebibytes: int, torch: str) -> dict:
        environment = {"device_name": "NVIDIA H200", "torch": torch}
        return {"peak_memory_allocated_bytes": mebibytes * 2**20, "environment": environment, "latency_s": 1.0}

    stand_ins.plan({"side": "base", "row": row(4000, "2.9")}, {"side": "head", "row": row(memory, torch)})
    found = findings(code=code)
    assert found[NAME, "latency_s"]["verdict"] == "same"
    assert found[NAME, "peak_memory_allocated_bytes"]["verdict"] == verdict


def test_a_self_test_says_how_often_this_machine_cries_wolf(stand_ins, monkeypatch):
    monkeypatch.setattr(paired, "SUITES", 50)
    plan = [{"runs": [at], "row": {"latency_s": 1.0 + 0.002 * (at % 3)}} for at in range(1, 30)]
    stand_ins.plan(*plan)
    result = run("--a-a", sides=())
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "Self-test: 0 false alarms in 1 point that did not change." in text
    assert "50 simulated suites of 200 points whose processes deviate as these did: 0 % have a false alarm" in text
    assert {side for side, *_ in stand_ins.runs} == {"head"}
    assert len(stand_ins.runs) == 14


def test_ctrl_c_shows_and_keeps_what_is_finished(stand_ins):
    stand_ins.plan(*SAME, {"side": "head", "runs": [2], "do": "interrupt"})
    result = run("--junit", "junit.xml")
    assert result.exit_code == 130
    assert "interrupted; finished pairs are kept" in result.stderr
    assert "vit fast test_vit 64 batch 1" in (stand_ins.folder / "junit.xml").read_text()
    stand_ins.plan(*SAME)
    assert "1 pair had been measured before" in run().stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--base", "main", "--base-python", "x"), "revisions and environments are not compared with each other"),
        (("--a-a", "--base", "main"), "--a-a compares the head with itself"),
        (("--head", "main"), "there is a head and nothing to compare it with"),
        (("--base", "main", "--threads", "0"), "number of threads must be at least 1"),
        (("--base", "main", "--dtype", "float8"), "float8"),
        (("--base", "main", "--max-time", "soon"), "soon"),
    ],
)
def test_sides_that_make_no_sense_are_one_line(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["regress", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
