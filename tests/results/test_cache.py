"""The cache returns correct rows only, and never causes an error."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.results import cache

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FGBENCH_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def files(place: Path) -> list[Path]:
    return sorted(place.iterdir())


@given(value=JSON, key=st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_what_is_written_is_read(value, key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGBENCH_CACHE", str(folder))
        assert cache.read("a", key) is None
        cache.write("a", key, value)
        assert cache.read("a", key) == value
        assert cache.read("b", key) is None
        assert cache.read("a", {**key, "more": 1}) is None


def test_every_change_of_a_byte_is_noticed(place):
    cache.write("a", {}, {"macs": 1234567})
    (file,) = files(place)
    whole = file.read_bytes()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            file.write_bytes(damaged)
            assert cache.read("a", {}) is None
    file.write_bytes(whole)
    assert cache.read("a", {}) == {"macs": 1234567}


@pytest.mark.parametrize("named", ["off", "/proc/no/cache", "a-file/cache", "/dev/null", "x" * 300, "nu\udcffll"])
def test_where_nothing_can_be_kept_nothing_is(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("")
    monkeypatch.setenv("FGBENCH_CACHE", named)
    cache.write("a", {}, 1)
    assert cache.read("a", {}) == (1 if named.startswith("nu") else None)
    assert Path("a-file").read_text() == ""


def test_a_folder_in_place_of_a_file_is_no_error(place):
    cache.write("a", {}, 1)
    (file,) = files(place)
    file.unlink()
    file.mkdir()
    cache.write("a", {}, 2)
    assert cache.read("a", {}) is None


def test_a_pipe_in_place_of_a_file_is_not_waited_for(place):
    cache.write("a", {"key": 1}, 1)
    (file,) = files(place)
    file.unlink()
    os.mkfifo(file)
    assert cache.read("a", {"key": 1}) is None
    cache.write("a", {"key": 1}, 2)
    assert cache.read("a", {"key": 1}) == 2


def test_many_write_at_once_and_readers_see_whole_values(place):
    values = [[number] * 2000 for number in range(40)]

    def both(value: list[int]) -> list[int] | None:
        cache.write("a", {}, value)
        return cache.read("a", {})

    with ThreadPoolExecutor(8) as pool:
        assert all(found in values for found in pool.map(both, values))
    assert len(files(place)) == 1


def test_the_oldest_go_when_there_are_too_many(place, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 10)
    for number in range(11):
        cache.write("a", {"n": number}, number)
        os.utime(max(files(place), key=lambda file: file.stat().st_mtime_ns), (number, number))
    assert cache.read("a", {"n": 0}) is None
    assert cache.read("a", {"n": 10}) == 10
    assert len(files(place)) <= 10


def test_nobody_else_may_write_what_is_read(place):
    cache.write("a", {}, 1)
    (file,) = files(place)
    assert not stat.S_IMODE(file.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
