"""Merging of stores: every row of all of them, once, in the order of their times."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from helpers.stores import ENVIRONMENT, raw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.errors import FgbenchError
from fgbench.results import store as module
from fgbench.results.store import Store

ROW = st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 9))  # key, value, minute
KIND = "throughput"


def time_of(minute: int) -> str:
    return f"2026-01-01T00:0{minute}:00+00:00"


def fill(path, rows) -> None:
    """Rows in the order of their times, as they were measured."""
    with Store(Path(path)) as store:
        for key, value, minute in sorted(rows, key=lambda row: row[2]):
            store.add(KIND, key, {"value": value}, {**ENVIRONMENT, "time": time_of(minute)}, again=True)


def histories(path) -> dict[str, list[tuple[int, str]]]:
    with Store(Path(path), read_only=True) as store:
        found = {key: store.history(KIND, key) for key in "ab"}
    return {key: [(row["value"], row["environment"]["time"]) for row in rows] for key, rows in found.items()}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.lists(ROW, max_size=6), other=st.lists(ROW, max_size=6))
def test_every_row_is_there_once_and_the_newest_counts(tmp_path_factory, one, other):
    folder = tmp_path_factory.mktemp("merge")
    fill(folder / "one.db", one)
    fill(folder / "other.db", other)
    before = histories(folder / "one.db"), histories(folder / "other.db")
    with Store(folder / "one.db") as store, Store(folder / "other.db", read_only=True) as source:
        taken, known = store.merge(source)
        assert store.merge(source) == (0, len(other))
    assert taken + known == len(other)
    for key, rows in histories(folder / "one.db").items():
        assert [time for _, time in rows] == sorted(time for _, time in rows)
        assert Counter(rows) == Counter(before[0][key]) | Counter(set(before[1][key]))
    assert histories(folder / "other.db") == before[1]


def test_parts_are_read_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 3)
    fill(tmp_path / "other.db", [("a", number % 4, number) for number in range(7)])
    with Store(tmp_path / "one.db") as store, Store(tmp_path / "other.db", read_only=True) as source:
        assert store.merge(source) == (7, 0)
    assert histories(tmp_path / "one.db") == histories(tmp_path / "other.db")


def test_a_damaged_row_takes_back_all_that_was_taken_over(tmp_path):
    fill(tmp_path / "other.db", [("a", 1, 1), ("b", 2, 2)])
    fill(tmp_path / "one.db", [("a", 5, 0)])
    before = histories(tmp_path / "one.db")
    with Store(tmp_path / "other.db", read_only=True) as source, raw(tmp_path / "other.db") as db:
        db.execute("UPDATE points SET content = x'ff' WHERE key = 'b'")
        with Store(tmp_path / "one.db") as store, pytest.raises(FgbenchError, match="it is damaged"):
            store.merge(source)
    assert histories(tmp_path / "one.db") == before


def run(*words: object):
    return CliRunner().invoke(app, ["merge", *map(str, words)])


def test_the_command_says_what_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill("mine.db", [("a", 1, 1)])
    fill("hers.db", [("a", 1, 1), ("b", 2, 2)])
    done = run("mine.db", "hers.db", "--store", "all.db")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "fgbench: mine.db: 1 row taken over into all.db, 0 were there already",
        "fgbench: hers.db: 1 row taken over into all.db, 1 was there already",
    ]
    assert histories("all.db") == histories("hers.db")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "no store was named; fgbench merge OTHER"),
        (("all.db", "--store", "all.db"), "a store is not merged with itself: 'all.db'"),
        (("rows.json",), "merge takes stores, and this is none: 'rows.json'; files of rows are read side by side"),
        (("none.db",), "cannot use the store 'none.db'; there is no such file"),
        ((".",), "it is a folder"),
    ],
)
def test_what_is_no_other_store_is_refused_in_a_line(tmp_path, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    fill("all.db", [("a", 1, 1)])
    (tmp_path / "rows.json").write_text(json.dumps([{"kind": KIND}]))
    before = (tmp_path / "all.db").read_bytes()
    done = run(*words, *(() if "--store" in words else ("--store", "all.db")))
    assert done.exit_code == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "all.db").read_bytes() == before
