"""The store of finished points: one SQLite file, one transaction per point, shared by any number of sweeps."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.results.reading import parse_json, to_json
from fgbench.results.store_file import APPLICATION_ID, DAMAGED, SCHEMA_VERSION, StoreFile, is_locked, transaction

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "Store"]

CLAIM_EXPIRES_S = 120  # of another host, whose processes cannot be asked; who still measures renews it
PATIENCE_S = 600.0  # for a process that keeps a store locked, where giving up would lose measured rows
QUIET_S = 3.0  # of waiting without a word
PART = 1000  # rows that are read at once where a whole store is

_LOGGED = "an earlier fgbench, or another program, keeps its newest points beside it; end that and start again"
_ATTEMPTS = (
    "SELECT points.content, environments.content, measured_at FROM points "
    "JOIN environments ON environments.digest = points.environment "
)


class Store:
    """Measured points by kind and key, in one SQLite file that several processes may use.

    A point has one row, a JSON object, or several attempts, of which the newest counts. The file is complete without
    others: SQLite's rollback journal exists during a transaction, and there is no write-ahead log, whose loss would
    lose rows. Writing a row takes milliseconds, so that sweeps with one store hardly wait for each other.

    Args:
        path: The file. It is created where it does not exist.
        wait_s: Seconds that opening waits for another process.
        patience_s: Seconds that an open store waits for another program, which may read for minutes in one
            transaction; ``wait_s`` by default.
        tell: Receives a line where the store waits for long.
        read_only: Whether the file must exist and stays as it is; it may be on a read-only medium.

    Raises:
        FgbenchError: The file is no store, and stays as it is; or a row is not JSON.
        CannotMeasureError: The file is locked for too long or was removed, or the disk is full or fails.

    """

    def __init__(
        self,
        path: Path,
        *,
        wait_s: float = 30.0,
        patience_s: float | None = None,
        tell: Callable[[str], None] = lambda _: None,
        read_only: bool = False,
    ) -> None:
        self._path, self._patience_s, self._tell = path, wait_s if patience_s is None else patience_s, tell
        self._file = StoreFile(path, wait_s, read_only=read_only)
        self._db = self._file.open()
        self._identity = self._file.identity()
        self._is_writing = False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._db.close()

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The newest row of a point, or None."""
        rows = self._read(_ATTEMPTS + "WHERE kind = ? AND key = ? ORDER BY attempt DESC LIMIT 1", kind, key)
        return next(rows, None)

    def history(self, kind: str, key: str) -> list[dict[str, Any]]:
        """Every row of a point, the oldest first."""
        return list(self._read(_ATTEMPTS + "WHERE kind = ? AND key = ? ORDER BY attempt", kind, key))

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """The newest row of every point, in the order in which the points first came."""
        newest = "(SELECT min(id) AS first, max(id) AS last FROM points WHERE kind = ? GROUP BY key)"
        return self._read(_ATTEMPTS + f"JOIN {newest} ON last = points.id ORDER BY first", kind)

    def add(
        self, kind: str, key: str, row: Mapping[str, Any], environment: Mapping[str, Any], *, again: bool = False
    ) -> bool:
        """Keep a row and its environment.

        Args:
            kind: The kind of the row.
            key: The key of its point.
            row: The row, without its environment.
            environment: The environment. Rows share equal ones, except for ``time``, by default the time now.
            again: Whether the row becomes the newest attempt of a point that exists.

        Returns:
            False where the point exists already and was left alone.

        """
        content, around = _content(row), _around(environment)
        with self._writing() as db:
            if not again and _attempts(db, kind, key):
                return False
            _insert(db, kind, key, content, around)
        return True

    def keep(self, kind: str, rows: Mapping[str, Mapping[str, Any]], environment: Mapping[str, Any]) -> int:
        """Keep rows that are counted, not measured: all of them at once, or none.

        Args:
            kind: The kind of the rows.
            rows: The rows by their keys. A row that its point has already is left alone, also where an earlier version
                kept it with fewer fields; another one becomes the newest attempt.
            environment: The environment of the rows.

        Returns:
            How many rows were written.

        """
        contents, around = {key: _content(row) for key, row in rows.items()}, _around(environment)
        with self._writing() as db:
            changed = [key for key, content in contents.items() if not _is_kept(db, kind, key, content)]
            for key in changed:
                _insert(db, kind, key, contents[key], around)
        return len(changed)

    def merge(self, other: Store) -> tuple[int, int]:
        """Take over the rows of another store: all of them at once, or none.

        A point that both have keeps the attempts of both in the order of their times, and the newest counts.

        Args:
            other: It stays as it is, and is read by and by, in little memory.

        Returns:
            How many rows were taken over, and how many were here already.

        """
        taken, known = 0, 0
        with self._writing() as db:
            for attempt in other._attempts():
                if _take(db, *attempt):
                    taken += 1
                else:
                    known += 1
        return taken, known

    def claim(self, kind: str, key: str) -> bool:
        """Claim a point for this process, until it releases the point or ends.

        Returns:
            Whether this process may measure the point. Look for its row again after that: the process that had claimed
            the point may have finished it just now.

        """
        me, now = _this_process(), time.time()
        owner = "SELECT host, pid, started, claimed_at FROM claims WHERE kind = ? AND key = ?"
        with self._writing() as db:
            claimed_by = db.execute(owner, (kind, key)).fetchone()
            if claimed_by and claimed_by[:3] != me and _holds(*claimed_by, now=now):
                return False
            db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)", (kind, key, *me, now))
        return True

    def renew(self, kind: str, key: str) -> None:
        """Renew the claim of a point while it is measured; a locked store is passed over."""
        (timeout,) = self._db.execute("PRAGMA busy_timeout").fetchone()
        patience, self._patience_s = self._patience_s, 0.0
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            self.claim(kind, key)
        except CannotMeasureError as error:
            if not is_locked(error.__cause__):
                raise
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {timeout}")
            self._patience_s = patience

    def release(self, kind: str, key: str) -> None:
        """Give up the claim of this process; one of another process stays."""
        mine = "kind = ? AND key = ? AND host = ? AND pid = ? AND started IS ?"
        with self._writing() as db:
            db.execute(f"DELETE FROM claims WHERE {mine}", (kind, key, *_this_process()))

    def _read(self, query: str, *values: str) -> Iterator[dict[str, Any]]:
        with self._file.explained():  # all at once: while a process reads, no other can write
            rows = self._patiently(query, values).fetchall()
        return (self._decode(*columns) for columns in rows)

    def _attempts(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Every row with its kind, key, time and environment, the oldest first; in parts, so that others can write."""
        query = (
            "SELECT points.id, typeof(points.content) = 'text' AND json_valid(points.content), kind, key, measured_at, "
            "environments.digest, environments.content, points.content "
            "FROM points JOIN environments ON environments.digest = points.environment WHERE points.id > ? "
            f"ORDER BY points.id LIMIT {PART}"
        )
        last = -1
        while True:
            with self._file.explained():
                part = self._patiently(query, (last,)).fetchall()
            if not all(columns[1] for columns in part):
                raise self._file.refused(DAMAGED)
            yield from (columns[2:] for columns in part)
            if len(part) < PART:
                return
            last = part[-1][0]

    def _decode(self, content: str, environment: str, measured_at: str) -> dict[str, Any]:
        try:
            return {**parse_json(content), "environment": {**parse_json(environment), "time": measured_at}}
        except (ValueError, TypeError) as error:
            raise self._file.refused(DAMAGED) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything of a block at once: the disk is waited for once, and not for each row.

        What was written before an error, or Ctrl-C, is kept: it was measured.
        """
        failure: BaseException | None = None
        with self._writing():
            self._is_writing = True
            try:
                yield
            except sqlite3.Error:  # nothing of the block can be kept
                raise
            except BaseException as error:
                failure = error
            finally:
                self._is_writing = False
        if failure is not None:
            raise failure

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is in the file of this name when it ends, or an error."""
        if self._is_writing:  # inside of ``together``
            yield self._db
            return
        self._check_place()
        with self._file.explained(), transaction(self._db, "IMMEDIATE", self._patiently):
            if self._db.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                raise self._file.refused(_LOGGED, CannotMeasureError)
            yield self._db
        self._check_place()  # who asks to keep a row may hear that it is kept only where it can be found

    def _patiently(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run a statement, again where another process keeps the store locked; SQLite's own waiting ignores Ctrl-C."""
        began, is_told = time.monotonic(), False
        while True:
            try:
                return self._db.execute(statement, values)
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if not is_locked(error) or waited >= self._patience_s:
                    raise
            if waited >= QUIET_S and not is_told:
                self._tell(f"waiting for another process that keeps the store {str(self._path)!r} locked")
                is_told = True
            time.sleep(0.02)

    def _check_place(self) -> None:
        if self._file.identity() != self._identity:  # SQLite would go on in a file that has no name any more
            raise self._file.refused("it was moved or deleted; put it back and start again", CannotMeasureError)


def _attempts(db: sqlite3.Connection, kind: str, key: str) -> int:
    (attempts,) = db.execute("SELECT count(*) FROM points WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return int(attempts)


def _insert(db: sqlite3.Connection, kind: str, key: str, content: str, around: tuple[str, str, str]) -> None:
    digest, surroundings, measured_at = around
    db.execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (digest, surroundings))
    values = (kind, key, _attempts(db, kind, key) + 1, measured_at, digest, content)
    db.execute("INSERT INTO points VALUES (NULL, ?, ?, ?, ?, ?, ?)", values)


def _take(db: sqlite3.Connection, kind: str, key: str, time: str, digest: str, around: str, content: str) -> bool:
    """Insert a row of another store at its time among the attempts of its point; False where it is there already."""
    query = "SELECT id, measured_at, environment, content FROM points WHERE kind = ? AND key = ? ORDER BY attempt"
    attempts = db.execute(query, (kind, key)).fetchall()
    rows, new = [tuple(values) for _, *values in attempts], (time, digest, content)
    if new in rows:
        return False
    _insert(db, kind, key, content, (digest, around, time))
    if rows and time < rows[-1][0]:
        (own,) = db.execute("SELECT max(id) FROM points").fetchone()
        places, sorted_rows = [*(number for number, *_ in attempts), own], sorted([*rows, new], key=lambda row: row[0])
        change = "UPDATE points SET measured_at = ?, environment = ?, content = ? WHERE id = ?"
        db.executemany(change, [(*row, place) for row, place in zip(sorted_rows, places, strict=True)])
    return True


def _is_kept(db: sqlite3.Connection, kind: str, key: str, content: str) -> bool:
    """Whether the newest row of a point has the same values in all fields that it has."""
    query = "SELECT content FROM points WHERE kind = ? AND key = ? ORDER BY attempt DESC LIMIT 1"
    newest = db.execute(query, (kind, key)).fetchone()
    with suppress(ValueError, TypeError, AttributeError):
        return newest is not None and json.loads(newest[0]).items() <= json.loads(content).items()
    return False


def _content(row: Mapping[str, Any]) -> str:
    if "environment" in row:
        raise FgbenchError("a row is stored without its environment", do="pass that beside it")
    return _as_json("row", row)


def _around(environment: Mapping[str, Any]) -> tuple[str, str, str]:
    """The digest of an environment, its text, and the time that belongs to the row."""
    shared = {name: value for name, value in environment.items() if name != "time"}
    surroundings = _as_json("environment", shared)
    digest = hashlib.sha256(_in_order(surroundings).encode()).hexdigest()
    measured_at = environment.get("time") or datetime.now(timezone.utc).isoformat(timespec="seconds")
    return digest, surroundings, str(measured_at)


def _as_json(what: str, fields: Mapping[str, Any]) -> str:
    for name, value in fields.items():
        try:
            to_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            advice = f"it is not JSON ({error}); write null for what is missing"
            raise FgbenchError(f"the {what} cannot be stored: its field", name, advice) from error
    return json.dumps(dict(fields))


def _in_order(content: str) -> str:
    return json.dumps(json.loads(content), sort_keys=True)


def _this_process() -> tuple[str, int, int | None]:
    pid = os.getpid()
    return socket.gethostname(), pid, (_state(pid) or ("", None))[1]


def _state(pid: int) -> tuple[str, int] | None:
    """A process's state and the tick it started at, which tells it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended, or the system has no /proc
        return None
    return fields[0], int(fields[19])


def _holds(host: str, pid: int, started: int | None, claimed_at: float, *, now: float) -> bool:
    """Whether a claim's owner may still be measuring."""
    if host != socket.gethostname():
        return abs(now - claimed_at) < CLAIM_EXPIRES_S
    if state := _state(pid):
        return state[0] not in "ZX" and started in (None, state[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, and this user may not look at it
        return True
    return True
