from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgbench.workers.pool import WorkerPool

FAULTY = Path(__file__).with_name("faulty.py")


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """One process that has torch loaded, for all tests that measure."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with WorkerPool() as pool:
        yield pool
