"""A round trip of rows through a store."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from itertools import count

import pytest
from helpers.stores import ENVIRONMENT, numbers, raw
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.errors import FgbenchError
from fgbench.results.store import Store


def test_a_row_comes_back_with_its_environment_and_the_time(store):
    assert store.get("throughput", "a") is None
    before = datetime.now(timezone.utc).replace(microsecond=0)
    assert store.add("throughput", "a", {"throughput_img_s": 0.1, "blocks": [1.5, None]}, ENVIRONMENT)
    row = store.get("throughput", "a")
    measured_at = row["environment"].pop("time")
    assert row == {"throughput_img_s": 0.1, "blocks": [1.5, None], "environment": ENVIRONMENT}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", measured_at)
    assert before <= datetime.fromisoformat(measured_at) <= datetime.now(timezone.utc)


def test_a_time_that_the_environment_has_is_the_rows_own(store, path):
    for key, moment in (("a", "2020-01-01T00:00:00+00:00"), ("b", "2021-01-01T00:00:00+00:00")):
        store.add("throughput", key, {}, {**ENVIRONMENT, "time": moment})
        assert store.get("throughput", key)["environment"]["time"] == moment
    with raw(path) as db:
        assert db.execute("SELECT count(*) FROM environments").fetchone() == (1,)


def test_a_point_that_is_there_is_left_alone(store):
    assert store.add("throughput", "a", {"number": 1}, ENVIRONMENT)
    assert not store.add("throughput", "a", {"number": 2}, {})
    assert numbers(store) == [1]
    assert len(store.history("throughput", "a")) == 1


def test_another_attempt_becomes_the_newest_and_the_older_ones_stay(store):
    for number, key in enumerate("abc"):
        store.add("throughput", key, {"number": number}, ENVIRONMENT)
    assert store.add("throughput", "a", {"number": 10}, {"gpu": "another"}, again=True)
    assert store.add("throughput", "a", {"number": 20}, ENVIRONMENT, again=True)
    assert store.get("throughput", "a")["number"] == 20
    assert [row["number"] for row in store.history("throughput", "a")] == [0, 10, 20]
    assert [row["environment"]["gpu"] for row in store.history("throughput", "a")] == ["none", "another", "none"]
    assert numbers(store) == [20, 1, 2]  # in the order in which the points first came
    assert store.add("throughput", "d", {"number": 4}, ENVIRONMENT, again=True)
    assert len(store.history("throughput", "d")) == 1


def test_kinds_are_apart(store):
    store.add("throughput", "a", {"number": 1}, ENVIRONMENT)
    assert store.add("energy", "a", {"number": 2}, ENVIRONMENT)
    assert store.claim("throughput", "a")
    assert (store.get("throughput", "a")["number"], store.get("energy", "a")["number"]) == (1, 2)
    assert list(store.rows("nothing")) == store.history("nothing", "a") == []


def test_an_environment_is_stored_once_and_belongs_to_no_row(store, path):
    for key in "abc":
        store.add("throughput", key, {}, dict(reversed(ENVIRONMENT.items())) if key == "b" else ENVIRONMENT)
    store.add("throughput", "d", {}, {"gpu": "another"})
    with raw(path) as db:
        assert db.execute("SELECT count(*) FROM environments").fetchone() == (2,)
    first, second, *_ = store.rows("throughput")
    first["environment"]["versions"].clear()
    assert second["environment"]["versions"] == ENVIRONMENT["versions"]


def test_points_may_be_added_while_they_are_read(store):
    for number in range(5):
        store.add("throughput", str(number), {"number": number}, ENVIRONMENT)
    for row in store.rows("throughput"):
        store.add("throughput", f"again {row['number']}", {"number": -1}, ENVIRONMENT)
    assert len(numbers(store)) == 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


@pytest.fixture(scope="module")
def module_store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("hypothesis") / "store.db") as opened:
        yield opened


@given(
    row=OBJECTS.map(lambda row: {k: v for k, v in row.items() if k != "environment"}),
    environment=OBJECTS.map(lambda row: {k: v for k, v in row.items() if k != "time"}),
    key=st.text(),
    numbers=st.just(count()),
)
@settings(deadline=None)
def test_any_json_survives(module_store, row, environment, key, numbers):
    key += str(next(numbers))
    assert module_store.add(key, key, row, environment)
    found = module_store.get(key, key)
    assert list(module_store.rows(key)) == [found]
    surroundings = found.pop("environment")
    del surroundings["time"]
    assert json.dumps(found) == json.dumps(row)  # tells 1, 1.0 and True apart, and keeps the order
    assert json.dumps(surroundings, sort_keys=True) == json.dumps(environment, sort_keys=True)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), [{"deep": -float("inf")}], object(), 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_is_refused_by_its_field(store, value):
    for row, environment in (({"model": "a", "mfu": value}, {}), ({}, {"mfu": value})):
        with pytest.raises(FgbenchError, match=r"cannot be stored: its field 'mfu'; it is not JSON \(.*null") as error:
            store.add("throughput", "a", row, environment)
        assert error.value.exit_code == 2
    assert store.get("throughput", "a") is None
    with pytest.raises(FgbenchError, match="without its environment"):
        store.add("throughput", "a", {"environment": {}}, {})
