"""Names of benchmarks, matched by their end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.regression.benchmark_names import match_names


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ("tests/a.py::test_x", "repo/tests/a.py::test_x"),
        ("repo/tests/a.py::test_x", "tests/a.py::test_x"),
        ("old/tests/a.py::test_x", "new/tests/a.py::test_x"),
        ("a.py::test_x[1/2]", "./tests/a.py::test_x[1/2]"),
        ("tests/a.py::TestIt::test_x[a::b]", "repo/tests/a.py::TestIt::test_x[a::b]"),
        ("tests/a.py::test_x", "C:\\repo\\tests\\a.py::test_x"),
        ("tests/[a]/a.py::test_x", "r/tests/[a]/a.py::test_x"),
        ("test_x", "tests/a.py::test_x"),
    ],
)
def test_a_name_that_ends_alike_is_the_same(known, name):
    assert match_names([known], [name]).renamed == {name: known}


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ("tests/a.py::test_x", "tests/b.py::test_x"),
        ("tests/a.py::test_x", "repo/tests/a.py::test_y"),
        ("tests/a.py::test_x[1]", "repo/tests/a.py::test_x[2]"),
        ("tests/a.py::test_x", "repo/tests/a.py::test_x[1]"),
        ("tests/a.py::One::test_x", "repo/tests/a.py::Two::test_x"),
        ("tests/a.py::test_x", "repo/tests/aa.py::test_x"),
        ("test_x", "tests/a.py::test_xx"),
    ],
)
def test_other_names_are_others(known, name):
    found = match_names([known], [name])
    assert (found.renamed, found.unclear) == ({}, {})


def test_of_several_that_end_alike_the_root_that_explains_the_most_counts():
    known = ["a/t.py::x", "b/t.py::x"]
    assert match_names(known, ["r/a/t.py::x", "r/b/t.py::x"]).renamed == {
        "r/a/t.py::x": "a/t.py::x",
        "r/b/t.py::x": "b/t.py::x",
    }
    unclear = match_names(known, ["c/t.py::x", "d/t.py::x"])
    assert unclear.renamed == {}
    assert unclear.unclear == {name: ["c/t.py::x", "d/t.py::x"] for name in known}
    assert match_names(["a/t.py::x"], ["c/t.py::x", "d/t.py::x"]).unclear == {"a/t.py::x": ["c/t.py::x", "d/t.py::x"]}
    assert match_names(known, ["c/t.py::x"]).unclear == {name: ["c/t.py::x"] for name in known}


names = st.builds(
    lambda folders, file, function: "/".join([*folders, f"{file}.py::{function}"]),
    st.lists(st.sampled_from("abc"), max_size=3),
    st.sampled_from("tu"),
    st.sampled_from(["x", "y", "x[1]", "C::x"]),
)


@given(st.lists(names, unique=True, max_size=8), st.lists(names, unique=True, max_size=8))
def test_no_name_is_matched_twice_and_what_is_there_keeps_its_name(known, fresh):
    found = match_names(known, fresh)
    assert len(set(found.renamed.values())) == len(found.renamed)
    assert not {*found.renamed, *found.renamed.values()} & ({*known} & {*fresh})
    assert not {*found.unclear} & {*found.renamed.values()}
    for name, before in found.renamed.items():
        assert name.split("/")[-1] == before.split("/")[-1]


@given(st.lists(names, unique=True, max_size=8), st.sampled_from(["repo", "deep/repo"]))
def test_one_new_root_for_all_is_always_clear(known, root):
    fresh = [f"{root}/{name}" for name in known]
    assert match_names(known, fresh).renamed == dict(zip(fresh, known, strict=True))
