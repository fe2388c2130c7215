"""Several processes on one store, and kills at any moment."""

from __future__ import annotations

import random
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.stores import ENVIRONMENT, TIMEOUT_S, fill, is_sound, numbers, raw, start

from fgbench.errors import CannotMeasureError
from fgbench.results.store import Store

ALREADY = 3  # points that a process has written when it may be killed


def go_together(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        print("go", file=process.stdin, flush=True)
    said = [process.communicate(timeout=TIMEOUT_S)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 4])
def test_writers_at_the_same_time_add_every_point_once(path, writers):
    said = go_together([start("race", path, name, 60) for name in range(writers)])
    keys = [key for words in said for key in words]
    expected = {f"{name} {number}" for name in ("shared", *range(writers)) for number in range(60)}
    assert Counter(keys) == Counter(expected)
    with Store(path) as store:
        assert len(list(store.rows("throughput"))) == len(expected)
        assert all(len(store.history("throughput", key)) == 1 for key in expected)
        assert [store.get("throughput", key)["by"] for key in said[0]] == ["0"] * len(said[0])
    assert is_sound(path)


@pytest.mark.slow
def test_a_store_is_made_once_by_processes_that_start_together(path):
    for round_ in range(8):
        fresh = path.with_name(f"{round_}.db")
        if round_ % 2:
            fresh.touch()
        said = go_together([start("race", fresh, name, 1) for name in range(4)])
        assert Counter(key for words in said for key in words) == Counter(["shared 0", "0 0", "1 0", "2 0", "3 0"])


@pytest.mark.slow
def test_sweeps_share_the_work(path):
    said = go_together([start("share", path, 60) for _ in range(3)])
    assert Counter(key for words in said for key in words) == Counter(map(str, range(60)))
    assert sum(bool(words) for words in said) > 1
    with raw(path) as db:
        assert db.execute("SELECT count(*) FROM claims").fetchone() == (0,)


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_no_finished_point(path):
    chance, confirmed, stores = random.Random(), Counter(), set()
    for round_ in range(30):
        store = path.with_name(f"{round_ // 10}.db")
        stores.add(store)
        with start("add", store, 1_000_000 * round_) as process:
            if round_ % 2:  # in the middle of writing; else anywhere, while it starts or makes the store too
                for _ in range(ALREADY):
                    process.stdout.readline()
            time.sleep(chance.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().splitlines(keepends=True)
        assert all(re.fullmatch(r"\d+\n?", text) for text in lines), lines
        first = [1_000_000 * round_ + number for number in range(ALREADY)] if round_ % 2 else []
        acknowledged = [*first, *(int(text) for text in lines if text.endswith("\n"))]
        confirmed[store] += len(acknowledged)
        with Store(store) as opened:
            found = [number for number in numbers(opened) if number >= 1_000_000 * round_]
            assert found[: len(acknowledged)] == acknowledged
            assert len(found) <= len(acknowledged) + 1  # the one that could not be confirmed any more
    assert min(confirmed.values()) >= 5 * ALREADY
    for store in stores:
        assert is_sound(store)
        with Store(store) as opened:
            assert all(len(opened.history("throughput", str(number))) == 1 for number in numbers(opened))


def vanish(path: Path, *names: str) -> int:
    """Delete what lies beside a store; how much there was."""
    there = [path.with_name(f"{path.name}{name}") for name in names]
    there = [file for file in there if file.exists()]
    for file in there:
        file.unlink(missing_ok=True)
    return len(there)


def lost(path: Path, job: str, rounds: int, chance: random.Random) -> tuple[int, int]:
    """(acknowledged, lost) of writers whose log and its index vanish at random moments, and which are killed then."""
    counts = [0, 0]
    for round_ in range(rounds):
        first = 1_000_000 * round_
        acknowledged = []
        with start(job, path, first) as process:
            for _ in range(ALREADY + chance.randrange(30)):
                acknowledged.append(int(process.stdout.readline()))
                if chance.random() < 0.3:
                    time.sleep(chance.uniform(0, 0.003))  # somewhere in what the writer does
                    vanish(path, "-wal", "-shm")
            process.send_signal(signal.SIGKILL)
            vanish(path, "-wal", "-shm")
            acknowledged += [int(text) for text in process.stdout.read().splitlines(keepends=True) if text[-1] == "\n"]
        with raw(path) as db:
            try:
                found = {int(key) for (key,) in db.execute("SELECT key FROM points")}
            except sqlite3.DatabaseError:  # damaged
                found = set()
        counts = [counts[0] + len(acknowledged), counts[1] + len(set(acknowledged) - found)]
        if counts[1]:
            break
    return counts[0], counts[1]


@pytest.mark.slow
def test_nothing_is_lost_with_what_lies_beside_a_store(path, tmp_path):
    """A log that is deleted takes with it what was acknowledged, unless a store has none: both are shown."""
    chance = random.Random(18)
    earlier = path.with_name("earlier.db")
    fill(earlier, 0)
    assert lost(earlier, "logged", 20, chance)[1] > 0
    for number, begun_by_an_earlier_version in enumerate((False, True)):
        store = path.with_name(f"{number}.db")
        fill(store, 0)
        if begun_by_an_earlier_version:
            with raw(store) as db:
                db.execute("PRAGMA journal_mode = WAL")
        acknowledged, missing = lost(store, "add", 10, chance)
        assert acknowledged >= 10 * ALREADY
        assert missing == 0
        assert is_sound(store)


@pytest.mark.parametrize("change", ["replaced", "its folder renamed", "its link turned"])
def test_a_store_that_is_another_one_now_acknowledges_nothing(path, change):
    link = path.with_name("link.db")
    link.symlink_to(path)
    fill(path.with_name("other.db"), 1)
    with Store(link) as store:
        assert store.add("throughput", "a", {"number": 0}, ENVIRONMENT)
        if change == "replaced":
            path.with_name("other.db").replace(path)
        elif change == "its folder renamed":
            path.parent.rename(path.parent.with_name("elsewhere"))
        else:
            link.unlink()
            link.symlink_to(path.with_name("other.db"))
        with pytest.raises(CannotMeasureError, match="it was moved or deleted"):
            store.add("throughput", "b", {"number": 1}, ENVIRONMENT)


def test_a_store_that_vanishes_while_a_point_is_written_does_not_acknowledge_it(store, path):
    store._db.set_trace_callback(lambda statement: path.unlink() if statement == "COMMIT" else None)
    with pytest.raises(CannotMeasureError, match="it was moved or deleted"):
        store.add("throughput", "a", {"number": 0}, ENVIRONMENT)


def test_a_writer_that_is_killed_while_it_makes_the_store_leaves_nothing_behind(path):
    """Its journal says that there was no file: what was written is taken back, and the store is made anew."""
    made = path.with_name("made.db")
    fill(made, 0)
    with raw(path) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE filling (text)")
        db.execute("INSERT INTO filling VALUES (?)", ("x" * 500_000,))  # written before it is committed
        journal = path.with_name("store.db-journal").read_bytes()
    path.write_bytes(made.read_bytes()[:8192])
    path.with_name("store.db-journal").write_bytes(journal)
    fill(path, 2)
    with Store(path) as store:
        assert numbers(store) == [0, 1]
    assert is_sound(path)
