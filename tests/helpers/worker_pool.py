from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgbench.workers import pool as pools
from fgbench.workers.pool import WorkerPool

FAULTY = Path(__file__).with_name("faulty.py")


class Borrowed:
    """The tests' pool in place of one of a command's own: torch is loaded once."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool

    def __call__(self) -> Borrowed:
        return self

    def __enter__(self) -> WorkerPool:
        return self.pool

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def borrowed(pool, monkeypatch) -> None:
    """Commands inside of this process measure in workers of the tests' pool."""
    monkeypatch.setattr(pools, "WorkerPool", Borrowed(pool))


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """One process that has torch loaded, for all tests that measure."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with WorkerPool() as pool:
        yield pool
