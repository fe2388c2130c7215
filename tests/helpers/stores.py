"""Stores for the tests: filled ones, other processes that write them, and what a refusal looks like."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fgbench.errors import FgbenchError
from fgbench.results.store import Store

WRITER = Path(__file__).with_name("store_writer.py")
ENVIRONMENT = {"gpu": "none", "versions": {"torch": "2.6"}}
TIMEOUT_S = 600


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
