"""pytest-benchmark reads what was written: its own statistics, its own comparison."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pytest
from helpers.regression_outcomes import EMPTY, EXAMPLE, HOSTILE_OUTCOME, counted, of, timed
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark import cli
from pytest_benchmark.stats import Stats
from pytest_benchmark.utils import ALLOWED_COLUMNS

from fgbench_reports.regression.benchmark_json import round_statistics, to_benchmark_json
from fgbench_reports.regression.findings import CHANGED, FASTER, NEW, SAME, SLOWER, Outcome

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30)


@given(st.one_of(TIMES, st.lists(st.sampled_from([1.0, 1.5, 2.0, 40.0]), min_size=1, max_size=30)))
def test_statistics_are_those_of_pytest_benchmark(seconds):
    reference = Stats()
    for value in seconds:
        reference.update(value)
    assert round_statistics(seconds) == reference.as_dict()
    assert list(round_statistics(seconds)) == list(reference.as_dict())


def test_nothing_has_no_statistics():
    with pytest.raises(ValueError, match="no seconds were measured"):
        round_statistics([])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two documents with the same benchmarks, in the working directory."""
    monkeypatch.chdir(tmp_path)
    other = Outcome(findings=[timed(each.point, SAME, 0.1) for each in EXAMPLE.findings if each.check == "time"])
    (tmp_path / "head.json").write_text(to_benchmark_json(EXAMPLE), encoding="utf-8")
    (tmp_path / "other.json").write_text(to_benchmark_json(other), encoding="utf-8")
    return ["head.json", "other.json"]


@pytest.fixture
def compare(monkeypatch, capsys):
    """``pytest-benchmark compare`` with these words; what it printed."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["pytest-benchmark", "--storage", "file://kept", "compare", *words])
        cli.main()
        printed = capsys.readouterr()
        assert "Failed" not in printed.err
        return printed.out

    return run


def test_the_program_compares_two_files(files):
    command = [sys.executable, "-m", "pytest_benchmark", "compare", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "benchmark 'fgbench.time': 16 tests" in done.stdout
    assert "latency_s[glsim gls fast vit_base_patch16_224 224 batch 4] (head)" in done.stdout
    assert "latency_s[glsim gls fast vit_base_patch16_224 224 batch 4] (other)" in done.stdout


@pytest.mark.parametrize("column", ALLOWED_COLUMNS)
def test_it_has_every_column(files, compare, column):
    assert compare(files[0], "--columns", column).count("latency_s[") == 8


@pytest.mark.parametrize(
    ("grouping", "groups"),
    [
        ("group", ["'fgbench.time'"]),
        ("func", ["'latency_s'"]),
        ("fullfunc", ["'fgbench.time::latency_s'"]),
        ("param:batch_size", ["'batch_size=1'", "'batch_size=16'", "'batch_size=4'", "'batch_size=8'"]),
        ("name", ["'latency_s[cal vit_base_patch16_224 224 batch 1]'"]),
        ("fullname", ["'fgbench.time::latency_s[cal vit_base_patch16_224 224 batch 1]'"]),
        ("param", ["'cal vit_base_patch16_224 224 batch 1'"]),
        ("group,param:figure", ["'fgbench.time figure=latency_s'"]),
    ],
)
def test_it_groups_by_everything(files, compare, grouping, groups):
    printed = compare(*files, "--group-by", grouping)
    for group in groups:
        assert f"benchmark {group}: " in printed


@pytest.mark.parametrize("order", ["min", "max", "mean", "stddev", "name", "fullname"])
def test_it_sorts_by_everything(files, compare, order):
    assert compare(files[0], "--sort", order).count("latency_s[") == 8


def test_it_writes_all_columns_as_csv(files, compare, tmp_path):
    compare(files[0], "--csv", "out.csv", "--columns", ",".join(ALLOWED_COLUMNS))
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    (row,) = [row for row in rows if "glsim gls fast" in row["name"]]
    assert float(row["median"]) == pytest.approx(0.0342 * 1.051)
    assert (row["rounds"], row["iterations"], row["param:batch_size"]) == ("7", "1", "4")


def test_it_tells_what_is_between_two_files(files, compare):
    assert compare(*files, "--between", "median").count("%") == 8


def test_hostile_names_are_read_and_stay_on_their_lines(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.json").write_text(to_benchmark_json(HOSTILE_OUTCOME), encoding="utf-8")
    printed = compare("hostile.json")
    lines = [line for line in printed.splitlines() if line.startswith("latency_s[")]
    assert len(lines) == 3
    assert all("=1+1|_a_&amp;[red]<b>*" in line for line in lines)


def document(outcome: Outcome) -> dict:
    return json.loads(to_benchmark_json(outcome))


def test_what_was_compared_is_in_the_extra_info():
    (benchmark,) = document(Outcome(findings=[timed("p", SLOWER, 0.051, reason="why")]))["benchmarks"]
    told = benchmark["extra_info"]
    assert (told["before"], told["change"], told["verdict"], told["reason"]) == (0.0342, 0.051, "slower", "why")
    assert told["before_data"] == timed("p", SLOWER, 0.051).before_samples
    assert benchmark["stats"]["data"] == timed("p", SLOWER, 0.051).after_samples


def test_only_what_was_timed_is_there():
    without = [of(CHANGED), counted("x", NEW, None, 5), timed("gone", SAME, 0, after_samples=())]
    findings = [*without, timed("there", FASTER, -0.1)]
    assert [each["param"] for each in document(Outcome(findings=findings))["benchmarks"]] == ["there"]


def test_names_are_there_once():
    benchmarks = document(Outcome(findings=[timed("a\nb", SAME, 0), timed("a b", SAME, 0)]))["benchmarks"]
    assert [each["name"] for each in benchmarks] == ["latency_s[a b]", "latency_s[a b] (2)"]
    assert len({each["fullname"] for each in benchmarks}) == 2


def test_commit_and_date_come_from_the_facts():
    told = document(EXAMPLE)
    assert told["datetime"] == "2026-03-01T12:00:00+00:00"
    assert told["commit_info"]["id"] == "1a2b3c4d5e6f"
    assert told["commit_info"]["dirty"] is True
    assert told["commit_info"]["branch"] == "leaner-psm"
    assert told["machine_info"]["cpu"] == {"brand_raw": "Intel Xeon 8481C"}
    assert told["machine_info"]["fgbench"]["settings"] == {"OMP_PROC_BIND": "true"}


def test_without_facts_there_are_values_that_its_readers_take():
    told = document(EMPTY)
    assert (told["datetime"], told["commit_info"]["id"], told["benchmarks"]) == (None, "unknown", [])
    assert set(told) == {"machine_info", "commit_info", "benchmarks", "datetime", "version"}


def test_what_is_no_number_is_null():
    finding = timed("p", SLOWER, math.nan, before=math.inf, after_samples=[0.1, math.nan, 0.2])
    (benchmark,) = document(Outcome(findings=[finding], facts={"x": [math.inf, {"y": object}]}))["benchmarks"]
    assert benchmark["extra_info"]["before"] is None
    assert benchmark["stats"]["data"] == [0.1, 0.2]
