"""The file of a store: its format, files that are refused unchanged, and permissions."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from helpers.stores import ENVIRONMENT, files, fill, is_sound, line, numbers, raw, refuses, run

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.results.store import APPLICATION_ID, SCHEMA_VERSION, Store


def test_the_file_says_whose_it_is_and_is_written_through(store, path):
    with raw(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # no log
    assert store._db.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA


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


def test_a_file_system_without_shared_memory_serves_as_well(path, monkeypatch):
    """SQLite's dot-file locks share no memory, like a network file system."""
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


def test_a_descriptor_is_no_place_to_write(path):
    """It may be open for reading alone, and SQLite would write to the file by its name."""
    fill(path, 2)
    before = files(path.parent)
    with path.open("rb") as file:
        with pytest.raises(FgbenchError, match="it is a descriptor of this process; name the file itself"):
            Store(Path(f"/dev/fd/{file.fileno()}"))
        assert files(path.parent) == before
        with Store(Path(f"/dev/fd/{file.fileno()}"), read_only=True) as store:
            assert numbers(store) == [0, 1]


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


def test_damage_that_sqlite_cannot_tell_in_letters_is_damage(path):
    """SQLite's message holds the name of a table, which is no UTF-8 any more."""
    fill(path, 3)
    whole = path.read_bytes()
    at = whole.index(b"CREATE TABLE")
    for odd in (b"\xf1", b"\xff\xfe", b"CREAT\xf1"):
        path.write_bytes(whole[:at] + odd + whole[at + len(odd) :])
        refuses(path, "it is damaged", read_only=True)


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
        store.add("throughput", "3", {"number": 3}, ENVIRONMENT)
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
