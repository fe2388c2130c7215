from __future__ import annotations

from pathlib import Path

import pytest
from helpers.regress_command import SMALL, run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FGBENCH_STORE", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


@pytest.fixture
def baseline() -> Path:
    assert run("--baseline", "baseline.json", "--update", *SMALL).exit_code == 0
    return Path("baseline.json")
