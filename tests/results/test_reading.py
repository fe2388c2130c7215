"""The reader of files does not block on pipes, devices or similar paths."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from fgbench.results import reading
from fgbench.results.reading import DEEPEST, opened, parse_json, read_bytes, read_text, to_json


def why(read, path: Path) -> str:
    with pytest.raises(OSError) as error:  # noqa: PT011  # of several kinds
        read(path)
    assert "\n" not in str(error.value.strerror)
    return error.value.strerror


def opens(path: Path) -> None:
    with opened(path):
        pass


def test_a_file_is_read_as_it_is(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(data := os.urandom(200_000))
    assert read_bytes(file) == data
    with opened(file) as found:
        assert found.read(10) == data[:10]
        found.seek(-10, os.SEEK_END)
        assert found.read() == data[-10:]
    file.write_text("\ufefftext", encoding="utf-8")
    assert read_text(file, encoding="utf-8-sig") == "text"


@pytest.mark.parametrize("read", [opens, read_bytes])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, read):
    assert why(read, tmp_path) == "it is a folder; name a file in it"
    assert why(read, Path("/dev/zero")) == why(read, Path("/dev/urandom")) == "it is a device; name a file"
    assert why(read, tmp_path / "nothing") == "No such file or directory"
    assert why(read, tmp_path / ("x" * 300)) == "File name too long"
    assert "null" in why(read, tmp_path / "nul\0")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "symbolic links" in why(read, tmp_path / "loop")


def test_a_pipe_without_a_writer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "WRITER_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    assert why(opens, tmp_path / "pipe") == "it is a pipe; name a file"
    assert why(read_bytes, tmp_path / "pipe") == "it is a pipe that nobody writes into; name a file"


def test_a_pipe_is_read_to_its_end_whenever_its_writer_comes(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = os.urandom(300_000)  # more than a pipe holds at once
    writer = threading.Timer(0.2, pipe.write_bytes, [data])
    writer.start()
    assert read_bytes(pipe) == data
    writer.join()


def test_a_pipe_that_stays_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SILENCE_S", 0.1)
    read, write = os.pipe()
    assert why(read_bytes, Path(f"/dev/fd/{read}")) == "nothing came through this pipe in 0.1 s"
    os.write(write, b"something")
    assert why(read_bytes, Path(f"/dev/fd/{read}")) == "nothing came through this pipe in 0.1 s"
    os.close(read)
    os.close(write)


def test_what_has_no_end_is_read_up_to_the_limit(tmp_path):
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(bytes(1001))
    assert why(lambda path: read_bytes(path, 1000), file) == "it is larger than 0.001 MB"
    assert len(read_bytes(file, 1001)) == 1001
    os.mkfifo(pipe)
    written = []

    def write() -> None:
        with pipe.open("wb", buffering=0) as end:
            try:
                while True:
                    written.append(end.write(bytes(10_000)))
            except BrokenPipeError:
                pass

    writer = threading.Thread(target=write)
    writer.start()
    assert "larger than" in why(lambda path: read_bytes(path, 10**6), pipe)
    writer.join()
    assert sum(written) < 10**6 + 2 * 10**5  # no more than what a pipe holds, and a chunk


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [DEEPEST + 1, 490, 5000, 500_000])
def test_json_that_is_nested_deep_is_a_wrong_value(levels):
    for text in (nested(levels), nested(levels).replace("[", '{"a":[').replace("]", "]}")):
        with pytest.raises(ValueError, match="nested deeper than 100 levels"):
            parse_json(text)


def test_json_is_written_as_deep_as_it_is_read():
    value = json.loads(nested(DEEPEST))
    assert parse_json(to_json(value)) == value
    with pytest.raises(ValueError, match="nested deeper"):
        to_json([value])
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))
