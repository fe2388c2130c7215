"""``fgbench throughput`` as it is typed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.worker_pool import FAULTY
from sweep.test_faults import descendants
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.results.records import ThroughputRow, saved_fields
from fgbench.workers import pool as pools

TINY = ["--backbones", "test_vit", "--sizes", "64", "--threads", "1", "--max-time", "0.1s", "--device", "cpu"]
FIELDS = [*(name for name in saved_fields(ThroughputRow) if name != "repeat"), "kind", "schema_version"]


@pytest.fixture
def run(borrowed, tmp_path, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        return CliRunner().invoke(app, ["throughput", *words])

    return run


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Run what must be refused before anything is started."""

    class Nobody:
        def __init__(self) -> None:
            raise AssertionError("a process was started for a request that is wrong on its face")

    monkeypatch.setattr(pools, "WorkerPool", Nobody)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["throughput", *words])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("fgbench: ")
        assert result.stderr.count("\n") == 1
        assert not list(tmp_path.iterdir()), "a store was made for it"
        return result.stderr

    return run


def test_json_is_alone_on_standard_output_and_has_the_contracts_fields(run):
    result = run("--model", "glsim", *TINY, "--batch-sizes", "1", "2", "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert [list(row) for row in rows] == [FIELDS] * 2
    assert [row["batch_size"] for row in rows] == [1, 2]
    assert sum(row["best"] for row in rows) == 1
    assert "glsim gls fast test_vit at 64 float32 batch 2: " in result.stderr


@pytest.mark.parametrize(
    "typed", [["--model", "vit", "glsim"], ["--models", "vit,glsim"], ["--model", "vit", "--models", "glsim"]]
)
def test_models_are_taken_in_every_habit(run, typed):
    result = run(*typed, *TINY, "--batch-sizes", "1", "--format", "json")
    assert [row["model"] for row in json.loads(result.stdout)] == ["vit", "glsim"]


def test_the_table_marks_the_best_and_the_store_is_where_it_is_said_to_be(run, tmp_path):
    result = run("--model", "vit", *TINY, "--batch-sizes", "1", "2")
    assert result.exit_code == 0
    assert "*" in result.stdout
    assert "img/s" in result.stdout
    assert (tmp_path / "fgbench.db").exists()
    again = run("--model", "vit", *TINY, "--batch-sizes", "1", "2")
    assert again.stdout == result.stdout
    assert "2 of 2 points were in fgbench.db already; --again measures them once more" in again.stderr


def test_the_store_can_be_named_in_the_environment(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_STORE", str(tmp_path / "mine.db"))
    run("--model", "vit", *TINY, "--batch-sizes", "1")
    assert (tmp_path / "mine.db").exists()
    assert not (tmp_path / "fgbench.db").exists()


@pytest.mark.parametrize(("name", "starts"), [("a.csv", "model,selector"), ("a.md", "| model"), ("a.tex", "% needs ")])
def test_a_file_gets_the_format_of_its_suffix(run, tmp_path, name, starts):
    result = run("--model", "vit", *TINY, "--batch-sizes", "1", "--output", name)
    assert (result.exit_code, result.stdout) == (0, "")
    text = (tmp_path / name).read_text()
    assert text.startswith(starts)
    if name == "a.csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert json.loads(row["environment"])["threads"] == 1
        assert len(json.loads(row["blocks"])) >= 3


def test_the_default_grid_of_a_cpu_says_what_the_full_one_is(run):
    result = run(
        "--model", "vit", "--backbones", "test_vit", "--threads", "1", "--max-time", "0.1s", "--format", "json"
    )
    rows = json.loads(result.stdout)
    if rows[0]["device"] == "cuda":
        pytest.skip("a CUDA device is there")
    assert [(row["image_size"], row["batch_size"]) for row in rows] == [(224, 1), (224, 2), (224, 4), (224, 8)]
    assert "--sizes 224 448 768 1024 --batch-sizes 1 2 4 8 16 32 64 128 256 is the full one" in result.stderr


def test_the_self_test_measures_everything_twice_and_prints_the_spread(run):
    result = run("--model", "vit", *TINY, "--batch-sizes", "1", "2", "--a-a")
    assert result.exit_code == 0
    assert "points within 1 %" in result.stdout
    rows = json.loads(run("--model", "vit", *TINY, "--batch-sizes", "1", "2", "--a-a", "--format", "json").stdout)
    assert [(row["batch_size"], row["repeat"]) for row in rows] == [(1, 1), (2, 1), (1, 2), (2, 2)]


def test_a_budget_says_what_it_left_out_and_how_to_have_it(run):
    result = run("--model", "vit", *TINY, "--batch-sizes", "1", "2", "--budget", "0.000001s")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2 of 2 points are left out: vit test_vit at 64 float32: batch 1 2" in result.stderr
    assert "the same command without --budget measures them" in result.stderr


def test_each_load_is_a_mode_of_its_own(run):
    words = ["--model", "vit", *TINY, "--batch-sizes", "1", "--concurrency", "1", "2", "--rate", "1000000/s", "--tail"]
    result = run(*words, "--format", "json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    loads = [(row["environment"]["concurrency"], row["environment"]["rate_per_s"]) for row in rows]
    assert loads == [(1, 1e6), (2, 1e6)]
    assert {row["status"] for row in rows} == {"unconverged"}
    assert {row["throughput_img_s"] for row in rows} == {row["latency_s"] for row in rows} == {None}
    assert (
        "vit test_vit at 64 float32 2 at once 1e+06/s batch 1: unconverged, the queue grows: 1e+06/s" in result.stderr
    )


def test_a_stored_point_is_measured_again_where_its_tail_is_wanted(run):
    words = ["--model", "vit", *TINY, "--batch-sizes", "1", "--format", "json"]
    (plain,) = json.loads(run(*words).stdout)
    assert plain["latency_p99_s"] is None
    assert plain["environment"]["missing"]["latency_p99_s"].endswith("--tail takes more")
    (tail,) = json.loads(run(*words, "--tail").stdout)
    assert tail["environment"]["seen"]["percentiles"]["asked_for"] == 368
    assert "1 of 1 points were in" in run(*words, "--tail").stderr  # a longer --max-time is another point


def test_a_worker_that_dies_is_in_the_table_with_its_reason(run):
    words = ["--model", "glsim", *TINY, "--batch-sizes", "1", "2", "--selectors", "killed", "--plugin", str(FAULTY)]
    result = run(*words)
    assert result.exit_code == 0
    assert "crashed" in result.stdout
    assert "SIGKILL" in result.stdout


def test_where_no_point_has_a_result_the_exit_code_says_so(run):
    words = ["--model", "glsim", *TINY, "--batch-sizes", "2", "--selectors", "killed", "--plugin", str(FAULTY)]
    result = run(*words)
    assert result.exit_code == 3
    assert result.stderr.endswith("fgbench: no point could be measured; their reasons are above\n")


def test_an_empty_result_is_an_empty_list(run):
    result = run("--model", "vit", *TINY, "--batch-sizes", "1", "--budget", "0.000001s", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_a_self_test_measures_every_time(run):
    words = ["--model", "vit", *TINY, "--batch-sizes", "1", "--a-a", "--format", "json"]
    first, second = (json.loads(run(*words).stdout) for _ in range(2))
    assert first[0]["blocks"] != second[0]["blocks"]


def test_a_misfit_is_named_the_rest_is_measured_and_the_exit_code_tells(run):
    result = run("--model", "vit", "glsim", *TINY, "--batch-sizes", "1", "--selectors", "gls", "--format", "json")
    assert result.exit_code == 2
    assert [row["model"] for row in json.loads(result.stdout)] == ["glsim"]
    assert "fgbench: this model has no selector: 'vit'; leave --selectors out" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch-sizes", "0"], "batch size must be at least 1, got 0"),
        (["--batch-sizes", "-4"], "batch size must be at least 1, got -4"),
        (["--batch-sizes", "2.5"], "batch size must be a whole number, got '2.5'"),
        (["--dtype", "float8"], "unknown dtype 'float8'"),
        (["--dtype", "fp16"], "unknown dtype 'fp16'; did you mean"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--budget", "soon"], "--budget must be a time, got 'soon'; for example 90s, 10m or 1h30m"),
        (["--budget", "10"], "--budget must be a time, got '10'"),
        (["--budget", "0s"], "--budget must be a time"),
        (["--budget=-5m"], "--budget must be a time"),
        (["--timeout", "never"], "--timeout must be a time, got 'never'"),
        (["--memory-limit", "99999999999T"], "--memory-limit must be at most 1000 TB"),
        (["--memory-limit", "much"], "--memory-limit must be an amount of memory, got 'much'; for example 8GB"),
        (["--repeat", "0"], "number of repeats must be at least 1"),
        (["--a-a", "--repeat", "5"], "--a-a measures everything twice"),
        (["--threads", "none"], "number of threads must be a whole number"),
        (["--sizes", "0"], "image size must be at least 1"),
        (["--impl", "slow"], "unknown impl 'slow'"),
        (["--compile", "--cuda-graph"], "each is a mode of its own"),
        (["--num-classes", "0"], "number of classes must be at least 1"),
        (["--format", "yaml"], "unknown format 'yaml'"),
        (["--output", "no/such/folder/a.json"], "no/such/folder"),
        (["--model"], "model"),
    ],
)
def test_bad_input_is_one_line_before_anything_starts(refused, words, said):
    assert said in refused(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "glsimm"], "unknown model 'glsimm'; did you mean glsim"),
        (["--model", "tpskg"], "the model cannot be reproduced yet: 'tpskg'"),
        (["--model", "vit", "--sizes", "8"], "8"),
        (["--model", "vit", "--backbones", "vit_huge"], "unknown backbone 'vit_huge'"),
        (["--model", "glsim", "--selectors", "gsl"], "unknown selector 'gsl'; did you mean gls"),
        (["--model", "vit", "--device", "cuda"], "cannot measure on cuda"),
        (["--model", "vit", "--device", "cpu", "--dtype", "tf32"], "only CUDA devices have 'tf32'"),
        (["--model", "vit", "--device", "cpu", "--cuda-graph"], "CUDA graphs run on CUDA devices"),
    ],
)
def test_what_only_torch_knows_to_be_wrong_is_one_line_as_well(run, words, said):
    import torch

    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    last = result.stderr.splitlines()
    assert len(last) == 1, last
    assert last[0].startswith("fgbench: ")
    assert said in last[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no database at all, but long enough for one" * 9, "it is no SQLite database"), (None, "folder")],
)
def test_a_store_that_is_none_is_one_line_and_stays_as_it_is(refused, run, tmp_path, content, said):
    store = tmp_path / "s.db"
    store.mkdir() if content is None else store.write_bytes(content)
    result = CliRunner().invoke(app, ["throughput", "--model", "vit", "--store", str(store)])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert content is None or store.read_bytes() == content


def end_of(child: subprocess.Popen[str]) -> tuple[str, str]:
    """What it says to the end; one that does not end keeps the device from no other test."""
    try:
        return child.communicate(timeout=600)
    finally:
        child.kill()


def has_loaded_torch(process: int) -> bool:
    """At least the first of its libraries."""
    try:
        return "libtorch" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_says_so(tmp_path):
    words = [sys.executable, "-m", "fgbench", "throughput", "--model", "glsim", *TINY, "--format", "json"]
    words += ["--batch-sizes", "1", "2", "--selectors", "sleeps", "--plugin", str(FAULTY), "--store", "s.db"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    first = child.stderr.readline()
    assert "batch 1: " in first
    time.sleep(0.5)
    os.kill(child.pid, signal.SIGINT)
    out, err = end_of(child)
    assert child.returncode == 130
    assert [row["batch_size"] for row in json.loads(out)] == [1]
    assert err == "fgbench: interrupted; 1 of 2 points are in s.db, start again for the others\n"


@pytest.mark.slow
def test_ctrl_c_while_torch_is_loaded_is_one_line(tmp_path):
    words = [sys.executable, "-m", "fgbench", "throughput", "--model", "vit", *TINY]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not any(has_loaded_torch(process) for process in descendants(child.pid)):
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGINT)
    out, err = end_of(child)
    assert (child.returncode, out, err) == (130, "", "fgbench: interrupted\n")


@pytest.mark.slow
def test_a_full_disk_in_the_middle_shows_what_was_measured_and_keeps_what_is_stored(run, tmp_path, monkeypatch):
    """SQLite's own limit on pages stands in for the disk's: the error is the same."""
    from fgbench.results import store

    opened = store.Store.__init__

    def small(self, *args, **options) -> None:
        opened(self, *args, **options)
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count = {pages + 2}")

    monkeypatch.setattr(store.Store, "__init__", small)
    batches = [str(size) for size in range(1, 9)]
    result = run("--model", "vit", *TINY, "--batch-sizes", *batches, "--format", "json")
    assert result.exit_code == 3
    shown = json.loads(result.stdout)
    assert 1 <= len(shown) < 8
    assert "the disk is full; make room and start again: finished points are kept" in result.stderr.splitlines()[-1]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with store.Store(tmp_path / "fgbench.db") as kept:
        assert len(list(kept.rows("throughput"))) in (len(shown) - 1, len(shown))
