"""Saved rows that are damaged or of other programs: refused in one line, and not changed."""

from __future__ import annotations

import json
import os
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from helpers.saved_rows import KEPT, RUNS, TIMED, accuracy, fill, flops, read, saved, write
from helpers.throughput_rows import GPU, row
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.errors import FgbenchError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return tmp_path


def refusal(path: Path, **more) -> str:
    """The one line; the file and its folder stay as they are."""
    before = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    with pytest.raises(FgbenchError) as error:
        read(path, **more)
    assert error.value.exit_code == 2
    line = str(error.value)
    assert "\n" not in line
    assert repr(str(path)) in line
    assert {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before
    return line


BAD = {
    "no model": ({"model": ...}, "row 2 (throughput): its field 'model' is missing"),
    "no selector": ({"selector": ...}, "its field 'selector' is missing"),
    "no status": ({"status": ...}, "its field 'status' is missing"),
    "a number as name": ({"model": 5}, "its field 'model' must be text, got 5"),
    "text as number": ({"latency_s": "fast"}, "its field 'latency_s' must be a number, got 'fast'"),
    "a flag as number": ({"batch_size": True}, "its field 'batch_size' must be a whole number, got True"),
    "half an image": ({"batch_size": 1.5}, "its field 'batch_size' must be a whole number, got 1.5"),
    "no image": ({"batch_size": 0}, "its field 'batch_size' must be at least 1, got 0"),
    "back in time": ({"latency_s": -1.0}, "its field 'latency_s' must be no negative number, got -1.0"),
    "no time": ({"latency_s": 0.0}, "its field 'latency_s' must be above 0, got 0.0"),
    "no images in a second": ({"throughput_img_s": 0}, "its field 'throughput_img_s' must be above 0, got 0.0"),
    "an interval that ends before it begins": (
        {"latency_ci95_low_s": 0.3, "latency_ci95_high_s": 0.2},
        "its field 'latency_ci95_low_s' must be at most 'latency_ci95_high_s', got 0.3 and 0.2",
    ),
    "null": ({"compiled": None}, "its field 'compiled' must be true or false, got None"),
    "NaN": ({"latency_s": float("nan")}, "its field 'latency_s' must be a finite number, got nan"),
    "Infinity": ({"throughput_img_s": float("inf")}, "its field 'throughput_img_s' must be a finite number, got inf"),
    "NaN among times": ({"blocks": [1.0, float("nan")]}, "its field 'blocks' must be a finite number, got nan"),
    "NaN below": ({"environment": {"a": [{"b": float("nan")}]}}, "its field 'environment' must hold finite numbers"),
    "NaN beside": ({"colour": float("nan")}, "its field 'colour' must hold finite numbers"),
    "huge": ({"batch_size": 10**400}, "its field 'batch_size' is too large a number"),
    "a list of words": ({"blocks": ["a"]}, "its field 'blocks' must be a number, got 'a'"),
    "no list": ({"blocks": {"a": 1}}, "its field 'blocks' must be a list, got {'a': 1}"),
    "a new status": ({"status": "fine"}, "its field 'status' must be one of ok, oom, oom_inferred"),
    "no environment": ({"environment": "H200"}, "its field 'environment' must be an object, got 'H200'"),
    "a long value": ({"status": "x" * 9999}, "..."),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_field_is_named_with_its_file_and_row(case):
    changed, words = BAD[case]
    bad = {name: value for name, value in {**row(), **changed}.items() if value is not ...}
    Path("rows.json").write_text(json.dumps([row(), bad]))
    line = refusal(Path("rows.json"))
    assert words in line
    assert len(line) < 400
    Path("kept.json").write_text(json.dumps({**KEPT, "throughput": [row(), row(), bad]}))
    assert "row 3 of 'throughput'" in refusal(Path("kept.json"))


@pytest.mark.parametrize("around", [{"environment": {"a": [float("nan")]}}, {"roof": {"bytes_per_s": float("inf")}}])
def test_what_the_rows_of_a_file_share_is_finite_too(around):
    Path("kept.json").write_text(json.dumps({**KEPT, "throughput": [row(environment=None)], **around}))
    assert "its fields 'environment' and 'roof' must hold finite numbers" in refusal(Path("kept.json"))


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (",84.31,", "'throughput_img_s' must be a number, got 'quick'"),
        (",False,ok,", "'compiled' must be true or false, got 'quick'"),
    ],
)
def test_a_bad_cell_is_named_with_its_row(cell, words):
    path = saved(TIMED, "rows.csv")
    assert cell in path.read_text()
    replaced = cell.replace("84.31", "quick").replace("False", "quick")
    path.write_text(path.read_text().replace(cell, replaced))
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [accuracy(recipe={"batch_size": "eight"})],
            "'batch_size' in its field 'recipe' must be a number, got 'eight'",
        ),
        ([accuracy(recipe={"augreg": ["strong"]})], "'augreg' in its field 'recipe' must be text"),
        ([row(environment={**GPU, "memory_limit_bytes": [8]})], "'memory_limit_bytes' in its field 'environment' must"),
        ([row(environment={**GPU, "memory_limit_bytes": -8})], "must be no negative number, got -8"),
        ([row(environment={**GPU, "macs_per_image": "many"})], "'macs_per_image' in its field 'environment' must"),
        ([row(environment={**GPU, "missing": ["mfu"]})], "'missing' in its field 'environment' must be an object"),
        ([flops() | {"environment": {"patch_stride": [12]}}], "'patch_stride' in its field 'environment' must"),
        ([accuracy(top1=1e300)], "'top1_percent' is too large a number"),
    ],
)
def test_what_reports_compute_with_is_checked_inside_objects_too(rows, words):
    assert words in refusal(saved(rows))


def test_damage_inside_a_store_is_named():
    path = fill(Path("mine.db"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE points SET content = replace(content, '\"gls\"', '7') WHERE kind = 'accuracy'")
    assert "row 1 of kind accuracy: its field 'selector' must be text, got 7" in refusal(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM points WHERE kind = 'accuracy'")
        db.execute("UPDATE points SET content = '{\"rows\": 1}' WHERE kind = 'selection_quality'")
    assert "selection_quality holds no rows" in refusal(path)


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
FOREIGN = {
    "an empty file": (b"", "it is empty"),
    "a picture": (PNG, "it is no text"),
    "other letters": ("Größe".encode("latin-1"), "it is no UTF-8 text"),
    "PowerShell's text": ("[]".encode("utf-16"), "it is no"),
    "prose": (b"Dear all,\nplease find enclosed\n", "its first line names no column"),
    "only a mark": (b"\xef\xbb\xbf", "its first line names no column"),
    "other CSV": (b"name,age\nme,5\n", "its first line names no column"),
    "semicolons": (b"model;batch_size\nvit;1\n", "its first line names no column"),
    "another array": (b'[{"name": "me"}]', "row 1 is of no kind that is known"),
    "an array of numbers": (b"[1, 2]", "row 1 is of no kind that is known"),
    "another object": (b'{"name": "me"}', "without 'schema_version' and rows"),
    "another versioned object": (b'{"schema_version": 1}', "without 'schema_version' and rows"),
    "a newer file": (b'{"schema_version": 2, "flops": []}', "its schema_version is 2, this fgbench knows 1"),
    "a version in words": (b'{"schema_version": "1", "flops": []}', "without 'schema_version'"),
    "a section that is none": (b'{"schema_version": 1, "flops": {}, "accuracy": 5}', "'accuracy' must be a list"),
    "rows that are none": (b'{"schema_version": 1, "flops": [5]}', "row 1 of 'flops': it must be an object, got 5"),
    "an environment that is none": (b'{"schema_version": 1, "environment": 5, "flops": []}', "must be objects"),
    "a deep array": (b"[" * 100_000, "it is nested deeper than 100 levels"),
    "a long number": (b"[" + b"9" * 10_000 + b"]", "it is no whole JSON"),
    "a cut array": (b'[{"convention": "full", ', "it is no whole JSON"),
    "two arrays": (b"[]\n[]\n", "it is no whole JSON"),
    "a broken database": (b"SQLite format 3\0" + b"x" * 5000, "cannot use the store"),
    "zeros": (b"\0" * 10**6, "it is no text"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_refused_and_stays(case):
    content, words = FOREIGN[case]
    path = Path("file")
    path.write_bytes(content)
    assert words in refusal(path)


def test_the_database_of_another_program_is_refused():
    with closing(sqlite3.connect("other.db")) as db, db:
        db.execute("CREATE TABLE points (content TEXT)")
    assert "database of another program" in refusal(Path("other.db"))
    assert "database of another program" in refusal(Path("other.db"), store=Path("other.db"))


def test_what_is_no_file_is_refused_at_once(tmp_path):
    assert "it is a folder" in refusal(tmp_path)
    assert "there is no such file" in refusal(Path("nowhere.json"))
    assert "file name too long" in refusal(Path("x" * 300)).lower()
    assert "null" in refusal(Path("a\0b")).lower()
    os.mkfifo("pipe")  # nobody will ever write into it
    assert "it is a pipe; name a file" in refusal(Path("pipe"))
    assert "it is a device; name a file" in refused_without_reading(Path("/dev/zero"))


def test_many_zeros_are_refused_by_their_beginning():
    with Path("zeros").open("wb") as file:
        file.truncate(200 * 10**6)
    tracemalloc.start()
    try:
        assert "it is no text" in refused_without_reading(Path("zeros"))
        assert tracemalloc.get_traced_memory()[1] < 10**6, "more was read than the beginning"
    finally:
        tracemalloc.stop()
    with Path("zeros").open("wb") as file:
        file.truncate(2 * 10**9)
    assert "larger than a gigabyte" in refused_without_reading(Path("zeros"))


def refused_without_reading(path: Path) -> str:
    with pytest.raises(FgbenchError) as error:
        read(path)
    return str(error.value)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=80)
def test_an_export_that_is_cut_off_is_refused(share, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    for suffix in ("json", "csv"):
        path = write(folder, [*TIMED, *RUNS], suffix)
        whole = path.read_text(encoding="utf-8").rstrip("\n" if suffix == "json" else "")
        part = whole[: int(share * len(whole))]
        path.write_text(part, encoding="utf-8")
        if not (suffix == "csv" and part.endswith("\n")):  # whole lines of CSV are a whole file
            refused_without_reading(path)
