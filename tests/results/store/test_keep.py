"""Counted rows in a store: written in one transaction, and again only if they differ."""

from __future__ import annotations

import pytest
from helpers.stores import ENVIRONMENT, raw

from fgbench.errors import FgbenchError
from fgbench.results.store import Store

ROWS = {"a": {"number": 1, "name": "x"}, "b": {"number": 2, "name": None}}


def test_rows_are_kept_beside_one_environment(store, path):
    assert store.keep("flops", ROWS, ENVIRONMENT) == 2
    found = store.get("flops", "b")
    assert found["environment"].pop("time")
    assert found == {**ROWS["b"], "environment": ENVIRONMENT}
    with raw(path) as db:
        assert db.execute("SELECT count(*) FROM environments").fetchone() == (1,)


def test_equal_rows_are_left_alone_and_others_become_the_newest(store):
    store.keep("flops", ROWS, ENVIRONMENT)
    same = {key: dict(reversed(row.items())) for key, row in ROWS.items()}
    assert store.keep("flops", same, {"versions": "new"}) == 0
    assert store.keep("flops", {**same, "a": {"number": 3}, "c": {"number": 4}}, {"versions": "new"}) == 2
    assert [row["number"] for row in store.history("flops", "a")] == [1, 3]
    assert [row["number"] for row in store.rows("flops")] == [3, 2, 4]
    assert store.get("flops", "a")["environment"]["versions"] == "new"
    assert store.get("flops", "b")["environment"]["versions"] == ENVIRONMENT["versions"]
    assert store.keep("flops", ROWS, ENVIRONMENT) == 1  # back again is a change as well
    assert len(store.history("flops", "a")) == 3


def test_nothing_of_it_is_kept_where_one_row_cannot_be(store):
    with pytest.raises(FgbenchError, match="its field 'mfu'; it is not JSON"):
        store.keep("flops", {**ROWS, "c": {"mfu": float("nan")}}, ENVIRONMENT)
    with pytest.raises(FgbenchError, match="without its environment"):
        store.keep("flops", {**ROWS, "c": {"environment": {}}}, ENVIRONMENT)
    assert list(store.rows("flops")) == []


def test_a_row_that_was_damaged_is_replaced(store, path):
    store.keep("flops", ROWS, ENVIRONMENT)
    with raw(path) as db:
        db.execute("UPDATE points SET content = 'x' WHERE key = 'a'")
    assert store.keep("flops", ROWS, ENVIRONMENT) == 1
    assert [row["number"] for row in store.rows("flops")] == [1, 2]


def test_many_rows_are_one_transaction(path):
    with Store(path) as store:
        store.keep("flops", {str(number): {"number": number} for number in range(500)}, ENVIRONMENT)
        statements: list[str] = []
        store._db.set_trace_callback(statements.append)
        store.keep("flops", {str(number): {"number": -number} for number in range(500)}, ENVIRONMENT)
    assert [each for each in statements if each.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
