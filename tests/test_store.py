from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.store import APPLICATION_ID, SCHEMA_VERSION, Store

WRITER = Path(__file__).with_name("store_writer.py")
ENVIRONMENT = {"gpu": "none", "versions": {"torch": "2.6"}}
TIMEOUT_S = 60


def start(*words: object, nobody: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), *(["--nobody"] if nobody else []), *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*words: object, nobody: bool = False) -> tuple[int, str]:
    with start(*words, nobody=nobody) as process:
        return (process.communicate(timeout=TIMEOUT_S)[0].strip(), process.returncode)[::-1]


def raw(path: Path) -> sqlite3.Connection:
    return closing(sqlite3.connect(path, isolation_level=None, timeout=0))


def files(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def line(error: pytest.ExceptionInfo[FgbenchError], path: Path) -> str:
    """The message: one line, with the path as it was given and advice after a semicolon."""
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"cannot use the store {str(path)!r}; ")
    assert text.count("; ") >= 2
    return text


def refuses(path: Path, words: str, *, kind: type[FgbenchError] = FgbenchError, read_only: bool = False) -> None:
    """Opening says these words, and leaves the whole folder as it was, byte by byte."""
    before = files(path.parent)
    with pytest.raises(FgbenchError) as error:
        Store(path, wait_s=0.2, read_only=read_only).close()
    assert type(error.value) is kind
    assert words in line(error, path)
    assert files(path.parent) == before


def numbers(store: Store) -> list[int]:
    return [row["number"] for row in store.rows("throughput")]


def fill(path: Path, points: int, *, first: int = 0) -> None:
    with Store(path) as store:
        for number in range(first, first + points):
            store.add("throughput", str(number), {"number": number, "filling": "x" * 700}, ENVIRONMENT)


def is_sound(path: Path) -> bool:
    with raw(path) as db:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "stores"
    folder.mkdir()
    return folder / "store.db"


@pytest.fixture
def store(path):
    with Store(path) as opened:
        yield opened


@pytest.fixture
def killed(path):
    """A store whose writer was killed: its last points are in the log beside it."""
    fill(path, 40)
    with start("add", path, 40) as process:
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    assert path.with_name("store.db-wal").stat().st_size
    return path


@pytest.fixture
def everybodys():
    """A folder that another user can reach; pytest's own are private."""
    if os.geteuid():
        pytest.skip("only root can become nobody")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        folder = Path(name) / "stores"
        folder.mkdir(mode=0o755)
        yield folder


# Rows.


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


# The file.


def test_the_file_says_whose_it_is_and_is_written_through(store, path):
    with raw(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


@pytest.mark.parametrize("name", ["store.db", "o'ne ?mode=memory#%41 ü.db", "line\nbreak", os.fsdecode(b"\xff.db")])
def test_a_store_opens_again_under_any_name(tmp_path, name):
    fill(tmp_path / name, 2)
    fill(tmp_path / name, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Store(tmp_path / name) as store:
        assert numbers(store) == [0, 1, 2]


def test_an_empty_file_becomes_a_store_and_so_does_a_database_of_nobody(path):
    path.touch()
    fill(path, 1)
    assert is_sound(path)
    path.unlink()
    with raw(path) as db:
        db.execute("VACUUM")
    fill(path, 1)
    assert is_sound(path)


def test_a_link_leads_to_the_store(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    fill(link, 2)
    assert list(files(path.parent)) == ["store.db"]
    with Store(path) as store:
        assert numbers(store) == [0, 1]


def test_a_file_system_without_wal_serves_as_well(path, monkeypatch):
    """SQLite's dot-file locks share no memory, like a network file system: it answers with another mode."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **how: connect(f"{name}&vfs=unix-dotfile", **how))
    for _ in range(2):
        fill(path, 3)
        with Store(path) as store, Store(path) as second:
            assert store._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert second.add("throughput", "x", {"number": 9}, ENVIRONMENT, again=True)
            assert numbers(store) == [0, 1, 2, 9]
    assert list(files(path.parent)) == ["store.db"]


def test_places_where_no_file_can_be(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("text")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    for read_only in (False, True):
        refuses(folder / "inner", "it is a folder; name a file with --store", read_only=read_only)
        refuses(folder / "file" / "store.db", "Not a directory", read_only=read_only)
        refuses(folder / "pipe", "no SQLite database", read_only=read_only)
        refuses(folder / "loop", "symbolic links", read_only=read_only)
        refuses(folder / ("x" * 256), "File name too long", read_only=read_only)
        refuses(folder / "nul\0", "null", read_only=read_only)
    missing = folder / "missing" / "store.db"
    with pytest.raises(FgbenchError, match=r"there is no folder '.*missing'; make it first") as error:
        Store(missing)
    line(error, missing)
    assert sorted(path.name for path in folder.iterdir()) == ["file", "inner", "loop", "pipe"]


@pytest.mark.parametrize("content", [b"S", b"text", b"SQLite format 3\0", b"text" * 5000, bytes(8192), b"SQLite" * 99])
def test_a_file_that_is_no_database_is_left_as_it_is(path, content):
    path.write_bytes(content)
    for read_only in (False, True):
        refuses(path, "it is no SQLite database; move it away, or name another with --store", read_only=read_only)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("statement", ["CREATE TABLE points (id)", "PRAGMA application_id = 7"])
def test_the_database_of_another_program_is_left_as_it_is(path, mode, statement):
    with raw(path) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute(statement)
        for read_only in (False, True):  # while the other program runs, with all it wrote in its log
            refuses_but_for_locks(path, "it is the database of another program", read_only=read_only)
    for read_only in (False, True):
        refuses(path, "it is the database of another program; move it away", read_only=read_only)


def refuses_but_for_locks(path: Path, words: str, *, read_only: bool) -> None:
    """As ``refuses``, but the index of a log in use may be written: it holds the locks of readers."""

    def lasting() -> dict[str, bytes]:
        return {name: content for name, content in files(path.parent).items() if not name.endswith("-shm")}

    before = lasting()
    with pytest.raises(FgbenchError, match=words) as error:
        Store(path, wait_s=0.2, read_only=read_only)
    assert type(error.value) is FgbenchError
    line(error, path)
    assert lasting() == before


def test_a_newer_store_is_left_as_it_is(path):
    fill(path, 2)
    words = f"its schema is {SCHEMA_VERSION + 1}, this fgbench knows {SCHEMA_VERSION}; update fgbench"
    with raw(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        for read_only in (False, True):  # the log alone says so
            refuses_but_for_locks(path, words, read_only=read_only)
    for read_only in (False, True):
        refuses(path, words, read_only=read_only)


def test_a_store_without_its_tables_is_damaged(path):
    fill(path, 2)
    with raw(path) as db:
        db.execute("DROP TABLE claims")
    refuses(path, "it is damaged")


def test_a_damaged_store_is_left_as_it_is(path):
    fill(path, 40)
    whole = path.read_bytes()
    for length in (24, 99, 100, 511, 512, 4096, 4097, 8192, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        for read_only in (False, True):
            refuses(path, "it is damaged", read_only=read_only)
    for page in range(4096, len(whole), 4096):
        path.write_bytes(whole[:page] + bytes(4096) + whole[page + 4096 :])
        refuses(path, "it is damaged; move it away")
    path.write_bytes(whole)
    fill(path, 41)  # the whole one is fine


def test_a_flipped_byte_raises_nothing_but_our_errors(path):
    fill(path, 10)
    whole, chance, met = path.read_bytes(), random.Random(0), Counter()
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(chance.choice((100, len(whole))))] ^= chance.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            with Store(path, wait_s=0.1) as store:
                store.add("throughput", "new", {}, ENVIRONMENT)
                met[len(list(store.rows("throughput")))] += 1
        except FgbenchError as error:
            met[error.exit_code] += 1
        for beside in path.parent.iterdir():
            beside.unlink()
    assert met[2] > 10
    assert met[11] > 10


def test_a_damaged_store_with_a_log_is_left_as_it_is(killed):
    content = bytearray(killed.read_bytes())
    middle = len(content) // 8192 * 4096  # a page that the log does not hold
    content[middle : middle + 4096] = bytes(4096)
    killed.write_bytes(content)
    log = killed.with_name("store.db-wal")
    before = log.read_bytes()
    with pytest.raises(FgbenchError, match="it is damaged"):
        Store(killed)
    assert (killed.read_bytes(), log.read_bytes()) == (content, before)


def test_a_log_without_its_store_is_not_thrown_away(killed):
    killed.write_bytes(b"")
    for read_only in (False, True):
        refuses(killed, "it is empty, but for '", read_only=read_only)
    killed.unlink()
    refuses(killed, "store.db-wal'; restore it, or move that away")


def test_a_store_that_is_taken_away_is_missed(store, path):
    store.add("throughput", "a", {}, ENVIRONMENT)
    path.rename(path.with_name("moved.db"))
    with pytest.raises(CannotMeasureError, match="moved or deleted; put it back") as error:
        store.add("throughput", "b", {}, ENVIRONMENT)
    line(error, path)
    path.with_name("moved.db").rename(path)
    assert store.add("throughput", "b", {}, ENVIRONMENT)


# Permissions: root has them all, so a child that is nobody meets them.


def test_missing_permissions(path):
    if os.geteuid() == 0:
        pytest.skip("root has every permission")
    fill(path, 1)
    path.chmod(0o444)
    refuses(path, "permission is missing; change that")
    path.chmod(0o200)
    path.chmod(0o000)
    with pytest.raises(FgbenchError, match="permission is missing"):
        Store(path, read_only=True)
    path.chmod(0o644)
    path.parent.chmod(0o555)
    try:
        refuses(path, "permission is missing in its folder; change that")
        with Store(path, read_only=True) as store:
            assert numbers(store) == [0]
    finally:
        path.parent.chmod(0o755)


def nobody_is_refused(path: Path, what: str, words: str) -> None:
    before = files(path.parent)
    code, said = run(what, path, nobody=True)
    assert said.startswith(f"FgbenchError cannot use the store {str(path)!r}; ")
    assert words in said
    assert "\n" not in said
    assert code == 2
    assert files(path.parent) == before


def test_missing_permissions_of_another_user(everybodys):
    path = everybodys / "store.db"
    nobody_is_refused(path, "write", "permission is missing in its folder; change that")
    nobody_is_refused(path, "read", "there is no such file")
    fill(path, 2)
    everybodys.chmod(0o777)
    nobody_is_refused(path, "write", "permission is missing; change that")
    path.chmod(0o600)
    nobody_is_refused(path, "read", "permission is missing; change that")
    path.chmod(0o666)
    everybodys.chmod(0o755)
    nobody_is_refused(path, "write", "permission is missing in its folder")
    everybodys.chmod(0o700)
    nobody_is_refused(path, "write", "Permission denied")
    everybodys.chmod(0o777)
    assert run("write", path, nobody=True) == (0, "")


def test_a_store_is_read_where_nothing_can_be_written(everybodys):
    path = everybodys / "store.db"
    fill(path, 3)
    before = files(everybodys)
    assert run("read", path, nobody=True) == (0, "0 1 2")
    assert files(everybodys) == before
    with Store(path) as store:
        store.add("throughput", "3", {"number": 3}, ENVIRONMENT)  # it lies in the log
        assert run("read", path, nobody=True) == (0, "0 1 2 3")


def test_points_that_cannot_be_read_are_not_passed_over(everybodys, killed):
    """Without the index of the log, which cannot be made here, SQLite reads the log in no way."""
    for name in ("store.db", "store.db-wal"):
        shutil.copy(killed.with_name(name), everybodys)
    path = everybodys / "store.db"
    nobody_is_refused(path, "read", "newest points are in a file beside it that cannot be read here; copy both")
    everybodys.chmod(0o777)
    code, said = run("read", path, nobody=True)
    assert (code, said.split()[:45]) == (0, [str(number) for number in range(45)])


# Reading only.


def test_reading_leaves_no_trace_and_writes_nothing(path):
    fill(path, 3)
    before = files(path.parent)
    with Store(path, read_only=True) as store:
        assert numbers(store) == [0, 1, 2]
        for write in (lambda: store.add("throughput", "x", {}, {}), lambda: store.claim("throughput", "x")):
            with pytest.raises(FgbenchError, match="it can only be read") as error:
                write()
        line(error, path)
    assert files(path.parent) == before


def test_reading_a_store_whose_writer_was_killed(killed):
    before = killed.read_bytes()
    with Store(killed, read_only=True) as store:
        assert numbers(store)[:45] == list(range(45))
    assert killed.read_bytes() == before


def test_reading_a_store_in_use_shows_every_new_point(store, path):
    with Store(path, read_only=True) as reader:
        for number in range(3):
            store.add("throughput", str(number), {"number": number}, ENVIRONMENT)
            assert numbers(reader) == list(range(number + 1))


def test_reading_needs_something_to_read(path):
    refuses(path, "there is no such file; name one with --store", read_only=True)
    path.touch()
    refuses(path, "there is nothing in it", read_only=True)
    with raw(path) as db:
        db.execute("VACUUM")
    refuses(path, "there is nothing in it", read_only=True)


# Locks and disks.


def test_a_store_that_stays_locked(path):
    path.touch()
    locked = "another process keeps it locked; wait for it, or name another with --store"
    with raw(path) as db:
        db.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        refuses(path, locked, kind=CannotMeasureError)
        assert 0.2 <= time.monotonic() - began < 2
    fill(path, 2)
    with raw(path) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        for statement in ("SELECT * FROM points", "CREATE TABLE more (id)"):  # without a log, and with one
            db.execute(statement)
            for read_only in (False, True):
                refuses(path, locked, kind=CannotMeasureError, read_only=read_only)


def test_a_store_that_is_locked_while_it_is_used(path):
    with Store(path, wait_s=0.3) as store, raw(path) as db:
        db.execute("BEGIN IMMEDIATE")
        for write in (lambda: store.add("throughput", "a", {}, {}), lambda: store.claim("throughput", "a")):
            began = time.monotonic()
            with pytest.raises(CannotMeasureError, match="keeps it locked") as error:
                write()
            assert 0.3 <= time.monotonic() - began < 2
            line(error, path)
        db.execute("ROLLBACK")
        assert store.claim("throughput", "a")
        assert store.add("throughput", "a", {}, {})


@pytest.mark.parametrize("hold", ["BEGIN", "BEGIN IMMEDIATE"])
def test_who_keeps_wal_from_being_set_is_waited_for(path, hold):
    """SQLite itself waits for a reader and not for a writer."""
    fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute(hold)
        db.execute("SELECT * FROM points")
        refuses(path, "keeps it locked", kind=CannotMeasureError)
        end = threading.Timer(0.3, db.execute, ["ROLLBACK"])
        end.start()
        with Store(path, wait_s=20) as store:
            assert numbers(store) == [0]
            assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        end.join()


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
    assert bool(kept) == (largest > 30_000)


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
                process.stdout.readline()
            time.sleep(chance.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().splitlines(keepends=True)
        assert all(re.fullmatch(r"\d+\n?", text) for text in lines), lines
        first = [1_000_000 * round_] if round_ % 2 else []
        acknowledged = [*first, *(int(text) for text in lines if text.endswith("\n"))]
        confirmed[store] += len(acknowledged)
        with Store(store) as opened:
            found = [number for number in numbers(opened) if number >= 1_000_000 * round_]
            assert found[: len(acknowledged)] == acknowledged
            assert len(found) <= len(acknowledged) + 1  # the one that could not be confirmed any more
    assert min(confirmed.values()) > 10
    for store in stores:
        assert is_sound(store)
        with Store(store) as opened:
            assert all(len(opened.history("throughput", str(number))) == 1 for number in numbers(opened))
