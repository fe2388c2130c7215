"""Rows that are written together: at once, and kept whatever ends the block."""

from __future__ import annotations

import pytest

from fgbench.results.store import Store


def keys(path) -> list[str]:
    with Store(path, read_only=True) as store:
        return [row["n"] for row in store.rows("throughput")]


def test_nothing_is_seen_before_the_end_and_all_of_it_after(tmp_path):
    path = tmp_path / "a.db"
    with Store(path) as store:
        with store.together():
            for number in range(3):
                assert store.claim("throughput", str(number))
                assert store.add("throughput", str(number), {"n": number}, {})
                assert store.get("throughput", str(number))["n"] == number
                store.release("throughput", str(number))
            assert not store.add("throughput", "1", {"n": 9}, {})
            assert keys(path) == []
        assert keys(path) == [0, 1, 2]
        store.add("throughput", "3", {"n": 3}, {})
    assert keys(path) == [0, 1, 2, 3]


def add_and_raise(store: Store, error: BaseException) -> None:
    with store.together():
        store.add("throughput", "0", {"n": 0}, {})
        raise error


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_what_was_written_before_an_error_is_kept(tmp_path, error):
    path = tmp_path / "a.db"
    with Store(path) as store:
        with pytest.raises(type(error)):
            add_and_raise(store, error)
        store.add("throughput", "1", {"n": 1}, {})
    assert keys(path) == [0, 1]


def test_a_store_that_another_process_writes_to_meanwhile_waits(tmp_path):
    path = tmp_path / "a.db"
    with Store(path) as one, Store(path, wait_s=0.1) as other:
        with one.together():
            one.add("throughput", "0", {"n": 0}, {})
            with pytest.raises(Exception, match="lock"):
                other.add("throughput", "1", {"n": 1}, {})
        other.add("throughput", "1", {"n": 1}, {})
    assert keys(path) == [0, 1]
