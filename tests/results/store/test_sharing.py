"""Several processes on one store: locks, full disks, claims, and kills at any moment."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from helpers.stores import ENVIRONMENT, TIMEOUT_S, fill, is_sound, line, numbers, raw, refuses, run, start

from fgbench.errors import CannotMeasureError
from fgbench.results.store import Store

ALREADY = 3  # points that a process has written when it may be killed


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


# Claims.


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


# Several processes, and their ends.


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
