"""A store that other processes lock, change or fill: locks, transactions, full disks."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from helpers.stores import ENVIRONMENT, TIMEOUT_S, fill, is_sound, line, numbers, raw, refuses, run, start

from fgbench.errors import CannotMeasureError
from fgbench.results.store import Store


def test_a_store_that_stays_locked(path):
    path.touch()
    locked = "another process keeps it locked; wait for it, or name another with --store"
    with raw(path) as db:
        db.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        refuses(path, locked, kind=CannotMeasureError)
        assert time.monotonic() - began >= 0.2
    fill(path, 2)
    for mode in ("DELETE", "WAL"):
        with raw(path) as db:
            db.execute(f"PRAGMA journal_mode = {mode}")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute(f"CREATE TABLE more_{mode} (id)")
            for read_only in (False, True):
                refuses(path, locked, kind=CannotMeasureError, read_only=read_only)


def test_a_store_that_is_locked_while_it_is_used(path):
    with Store(path, wait_s=0.3) as store, raw(path) as db:
        assert store._db.execute("PRAGMA busy_timeout").fetchone() == (300,), "and no longer"
        db.execute("BEGIN IMMEDIATE")
        for write in (lambda: store.add("throughput", "a", {}, {}), lambda: store.claim("throughput", "a")):
            began = time.monotonic()
            with pytest.raises(CannotMeasureError, match="keeps it locked") as error:
                write()
            assert time.monotonic() - began >= 0.3
            line(error, path)
        db.execute("ROLLBACK")
        assert store.claim("throughput", "a")
        assert store.add("throughput", "a", {}, {})


@pytest.mark.parametrize("hold", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_who_keeps_a_store_locked_is_waited_for_with_patience_and_not_in_silence(path, hold, monkeypatch):
    """A reader keeps writers waiting as well, as long as its transaction lasts."""
    monkeypatch.setattr("fgbench.results.store.QUIET_S", 0.2)
    said = []
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        with Store(path, wait_s=0.1, patience_s=300, tell=lambda line: (said.append(line), end.start())) as store:
            end = threading.Timer(0.3, lambda: db.execute("ROLLBACK"))
            db.execute(hold)
            db.execute("SELECT * FROM points").fetchone()
            assert store.add("throughput", "a", {"number": 0}, ENVIRONMENT)
            end.join()
        assert said == [f"waiting for another process that keeps the store {str(path)!r} locked"]
        with Store(path) as store:
            assert numbers(store) == [0]


def test_a_claim_is_renewed_without_waiting(path):
    """A worker is being timed meanwhile, and its result must not come too late."""
    with Store(path, wait_s=300) as store, raw(path) as db:
        assert store.claim("throughput", "a")
        db.execute("BEGIN EXCLUSIVE")
        store.renew("throughput", "a")
        db.execute("ROLLBACK")
        assert store._db.execute("PRAGMA busy_timeout").fetchone() == (1000,), "and others wait as before"
        db.execute("UPDATE claims SET claimed_at = 0")
        store.renew("throughput", "a")
        assert db.execute("SELECT claimed_at FROM claims").fetchone() > (1e9,)


def test_a_store_that_is_emptied_while_it_is_used(store, path):
    store.add("throughput", "a", {}, ENVIRONMENT)
    path.write_bytes(b"")
    with pytest.raises(CannotMeasureError, match="emptied while it was used") as error:
        store.add("throughput", "b", {}, ENVIRONMENT)
    line(error, path)


@pytest.mark.parametrize("hold", ["SELECT 1", "BEGIN", "BEGIN IMMEDIATE"])
def test_the_log_of_an_earlier_version_is_worked_into_the_file_once_nobody_uses_it(path, hold):
    fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("UPDATE points SET measured_at = 'later'")
        db.execute(hold)
        db.execute("SELECT * FROM points")
        with pytest.raises(CannotMeasureError, match="keeps it locked"):
            Store(path, wait_s=0.2)
        end = threading.Timer(0.3, db.close)
        end.start()
        with Store(path, wait_s=300) as store:
            assert store.get("throughput", "0")["environment"]["time"] == "later"
            assert [file.name for file in path.parent.iterdir()] == ["store.db"]
        end.join()


def test_a_store_that_gets_a_log_while_it_is_used(store, path):
    store.add("throughput", "a", {}, ENVIRONMENT)
    with raw(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with pytest.raises(CannotMeasureError, match="keeps its newest points beside it; end that") as error:
            store.add("throughput", "b", {}, ENVIRONMENT)
        line(error, path)
        assert store.get("throughput", "b") is None


def test_what_goes_wrong_inside_a_transaction_ends_it(store, path):
    with pytest.raises(UnicodeEncodeError):
        store.claim("throughput", "half a character: \ud800")
    assert store.add("throughput", "a", {}, ENVIRONMENT)
    assert run("write", path) == (0, "")


def test_a_lock_that_goes_away_is_waited_for(path):
    fill(path, 1)
    with start("race", path, "other", 300) as process:
        process.stdout.readline()
        print("go", file=process.stdin, flush=True)
        process.stdout.readline()
        fill(path, 50)  # in between
        process.communicate(timeout=TIMEOUT_S)
    with Store(path) as store:
        assert len(list(store.rows("throughput"))) == 650


def test_a_full_database_keeps_what_is_in_it(store, path):
    store._db.execute("PRAGMA max_page_count = 20")
    kept = []

    def add_all() -> None:
        for number in range(1000):
            store.add("throughput", str(number), {"number": number, "filling": "x" * 700}, ENVIRONMENT)
            kept.append(number)

    with pytest.raises(CannotMeasureError, match="the disk is full; make room and start again") as error:
        add_all()
    line(error, path)
    assert kept
    assert numbers(store) == kept
    store._db.execute("PRAGMA max_page_count = 1000")
    assert store.add("throughput", "more", {"number": 1000}, ENVIRONMENT)
    assert is_sound(path)


def keeps_its_points(path: Path, output: str) -> list[str]:
    *kept, last = output.splitlines()
    assert re.match(rf"CannotMeasureError cannot use the store '{path}'; the disk (fails or )?is full", last)
    with Store(path) as store:
        assert [str(number) for number in numbers(store)][: len(kept)] == kept
        assert len(numbers(store)) <= len(kept) + 1
    assert is_sound(path)
    return kept


@pytest.mark.parametrize("largest", [100, 5000, 30_000, 60_000, 100_000, 200_000])
def test_a_file_that_may_not_grow(path, largest):
    code, output = run("limited", path, largest)
    assert code == 3
    kept = keeps_its_points(path, output)
    assert bool(kept) == (largest >= 30_000)


def test_a_full_disk(tmp_path):
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "fgbench-test", tmp_path], capture_output=True)
    if mount.returncode:
        pytest.skip("no small disk can be mounted")
    try:
        path = tmp_path / "store.db"
        code, output = run("add", path, 0)
        assert code == 3
        assert len(output.splitlines()) > 10
        code, again = run("add", path, 10_000)
        assert code == 3
        shutil.copytree(tmp_path, tmp_path.parent / "roomy", dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    with Store(tmp_path.parent / "roomy" / "store.db") as store:
        added = [word for word in (output + "\n" + again).splitlines() if word.isdigit()]
        assert [str(number) for number in numbers(store)] == added
