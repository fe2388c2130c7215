"""The other processes in tests of the store: ``writer.py [--nobody] WHAT STORE …`` prints its actions."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from fgbench.errors import FgbenchError
from fgbench.results.store import Store, _around, _insert
from fgbench.results.store_file import transaction

NOBODY = 65534
ENVIRONMENT = {"device": "none", "versions": {"python": "3"}}


def say(*words: object) -> None:
    print(*words, flush=True)


def wait_for_go() -> None:
    say("ready")
    sys.stdin.readline()


def add(store: Path, first: str) -> None:
    """Add points for ever; say the key of each one that the store has confirmed."""
    with Store(store) as opened:
        for number in range(int(first), sys.maxsize):
            opened.add("throughput", f"{number}", {"number": number, "filling": "x" * 700}, ENVIRONMENT)
            say(number)


def logged(store: Path, first: str) -> None:
    """Add points for ever as an earlier fgbench did: what is new lies in a log beside the store."""
    with closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for number in range(int(first), sys.maxsize):
            row = {"number": number, "filling": "x" * 700}
            with transaction(db, "IMMEDIATE"):
                _insert(db, "throughput", f"{number}", json.dumps(row), _around(ENVIRONMENT))
            say(number)


def race(store: Path, name: str, shared: str) -> None:
    """Add what everybody adds, and as much of one's own; say what was new."""
    wait_for_go()
    with Store(store) as opened:
        for number in range(int(shared)):
            for key in (f"shared {number}", f"{name} {number}"):
                if opened.add("throughput", key, {"by": name}, ENVIRONMENT):
                    say(key)


def share(store: Path, points: str) -> None:
    """Measure what nobody else measures; say what was measured."""
    wait_for_go()
    with Store(store) as opened:
        for key in map(str, range(int(points))):
            if opened.get("throughput", key) or not opened.claim("throughput", key):
                continue
            if not opened.get("throughput", key):
                say(key)
                while not others_are_at_it(store):
                    time.sleep(0.002)
                opened.add("throughput", key, {}, ENVIRONMENT)
            opened.release("throughput", key)


def others_are_at_it(store: Path) -> bool:
    """Whether another process holds a point or has measured one; they all will."""
    with closing(sqlite3.connect(store, timeout=60)) as db:
        claimed = db.execute("SELECT count(*) FROM claims WHERE pid != ?", (os.getpid(),)).fetchone()
        return claimed[0] > 0 or db.execute("SELECT count(*) FROM points").fetchone()[0] > 0


def claim(store: Path, key: str) -> None:
    """Say whether the point could be claimed, and hold it."""
    with Store(store) as opened:
        say(opened.claim("throughput", key))
        wait_for_go()


def limited(store: Path, largest: str) -> None:
    """Add points until no file may grow any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    add(store, "0")


def read(store: Path) -> None:
    with Store(store, read_only=True) as opened:
        say(*(row["number"] for row in opened.rows("throughput")))


def write(store: Path) -> None:
    with Store(store, wait_s=1) as opened:
        opened.add("throughput", "new", {"number": "new"}, ENVIRONMENT)


def become_nobody() -> None:
    """After the imports: the Python itself may lie where only root can read it."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


if __name__ == "__main__":
    if sys.argv[1] == "--nobody":
        del sys.argv[1]
        become_nobody()
    what = {job.__name__: job for job in (add, logged, race, share, claim, limited, read, write)}[sys.argv[1]]
    try:
        what(Path(sys.argv[2]), *sys.argv[3:])
    except FgbenchError as error:
        say(type(error).__name__, error)
        sys.exit(error.exit_code)
