"""Rows in Parquet files: read back as they were, and typed for other programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.results import parquet as module
from fgbench.results.export import exported
from fgbench.results.files import rows_of
from fgbench.results.parquet import read_parquet, to_parquet
from fgbench.results.records import KINDS

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
SWEEP = GALLERY / "throughput" / "cpu.json"
FILES = sorted(GALLERY.glob("[!r]*/*.json"))


@pytest.fixture(scope="module")
def rows():
    return [row for file in FILES for row in rows_of(file, pytest.fail)]


@pytest.fixture(scope="module")
def timed():
    return rows_of(SWEEP, pytest.fail)[:20]


def fgbench(*words: object):
    return CliRunner().invoke(app, ["export", *map(str, words)], env={"FGBENCH_STORE": ""})


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_read_back_as_they_were(kind, rows, tmp_path, monkeypatch):
    chosen = [row for row in rows if row.kind == kind]
    if not chosen:
        pytest.skip("the gallery has no rows of this kind")
    monkeypatch.setattr(module, "PART", 7)  # several parts
    file = tmp_path / "rows.parquet"
    file.write_bytes(to_parquet([exported(row) for row in chosen]))
    assert list(map(exported, rows_of(file, pytest.fail))) == list(map(exported, chosen))


def test_sizes_that_are_no_squares_and_numbers_of_all_lengths_are_kept(timed, tmp_path):
    made = [
        replace(timed[0], image_size="224x448", latency_s=1e-300, peak_memory_allocated_bytes=1e15),
        replace(timed[0], image_size=224, batch_size=2**62, reason='a "reason"\n→ ünïcödé', agreement=None),
    ]
    file = tmp_path / "rows.parquet"
    file.write_bytes(to_parquet([exported(row) for row in made]))
    assert list(map(exported, rows_of(file, pytest.fail))) == list(map(exported, made))


def test_numbers_are_numbers_and_objects_are_json(timed, tmp_path):
    file = tmp_path / "rows.parquet"
    file.write_bytes(to_parquet([exported(row) for row in timed]))
    table = pyarrow.parquet.read_table(file)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["image_size"], types["latency_s"], types["best"], types["model"]) == (
        *("int64", "double", "bool", "string"),
    )
    environments = [json.loads(text) for text in table.column("environment").to_pylist()]
    assert environments == [row.environment for row in timed]


def test_the_command_writes_and_reads_a_file(tmp_path):
    source, file, back = SWEEP, tmp_path / "a.parquet", tmp_path / "b.json"
    assert fgbench("throughput", "--rows", source, "--output", file).exit_code == 0
    assert fgbench("--rows", file, "--output", back).exit_code == 0
    assert back.read_text() == fgbench("throughput", "--rows", source).stdout
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(file.read_bytes()[:-200])
    result = fgbench("--rows", cut)
    assert result.exit_code == 2
    assert "it is no whole Parquet file" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["throughput", "--format", "parquet"], "Parquet is no text; name a file with '--output'"),
        (["--output", "rows.parquet"], "a Parquet file holds rows of one kind, and there are"),
        (["throughput", "--output", "rows.parquet", "--by-section"], "--by-section is for JSON"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line(words, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = fgbench(*words, "--rows", *FILES)
    assert result.exit_code == 2
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_half_of_a_character_is_refused_in_a_line(timed):
    with pytest.raises(Exception, match=r"field 'reason' has half of a character, which Parquet cannot hold"):
        to_parquet([exported(replace(timed[0], reason="\ud800"))])


def test_a_file_of_another_program_is_refused(tmp_path):
    file = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), file)
    assert list(read_parquet(file)) == [{"a": 1}]
    result = fgbench("--rows", file)
    assert result.exit_code == 2
    assert "row 1 is of no kind that is known" in result.stderr


def test_without_pyarrow_the_extra_is_named(monkeypatch, tmp_path):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    result = fgbench("--rows", FILES[0], "--output", tmp_path / "rows.parquet")
    assert result.exit_code == 2
    assert "pyarrow is not installed: pip install 'fgbench[parquet]'" in result.stderr
