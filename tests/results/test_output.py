from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from fgbench.results import output
from fgbench.results.output import check_folder, check_output, emit, emit_bytes, make_folder
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


def test_a_link_to_a_missing_folder_is_refused_with_that_folder(tmp_path):
    (tmp_path / "link.csv").symlink_to("missing/rows.csv")
    with pytest.raises(FgbenchError, match=f"there is no folder '{tmp_path}/missing'; make it first"):
        check_output(tmp_path / "link.csv")


def test_folders_without_permission_are_refused_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(output.os, "access", lambda *_: False)  # root, whom nothing is forbidden, runs tests too
    with pytest.raises(FgbenchError, match="permission is missing"):
        check_output(tmp_path / "rows.json")


@pytest.fixture
def precious(tmp_path):
    """A file, and the function that opens it: the path of its descriptor in this process."""
    file = tmp_path / "precious.json"
    file.write_text("precious")
    with ExitStack() as opened:

        def descriptor(flags: int) -> int:
            number = os.open(file, flags)
            opened.callback(os.close, number)
            return number

        yield file, descriptor


@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/thread-self/fd/{}", "link"])
def test_a_descriptor_that_is_open_for_reading_alone_is_refused_beforehand_and_left_alone(tmp_path, precious, place):
    file, descriptor = precious
    path = Path(place.format(number := descriptor(os.O_RDONLY)))
    if place == "link":
        path = tmp_path / "link"
        path.symlink_to(f"/dev/fd/{number}")
    for write in (check_output, lambda path: emit("text", path)):
        with pytest.raises(FgbenchError, match="it is open for reading alone"):
            write(path)
    assert file.read_text() == "precious"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"precious.json", "link"}


@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_descriptor_of_a_file_is_written_to_at_its_place(precious, place):
    file, descriptor = precious
    number = descriptor(os.O_WRONLY | os.O_APPEND)
    before = file.stat().st_ino
    path = Path(place.format(number))
    check_output(path)
    emit(" one", path)
    emit_bytes(b" two", path)
    assert (file.read_text(), file.stat().st_ino) == ("precious one two", before)


def test_descriptors_that_are_not_open_or_of_another_process_are_refused(tmp_path, precious):
    file, _ = precious
    with pytest.raises(FgbenchError, match="no descriptor of this number is open"):
        check_output(Path("/dev/fd/999"))
    with file.open() as stdin, subprocess.Popen(["sleep", "600"], stdin=stdin) as other:
        for write in (check_output, lambda path: emit("text", path)):
            with pytest.raises(FgbenchError, match="open in another process; name the file itself"):
                write(Path(f"/proc/{other.pid}/fd/0"))
        other.kill()
    assert file.read_text() == "precious"


def test_a_pipe_behind_a_link_is_written_to(tmp_path):
    reading, writing = os.pipe()
    link = tmp_path / "link"
    link.symlink_to(f"/proc/self/fd/{writing}")
    emit("text", link)
    os.close(writing)
    with os.fdopen(reading) as read:
        assert read.read() == "text"
    assert link.is_symlink()


def test_a_pipe_that_nobody_reads_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "READER_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FgbenchError, match="nobody has read it"):
        emit("text", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_that_is_not_there_is_not_waited_for():
    """The terminal of a process that has none: the system answers as it does for a pipe without a reader."""
    code = "from pathlib import Path; from fgbench.results.output import emit; emit('text', Path('/dev/tty'))"
    ended = subprocess.run(
        [sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True, check=False
    )
    assert ended.stderr.splitlines()[-1].endswith("cannot write to '/dev/tty'; No such device or address")


def test_sockets_and_loops_of_links_are_refused_beforehand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        Path("loop").symlink_to("loop")
        for name, words in (("socket", "it is a socket"), ("loop", "symbolic links"), ("nul\0", "null")):
            with pytest.raises(FgbenchError, match=words):
                check_output(Path(name))
            with pytest.raises(FgbenchError, match=words):
                emit("text", Path(name))


def test_half_a_character_is_written_as_json_writes_it(tmp_path):
    emit(json.dumps({"name": "a\udcff\ud800·"}, ensure_ascii=False), tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == {"name": "a\udcff\ud800·"}


def test_folders_are_checked_before_they_are_made(tmp_path):
    check_folder(tmp_path / "one" / "two")
    make_folder(tmp_path / "one" / "two")
    make_folder(tmp_path / "one" / "two")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    wrong = {"file": "is no folder", "file/x": "is no folder", "loop/x": "symbolic links", "x" * 300: "too long"}
    wrong |= {f"new/{'x' * 300}/y": "too long", "nul\0": "null"}
    for name, words in wrong.items():
        with pytest.raises(FgbenchError, match=words):
            check_folder(tmp_path / name)
        with pytest.raises(FgbenchError, match="cannot write to"):
            make_folder(tmp_path / name)
    with pytest.raises(FgbenchError, match="there is no folder"):
        check_folder(tmp_path / "three" / "four", parents=False)


def test_nothing_is_checked_without_a_path():
    check_output(None)
    check_output(Path("rows.json"))
