"""Studies that are really run, in processes of their own: planned, timed, trained, killed, resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.results.records import AccuracyRow, StudyRow
from fgbench.results.store import Store

pytestmark = pytest.mark.slow
PLAIN = """
title = "Two models"
[recipe]
epochs = 2
[[condition]]
name = "plain"
model = "vit"
"""
STUDY = f"""{PLAIN}
[[condition]]
name = "crops"
model = "glsim"
options = {{ top_k = 2 }}
against = "plain"
[[condition]]
name = "crops of three"
model = "glsim"
options = {{ top_k = 3 }}
against = "plain"
"""
TINY = ["--dataset-options", "classes=3", "train_images=24", "test_images=12", "side=32"]
WORDS = [*TINY, "--backbone", "test_vit", "--sizes", "32", "--device", "cpu"]
STORE = ["--store", "fgbench.db"]  # whatever the environment says
VARIES = ("seconds", "test_img_s", "environment", "checkpoint")


def figures(store: Path) -> dict[str, list[dict]]:
    """What a store has of runs and studies, but for times."""
    with Store(store, read_only=True) as opened:
        rows = {kind: list(opened.rows(kind)) for kind in (AccuracyRow.kind, StudyRow.kind)}
    return {
        kind: sorted(({name: row[name] for name in row if name not in VARIES} for row in found), key=json.dumps)
        for kind, found in rows.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "two.toml").write_text(STUDY)
    (folder / "one.toml").write_text(PLAIN)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.chdir(folder)
    return lambda *words: CliRunner().invoke(app, ["study", *words, *WORDS])


@pytest.fixture(scope="module")
def finished(folder):
    """The study, run once, two runs at a time."""
    words = [sys.executable, "-m", "fgbench", "study", "two.toml", *WORDS, *STORE, "--seeds", "1", "2", "--jobs", "2"]
    done = subprocess.run([*words, "--format", "json"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_every_condition_is_trained_with_every_seed(finished, folder):
    rows, told = finished
    runs = [row for row in rows if row["kind"] == "accuracy"]
    places = [row for row in rows if row["kind"] == "study"]
    assert [(row["condition"], row["seed"]) for row in places] == [
        (name, seed) for name in ("plain", "crops", "crops of three") for seed in (1, 2)
    ]
    assert [row["run"] for row in runs] == [row["run"] for row in places]
    assert [(row["model"], row["recipe"].get("top_k"), row["epochs"]) for row in runs[::2]] == [
        ("vit", None, 2),
        ("glsim", 2, 2),
        ("glsim", 3, 2),
    ]
    assert [row["against"] for row in places[::2]] == [None, "plain", "plain"]
    assert {row["title"] for row in places} == {"Two models"}
    plain, crops = (next(row for row in places if row["condition"] == name) for name in ("plain", "crops"))
    assert 1.5 < crops["flops"] / plain["flops"] < 2.5
    assert all((folder / row["checkpoint"]).is_file() for row in runs)
    assert "6 of 6 runs" in told


def test_what_is_finished_is_not_trained_again_and_the_rows_are_the_same(finished, run):
    result = run("two.toml", "--seeds", "1", "2", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == finished[0]
    assert "6 of 6 runs were in fgbench.db already" in result.stderr
    assert ": epoch " not in result.stderr


def test_a_plan_says_how_many_runs_are_left_and_how_long_they_take(finished, run):
    result = run("two.toml", "--seeds", "1", "2", "3", "--dry-run", "--hour-price", "2", "--format", "json")
    assert result.exit_code == 0, result.stderr
    *conditions, total = json.loads(result.stdout)
    assert [(row["condition"], row["runs"], row["finished"]) for row in conditions] == [
        (name, 3, 2) for name in ("plain", "crops", "crops of three")
    ]
    assert all(0 < row["seconds"] == row["seconds_per_run"] < 300 for row in conditions)
    assert (total["runs"], total["finished"]) == (9, 6)
    assert total["seconds"] > sum(row["seconds"] for row in conditions)  # and planning
    assert total["price"] == pytest.approx(2 * total["seconds"] / 3600)
    assert total["disk_bytes"] > 0
    with Store(Path("fgbench.db"), read_only=True) as store:
        assert len(list(store.rows("accuracy"))) == 6  # nothing was trained


def test_reports_read_the_store(finished, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    result = CliRunner().invoke(app, ["report", "studies", "--format", "markdown"])
    assert result.exit_code == 0, result.stderr
    assert "Two models · synthetic, 3 classes at 32" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("| crops")]
    assert len(lines) == 2
    assert "verdict" in result.stdout


def test_a_search_is_made_once_and_says_what_was_tried(run):
    result = run(
        "one.toml", "--seeds", "4", "5", "--lr", "0.001", "1e30", "--epochs", "1", "--format", "json", "--store", "s.db"
    )
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert {row["lr"] for row in rows if row["kind"] == "accuracy"} == {0.001}
    assert len(rows) == 6  # a run, its place and its predictions, of two seeds
    for row in (row for row in rows if row["kind"] == "study"):
        assert [one["lr"] for one in row["tried"]] == [0.001, 1e30]
        assert row["tried"][1]["validation_top1_percent"] is None
    with Store(Path("s.db"), read_only=True) as store:
        assert len(list(store.rows("accuracy_search"))) == 2  # of one seed


def test_a_run_that_fails_costs_itself_alone(run, tmp_path):
    Path("bad.toml").write_text(STUDY + '[[condition]]\nname = "many"\nmodel = "glsim"\noptions = { top_k = 999 }\n')
    result = run("bad.toml", "--seeds", "1")
    assert result.exit_code == 2
    assert "study bad, many: top_k must be a whole number from 1 to 4, got 999" in result.stderr
    diverging = run(
        "one.toml", "--seeds", "6", "7", "--lr", "1e30", "--format", "json", "--store", str(tmp_path / "d.db")
    )
    assert diverging.exit_code == 3
    assert diverging.stderr.count("are not finite") == 2
    assert json.loads(diverging.stdout) == []


@pytest.mark.parametrize(
    ("kills", "seeds"), [(2, ["1"]), pytest.param(10, ["1", "2"], marks=pytest.mark.thorough)], ids=["two", "ten"]
)
def test_a_study_that_is_killed_ends_with_the_rows_of_one_that_was_not(finished, folder, tmp_path, kills, seeds):
    """SIGKILL, to the process and so to those of its runs: after new files of weights, or earlier."""
    (tmp_path / "two.toml").write_text(STUDY)
    words = [sys.executable, "-m", "fgbench", "study", "two.toml", *WORDS, *STORE, "--seeds", *seeds, "--jobs", "2"]
    draw, done = random.Random(0), 0
    while True:
        process = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wanted = written(tmp_path) + draw.randrange(1, 3)
        end = time.monotonic() + (draw.uniform(1, 20) if done > 1 else 600)
        while process.poll() is None and (done == kills or (written(tmp_path) < wanted and time.monotonic() < end)):
            time.sleep(0.02)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done += 1
    assert process.returncode == 0
    assert done == kills
    whole = figures(folder / "fgbench.db")
    wanted_rows = {kind: [row for row in rows if str(row["seed"]) in seeds] for kind, rows in whole.items()}
    found = figures(tmp_path / "fgbench.db")
    assert [drop_series(row) for rows in found.values() for row in rows] == [
        drop_series(row) for rows in wanted_rows.values() for row in rows
    ]
    assert not list(tmp_path.glob("*/*/state.safetensors"))


def written(folder: Path) -> int:
    """How many files of weights and states there are, of epochs that are over."""
    return len(list(folder.glob("*/*/*.safetensors")))


def drop_series(row):
    """A row without what depends on where the study's file lies."""
    return {name: value for name, value in row.items() if name != "series"}
