"""Records: output, input, and access by plug-ins."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from helpers.saved_rows import KEPT, accuracy, flops, quality, read, saved
from helpers.throughput_rows import row

from fgbench.errors import FgbenchError
from fgbench.results.decoding import decode
from fgbench.results.records import (
    RECORDS,
    SCHEMA_VERSION,
    AccuracyRow,
    FlopsRow,
    QualityRow,
    Status,
    ThroughputRow,
    saved_fields,
)
from fgbench.results.store import Store

ABOUT = {"kind", "schema_version"}
ROWS = {"throughput": row(), "accuracy": accuracy(), "selection_quality": quality(), "flops": flops(parts=True)}
TIMED = decode(ThroughputRow, row())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    return tmp_path


def refusal(rows, name="rows.json") -> str:
    with pytest.raises(FgbenchError) as error:
        read(saved(rows, name))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ROWS)
def test_kind_and_version_are_the_last_fields_and_all_others_keep_their_place(kind):
    made = list(ROWS[kind])
    assert made[-2:] == ["kind", "schema_version"]
    assert (ROWS[kind]["kind"], ROWS[kind]["schema_version"]) == (kind, SCHEMA_VERSION)
    assert made[:-2] == [name for name in saved_fields(RECORDS[kind]) if name != "repeat"]


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_row_reads_the_same_with_kind_and_version_and_without(kind, suffix):
    earlier = {name: value for name, value in ROWS[kind].items() if name not in {*ABOUT, "stage"}}
    (now,) = read(saved([ROWS[kind]], f"now.{suffix}")).of_kind(kind)
    (then,) = read(saved([earlier], f"then.{suffix}")).of_kind(kind)
    assert now == then
    assert now.as_dict() == then.as_dict()


def test_a_kind_that_a_row_states_is_believed():
    assert "row 1 (flops): its field 'convention' is missing ($.convention)" in refusal([{**row(), "kind": "flops"}])
    assert "row 1: its field 'kind' must be one of backend, " in refusal([{**row(), "kind": "latency"}])
    Path("kept.json").write_text(json.dumps({**KEPT, "flops": [row()]}))
    with pytest.raises(FgbenchError, match="row 1 of 'flops': its field 'kind' must be 'flops' here, got 'throughput'"):
        read("kept.json")


@pytest.mark.parametrize("name", ["rows.json", "rows.csv"])
def test_a_newer_row_says_what_to_do(name):
    newer = {**row(), "schema_version": SCHEMA_VERSION + 1}
    line = refusal([row(), newer], name)
    assert f"row 2: its schema_version is {SCHEMA_VERSION + 1}, this fgbench knows {SCHEMA_VERSION}; update" in line
    assert "export it once more" not in line
    assert "'schema_version' must be a whole number, got 'new'" in refusal([{**row(), "schema_version": "new"}])


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"latency_s": "fast"}, "must be a number, got 'fast' ($.latency_s)"),
        ({"blocks": [1.0, "a"]}, "must be a number, got 'a' ($.blocks[1])"),
        ({"blocks": [1.0, float("nan")]}, "must be a finite number, got nan ($.blocks[1])"),
        ({"environment": {"macs_per_image": "many"}}, "got 'many' ($.environment.macs_per_image)"),
        ({"status": "fine"}, "got 'fine' ($.status)"),
        ({"environment": {"roof": {"copy_bytes_s": "fast"}}}, "got {'copy_bytes_s': 'fast'} ($.environment.roof[...])"),
    ],
)
def test_an_error_names_the_path_of_the_field(changed, path):
    Path("rows.json").write_text(json.dumps([{**row(), **changed}]))
    with pytest.raises(FgbenchError) as error:
        read("rows.json")
    assert path in str(error.value)


def test_an_undeclared_field_is_read_and_not_saved():
    (found,) = read(saved([{**row(), "colour": "blue"}])).throughput
    assert (found["colour"], found.get("colour"), "colour" in found, found.other) == (
        "blue",
        "blue",
        True,
        {"colour": "blue"},
    )
    assert "colour" not in found.as_dict()


def test_a_field_that_another_kind_has_is_checked_in_any_row():
    assert "its field 'lr' must be a number, got 'high' ($.lr)" in refusal([{**row(), "lr": "high"}])
    (found,) = read(saved([{**row(), "lr": 1}, accuracy()], "rows.csv")).throughput
    assert found["lr"] == 1.0


def test_a_stage_has_its_earlier_name_too():
    (then,) = read(saved([{**flops(model="glsim"), "part": "selector"}])).flops
    assert (then.stage, then["stage"], then["part"]) == ("selector", "selector", "selector")
    assert list(then.as_dict(parts=True))[-4:] == ["part", "stage", "kind", "schema_version"]
    assert not {"part", "stage"} & set(then.as_dict())


def test_a_record_is_a_mapping_of_its_fields():
    assert dict(TIMED) == {**TIMED} == TIMED
    assert dict(TIMED)["latency_s"] == TIMED["latency_s"] == TIMED.latency_s
    assert (len(TIMED), list(TIMED)) == (len(dict(TIMED)), list(dict(TIMED)))
    assert "nothing" not in TIMED
    with pytest.raises(KeyError):
        TIMED["nothing"]


def test_a_record_does_not_change_and_can_be_sent_to_another_process():
    with pytest.raises(FrozenInstanceError):
        TIMED.latency_s = 0.0
    assert pickle.loads(pickle.dumps(TIMED)) == TIMED
    assert replace(TIMED, best=True) != TIMED


def test_statuses_know_what_they_mean():
    figures = {status.value for status in Status if status.has_figures}
    assert figures == {"ok", "unconverged", "contended"}
    assert {status.value for status in Status if status.is_oom} == {"oom", "oom_inferred"}
    assert {status.value for status in Status if not status.is_result} == {"timeout", "crashed", "error"}
    assert [status for status in Status if status.is_ok] == [Status.OK]
    assert (f"{Status.OOM}", str(Status.OOM), json.dumps(Status.OOM), Status.OOM) == ("oom", "oom", '"oom"', "oom")
    assert type(TIMED.as_dict()["status"]) is str


def test_a_count_that_an_earlier_version_kept_is_not_kept_twice():
    now = FlopsRow(**{name: value for name, value in flops().items() if name not in ABOUT}).as_dict(parts=True)
    then = {name: value for name, value in now.items() if name not in {*ABOUT, "stage"}}
    with Store(Path("mine.db")) as store:
        assert store.keep("flops", {"key": then}, {}) == 1
        assert store.keep("flops", {"key": now}, {}) == 0
        assert store.keep("flops", {"key": {**now, "macs": 1}}, {}) == 1


def test_a_damaged_row_of_a_store_is_named_with_the_way_out():
    with pytest.raises(FgbenchError, match=r"a row of accuracy that cannot be read: its field 'images'.*--again"):
        decode(AccuracyRow, {**accuracy(), "images": "many"})
    with pytest.raises(FgbenchError, match="'top_k' is missing"):
        decode(QualityRow, {name: value for name, value in quality().items() if name != "top_k"})


def test_a_row_is_a_table_in_a_notebook():
    html = decode(ThroughputRow, row("<b>\x1b[31m", img_s=84.31))._repr_html_()
    assert "&lt;b&gt;\\x1b[31m" in html
    assert "<td>84.31</td>" in html
    assert "environment" not in html
    assert html.count("<tr>") == html.count("</tr>") > 10
