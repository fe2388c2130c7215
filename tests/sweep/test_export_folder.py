"""Exported files of a sweep that was killed are removed by the next one; those of a sweep that runs stay."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fgbench.sweep.export_folder import FOLDER, ExportFolder

WAITS = """
import sys
from fgbench.sweep.export_folder import ExportFolder
folder = ExportFolder()
(folder.path / "model.onnx").write_text("weights")
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def other():
    """Another process with a folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WAITS], text=True, **pipes) as process:
        process.path = process.stdout.readline().strip()
        yield process
        process.kill()


def names(folder):
    return sorted(str(path) for path in folder.iterdir())


def test_a_folder_is_there_until_it_is_closed(temporary):
    folder = ExportFolder()
    (folder.path / "inner").mkdir()
    assert folder.path.name.startswith(FOLDER)
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.close()
    folder.close()
    assert names(temporary) == []


def test_that_of_a_process_that_was_killed_is_removed_and_that_of_one_that_runs_is_not(temporary, other):
    mine = ExportFolder()
    assert names(temporary) == sorted([str(mine.path), other.path])
    other.kill()
    other.wait()
    another = ExportFolder()
    assert names(temporary) == sorted([str(mine.path), str(another.path)])
    mine.close()
    another.close()


def test_what_is_not_ours_stays(temporary):
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere" / "alive").touch()
    (temporary / f"{FOLDER}link").symlink_to(temporary / "elsewhere")
    (temporary / f"{FOLDER}empty").mkdir()
    (temporary / f"{FOLDER}file").touch()
    ExportFolder().close()
    assert len(names(temporary)) == 4
