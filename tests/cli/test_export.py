"""``fgbench export``: rows of a store and of files, and that they are read back as they were."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from helpers.throughput_rows import GPU, ROWS, row
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.cli.commands.export import KINDS
from fgbench.cli.saved import read_data
from fgbench.results.files import rows_of, rows_of_store
from fgbench.results.records import RECORDS
from fgbench.results.store import Store
from fgbench_reports.tables.render import to_json

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
FILES = sorted(map(str, GALLERY.glob("[!r]*/*.json")))


def fgbench(*words: str):
    return CliRunner().invoke(app, ["export", *words], env={"FGBENCH_STORE": ""})


@pytest.fixture
def store(tmp_path) -> str:
    path = tmp_path / "s.db"
    with Store(path) as kept:
        for number, row in enumerate(ROWS):
            fields = {name: value for name, value in dict(row).items() if name != "environment"}
            kept.add("throughput", str(number), fields, row["environment"] or {})
    return str(path)


def test_rows_of_a_store_are_read_back_as_they_were(store, tmp_path):
    for name in ("rows.json", "rows.csv"):
        file = tmp_path / name
        result = fgbench("--store", store, "--output", str(file))
        assert result.exit_code == 0, result.stderr
        assert read_data(None, [file], pytest.fail).throughput == read_data(Path(store), [], pytest.fail).throughput


@pytest.mark.parametrize("shape", [[], ["--by-section"]])
def test_every_kind_of_the_gallery_is_read_back(tmp_path, shape):
    file = tmp_path / "all.json"
    result = fgbench("--rows", *FILES, "--output", str(file), *shape)
    assert result.exit_code == 0, result.stderr
    before = read_data(None, [Path(name) for name in FILES], pytest.fail)
    after = read_data(None, [file], pytest.fail)
    for kind in ("flops", "throughput", "accuracy", "selection_quality", "selection", "backend"):
        assert len(after.of_kind(kind)) == len(before.of_kind(kind)) > 0
        for one, other in zip(before.of_kind(kind), after.of_kind(kind), strict=True):
            assert one.as_dict() == other.as_dict()


def test_the_environment_that_rows_share_is_written_once(tmp_path):
    file = tmp_path / "all.json"
    fgbench("flops", "--rows", *FILES, "--by-section", "--output", str(file))
    written = json.loads(file.read_text())
    assert list(written) == ["schema_version", "environment", "flops"]
    assert written["environment"]["torch"]
    assert sum(row["environment"] is None for row in written["flops"]) > len(written["flops"]) / 2
    assert len(file.read_text().splitlines()) == len(written["flops"]) + 6, "a row takes a line"


def test_a_row_without_an_environment_does_not_get_that_of_the_others(tmp_path):
    rows = [row(batch=1), row(batch=2), row(batch=4, environment={})]
    (tmp_path / "rows.json").write_text(to_json(rows))
    file = tmp_path / "all.json"
    fgbench("throughput", "--rows", str(tmp_path / "rows.json"), "--by-section", "--output", str(file))
    read = {one.batch_size: one.environment for one in rows_of(file, lambda _: None)}
    assert read == {1: GPU, 2: GPU, 4: {}}


def test_every_kind_of_rows_is_exported():
    assert set(KINDS) == set(RECORDS)


def test_kinds_and_models_are_chosen(tmp_path):
    rows = json.loads(fgbench("throughput", "flops", "--models", "glsim", "--rows", *FILES).stdout)
    assert {(row["kind"], row["model"]) for row in rows} == {("throughput", "glsim"), ("flops", "glsim")}
    assert [row["kind"] for row in rows] == sorted((row["kind"] for row in rows), reverse=True)


def test_the_newest_row_of_a_point_is_exported_with_the_best_batch_marked(store):
    rows = json.loads(fgbench("--store", store).stdout)
    assert len(rows) == len(rows_of_store(Path(store)))
    assert any(row["best"] for row in rows)


def test_csv_has_a_line_per_row(store):
    result = fgbench("--store", store, "--format", "csv")
    lines = list(csv.DictReader(result.stdout.splitlines()))
    assert len(lines) == len(ROWS)
    assert list(lines[0])[-2:] == ["kind", "schema_version"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["flopz"], "did you mean flops"),
        (["--format", "markdown"], "unknown format 'markdown'"),
        (["--output", "rows.md"], "unknown format 'markdown'"),
        (["--format", "csv", "--rows", *FILES], "a CSV file holds rows of one kind, and there are 8"),
        (["--format", "csv", "--by-section", "--rows", FILES[0]], "--by-section is for JSON"),
        (["--models", "nobody", "--rows", FILES[0]], "there are no rows of any kind of model nobody in"),
        (["throughput", "--rows", str(GALLERY / "flops" / "counted.json")], "there are no rows of throughput in"),
        (["--store", "nowhere.db"], "nowhere.db"),
    ],
)
def test_bad_input_is_refused_in_a_line(words, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = fgbench(*words)
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert why in line
    assert not result.stdout


def test_without_a_store_it_says_what_to_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no store to export; name one with --store" in fgbench().stderr


def test_files_of_one_kind_are_joined(tmp_path, store):
    first, second = tmp_path / "first.json", tmp_path / "second.csv"
    fgbench("--store", store, "--output", str(first))
    fgbench("--store", store, "--output", str(second))
    joined = json.loads(fgbench("--rows", str(first), str(second)).stdout)
    assert len(joined) == len(rows_of(first, pytest.fail)), "each row once"
