from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from helpers.stores import fill, start

from fgbench.results.store import Store


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
    """A store whose writer, an earlier fgbench, was killed: its last points are in the log beside it."""
    fill(path, 40)
    with start("logged", path, 40) as process:
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
