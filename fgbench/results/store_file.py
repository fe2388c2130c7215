"""The file of a store: what a whole one holds, and every way in which one cannot be used, in words."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.results.output import descriptor_of

APPLICATION_ID = 0x66676265  # "fgbe": whose file it is, in SQLite's header
SCHEMA_VERSION = 1  # 1: environments, points, claims

_TABLES = {
    "environments": "digest TEXT PRIMARY KEY, content TEXT NOT NULL",
    "points": "id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, "
    "measured_at TEXT NOT NULL, environment TEXT NOT NULL REFERENCES environments, content TEXT NOT NULL, "
    "UNIQUE (kind, key, attempt)",
    "claims": "kind TEXT NOT NULL, key TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER, "
    "claimed_at REAL NOT NULL, PRIMARY KEY (kind, key)",
}
_ELSEWHERE = "move it away, or name another with --store"
_NO_DATABASE = f"it is no SQLite database; {_ELSEWHERE}"
_FOREIGN = f"it is the database of another program; {_ELSEWHERE}"
DAMAGED = f"it is damaged; {_ELSEWHERE}"
_EMPTY = "there is nothing in it; name one that was measured into with --store"
BUSY_S = 1.0  # that SQLite waits by itself for a lock; who waits for longer asks again
# SQLite's words (it gives its codes from Python 3.11 on), the kind of error, what it is and what to do.
_MEANINGS: tuple[tuple[str, type[FgbenchError], str], ...] = (
    ("not a database", FgbenchError, _NO_DATABASE),
    ("malformed", FgbenchError, DAMAGED),
    ("no such table", CannotMeasureError, "it was emptied while it was used; restore it, or move it away"),
    ("readonly database", FgbenchError, "it can only be read; change its permissions, or name another with --store"),
    ("is locked", CannotMeasureError, "another process keeps it locked; wait for it, or name another with --store"),
    ("is full", CannotMeasureError, "the disk is full; make room and start again: finished points are kept"),
    ("I/O error", CannotMeasureError, "the disk fails or is full; mend that and start again: finished points are kept"),
)


class StoreFile:
    """Opens the file of a store, or says why not and leaves it as it is."""

    def __init__(self, path: Path, wait_s: float, *, read_only: bool) -> None:
        self._path, self._wait_s, self._read_only = path, wait_s, read_only
        self._place, self.target = self._find()

    def refused(self, why: str, kind: type[FgbenchError] = FgbenchError) -> FgbenchError:
        """The error that says why this store cannot be used, and what to do; to be raised."""
        return kind("cannot use the store", str(self._path), why)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what SQLite's errors mean for this store."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except UnicodeDecodeError as error:  # SQLite's words about damage hold what is damaged
            raise self.refused(DAMAGED) from error
        except sqlite3.Error as error:
            for words, kind, meaning in _MEANINGS:
                if words in str(error):
                    raise self.refused(meaning, kind) from error
            raise self.refused(f"SQLite says {str(error)!r}; {_ELSEWHERE}") from error

    def open(self) -> sqlite3.Connection:
        """Try again where SQLite itself does not wait, as for a change of the journal's mode."""
        deadline = time.monotonic() + self._wait_s
        with self.explained():
            while True:
                try:
                    return self._to_read() if self._read_only else self._to_write()
                except sqlite3.OperationalError as error:
                    if not is_locked(error) or time.monotonic() >= deadline:
                        raise
                    time.sleep(0.02)

    def identity(self) -> tuple[int, int] | None:
        """What tells the file from another one that comes to its name, by whatever link; None where there is none."""
        try:
            status = self._place.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _find(self) -> tuple[Path, Path]:
        status = None
        try:
            place = self._path.absolute()  # its links stay, to see whether they lead elsewhere later
            if not self._read_only and descriptor_of(place) is not None:  # which may be open for reading alone
                raise self.refused("it is a descriptor of this process; name the file itself")
            target = Path(os.path.realpath(place))
            log = _size(target, "-wal")  # before the file, which another process may be creating
            with suppress(FileNotFoundError):
                status = target.stat()
        except (OSError, ValueError) as error:
            raise self.refused(f"{getattr(error, 'strerror', None) or error}; {_ELSEWHERE}") from error
        mode, size = (status.st_mode, status.st_size) if status else (stat.S_IFREG, 0)
        permission = "permission is missing{}; change that, or name another with --store"
        if not status and not target.parent.is_dir():
            raise self.refused(f"there is no folder {str(target.parent)!r}; make it first")
        if stat.S_ISDIR(mode):
            raise self.refused("it is a folder; name a file with --store")
        if not stat.S_ISREG(mode) or size == 1:  # SQLite takes one byte for none, and would write over it
            raise self.refused(_NO_DATABASE)
        if log and not size:  # SQLite would delete the log
            raise self.refused(f"it is empty, but for {str(target) + '-wal'!r}; restore it, or move that away")
        if self._read_only and not size:
            raise self.refused(_EMPTY if status else "there is no such file; name one with --store")
        if status and not os.access(target, os.R_OK if self._read_only else os.R_OK | os.W_OK):
            raise self.refused(permission.format(""))
        if not self._read_only and not os.access(target.parent, os.W_OK | os.X_OK):
            raise self.refused(permission.format(" in its folder"))
        return place, target

    def _to_write(self) -> sqlite3.Connection:
        if self._is_unused():
            with closing(self._connect("mode=rwc")) as db, transaction(db, "IMMEDIATE"):
                if self._is_blank(db):  # no other process has written its schema in the meantime
                    for table, columns in _TABLES.items():
                        db.execute(f"CREATE TABLE {table} ({columns})")
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._inspected(self._quiet()).close()
        db = self._connect("mode=rw")
        try:
            for setting in ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON"):
                db.execute(f"PRAGMA {setting}")  # a log that an earlier version left is worked into the file
        except BaseException:
            db.close()
            raise
        return db

    def _to_read(self) -> sqlite3.Connection:
        if self._is_unused():
            raise self.refused(_EMPTY)
        mode = self._quiet()
        try:
            return self._inspected(mode)
        except sqlite3.OperationalError as error:
            if mode == "mode=rw" or is_locked(error):
                raise
            if _size(self.target, "-wal") or _size(self.target, "-journal"):
                what = "its newest points are in a file beside it that cannot be read here"
                raise self.refused(f"{what}; copy both to a folder that can be written") from error
            return self._inspected("immutable=1")  # a medium where SQLite cannot keep its books

    def _quiet(self) -> str:
        """How to read without a trace: mode=rw works a log into the file, mode=ro leaves one where there is none."""
        writable = os.access(self.target, os.W_OK) and os.access(self.target.parent, os.W_OK)
        return "mode=rw" if writable and not _size(self.target, "-wal") else "mode=ro"

    def _is_unused(self) -> bool:
        """Whether a store can be made of the file. Locks nothing: that would leave files beside a foreign one."""
        if not self.target.exists():
            return True
        with closing(self._connect("immutable=1")) as db:
            try:
                with transaction(db):
                    blank = self._is_blank(db)
            except sqlite3.DatabaseError as error:
                if "malformed" not in str(error):  # or half written: that is seen under a lock
                    raise
                blank = False
        return (blank or self._is_undone()) and not _size(self.target, "-wal")

    def _is_undone(self) -> bool:
        """Whether the writer that made the store was killed while it did: SQLite takes back what it had written."""
        if self._read_only or not _size(self.target, "-journal"):
            return False
        with closing(self._connect("mode=rw")) as db, transaction(db):
            return self._is_blank(db)

    def _inspected(self, options: str) -> sqlite3.Connection:
        """A connection that only reads, to a store in good order."""
        db = self._connect(options)
        try:
            db.execute("PRAGMA query_only = ON")
            with transaction(db):
                self._inspect(db)
        except BaseException:
            db.close()
            raise
        return db

    def _inspect(self, db: sqlite3.Connection) -> None:
        if self._is_blank(db):
            raise self.refused(_FOREIGN)
        (page,) = db.execute("PRAGMA page_size").fetchone()
        # SQLite fills up a last page that is cut off; one that is still in the log may have met a full disk.
        cut_off = not _size(self.target, "-wal") and _size(self.target) % page
        if cut_off or db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise self.refused(DAMAGED)

    def _is_blank(self, db: sqlite3.Connection) -> bool:
        """Whether the database has no owner and no tables; refuse one of another program or another schema."""
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if application == 0 and not tables:
            return True
        if application != APPLICATION_ID:
            raise self.refused(_FOREIGN)
        if version > SCHEMA_VERSION:
            schema = f"its schema is {version}, this fgbench knows {SCHEMA_VERSION}"
            raise self.refused(f"{schema}; update fgbench, or name another with --store")
        if version < 1 or not tables.issuperset(_TABLES):
            raise self.refused(DAMAGED)
        return False

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"{self.target.as_uri()}?{options}"
        return sqlite3.connect(uri, uri=True, timeout=min(self._wait_s, BUSY_S), isolation_level=None)


def is_locked(error: BaseException | None) -> bool:
    """Whether SQLite refuses since another process uses the file, so that the statement may be run again."""
    return isinstance(error, sqlite3.OperationalError) and "is locked" in str(error)


@contextmanager
def transaction(
    db: sqlite3.Connection, kind: str = "DEFERRED", run: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Everything or nothing, and never a transaction that is left open; ``run`` begins it and commits it."""
    run = run or db.execute
    try:
        run(f"BEGIN {kind}")
        yield
        run("COMMIT")
    finally:
        if db.in_transaction:  # not so after a full disk: SQLite has taken it back itself
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")


def _size(path: Path, suffix: str = "") -> int:
    try:
        return Path(f"{path}{suffix}").stat().st_size
    except OSError:
        return 0
