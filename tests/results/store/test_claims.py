"""Claims of points in a store: their owner, its end, and their age."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from helpers.stores import raw, start

from fgbench.results.store import Store


def test_a_claim_is_ones_own_until_it_is_released(store, path):
    with start("claim", path, "a") as other:
        assert other.stdout.readline() == "True\n"
        assert not store.claim("throughput", "a")
        store.release("throughput", "a")  # is not ours
        assert not store.claim("throughput", "a")
        assert store.claim("throughput", "b")
        assert store.claim("throughput", "b")
        other.communicate("go\n")
    assert store.claim("throughput", "a")
    for key, answer in (("b", "False"), ("a", "False")):
        with start("claim", path, key) as other:
            assert other.stdout.readline() == f"{answer}\n"
            other.communicate("go\n")
    store.release("throughput", "a")
    with start("claim", path, "a") as other:
        assert other.stdout.readline() == "True\n"
        other.communicate("go\n")


def test_the_claim_of_a_killed_process_is_taken_over_even_before_its_parent_has_noticed(store, path):
    with start("claim", path, "a") as other:
        assert other.stdout.readline() == "True\n"
        assert not store.claim("throughput", "a")
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert store.claim("throughput", "a")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system says not when processes began")
def test_a_process_that_got_the_number_of_another_does_not_hold_its_claims(store, path):
    with start("claim", path, "a") as other:
        assert other.stdout.readline() == "True\n"
        with raw(path) as db:
            db.execute("UPDATE claims SET started = started - 1")
        assert store.claim("throughput", "a")
        store.release("throughput", "a")
        with raw(path) as db:
            db.execute("INSERT INTO claims SELECT 'throughput', 'a', ?, ?, 1, 0", (os.uname().nodename, os.getpid()))
        assert store.claim("throughput", "a")
        other.communicate("go\n")


@pytest.mark.parametrize(("age", "taken"), [(0, False), (100, False), (-100, False), (140, True), (-140, True)])
def test_the_claim_of_another_host_lasts_two_minutes(store, path, age, taken):
    claimed_at = (datetime.now(timezone.utc) - timedelta(seconds=age)).timestamp()
    with raw(path) as db:
        db.execute("INSERT INTO claims VALUES ('throughput', 'a', 'another', 1, 1, ?)", (claimed_at,))
    assert store.claim("throughput", "a") is taken
    store.release("throughput", "a")
    with raw(path) as db:
        assert db.execute("SELECT count(*) FROM claims").fetchone() == (0 if taken else 1,)


def test_the_claim_of_another_users_process_holds(everybodys):
    shared = everybodys.parent / "store.db"
    with start("claim", shared, "a", nobody=True) as other:
        assert other.stdout.readline() == "True\n"
        with Store(shared) as mine:
            assert not mine.claim("throughput", "a")
        other.communicate("go\n")
