from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fgbench import output
from fgbench.output import check_output, emit
from fgbench_selectors.errors import FgbenchError


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    target = tmp_path / "rows.json"
    target.write_text("old")
    target.chmod(0o640)  # neither what a temporary file has nor what a new one gets
    emit("new", target)
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_gets_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o026)
    try:
        emit("new", tmp_path / "rows.json")
    finally:
        os.umask(before)
    assert (tmp_path / "rows.json").stat().st_mode & 0o777 == 0o640


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path):
    longest = tmp_path / ("x" * 250 + ".json")
    check_output(longest)
    emit("new", longest)
    assert longest.read_text() == "new"
    with pytest.raises(FgbenchError, match="File name too long"):
        check_output(tmp_path / ("x" * 256))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "rows.json"
    target.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", full)
    with pytest.raises(FgbenchError, match="No space left on device"):
        emit("new", target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "rows.json", tmp_path / "latest.json"
    target.write_text("old")
    link.symlink_to(target)
    emit("new", link)
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    emit("text", pipe)
    reader.join(timeout=120)
    assert read == ["text"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(("path", "message"), [("missing/rows.json", "there is no folder"), (".", "it is a folder")])
def test_paths_that_cannot_be_written_are_refused_beforehand(tmp_path, path, message):
    with pytest.raises(FgbenchError, match=message):
        check_output(tmp_path / path)


def test_folders_without_permission_are_refused_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(output.os, "access", lambda *_: False)  # root, whom nothing is forbidden, runs tests too
    with pytest.raises(FgbenchError, match="permission is missing"):
        check_output(tmp_path / "rows.json")


def test_nothing_is_checked_without_a_path():
    check_output(None)
    check_output(Path("rows.json"))
