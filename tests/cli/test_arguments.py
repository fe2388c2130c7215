from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgbench.values import (
    batch_sizes,
    image_sizes,
    literals,
    output_format,
    real_number,
    split_list,
    spread_values,
    whole_number,
)
from fgbench_selectors.errors import FgbenchError


@pytest.mark.parametrize(
    "typed",
    [
        "--sizes 224 448",
        "--sizes 224,448",
        "--sizes=224,448",
        "--sizes=224 448",
        "--sizes 224 --sizes 448",
        "--sizes 224, 448",
        "--sizes '224 448'",
        "--sizes='224 448'",
    ],
)
def test_lists_come_in_every_habit(typed):
    spread = spread_values([*shlex.split(typed), "--format", "json"], ["--sizes"])
    assert spread[-2:] == ["--format", "json"]
    values = [word.removeprefix("--sizes=") for word in spread[:-2]]
    assert image_sizes(values) == [224, 448]


def test_what_is_no_list_is_left_alone():
    words = ["flops", "--format", "json", "--", "--sizes", "1", "2"]
    assert spread_values(words, ["--sizes"]) == words
    assert spread_values(["--sizes", "--format", "json"], ["--sizes"]) == ["--sizes", "--format", "json"]
    assert spread_values(["--sizes", "-5"], ["--sizes"]) == ["--sizes=-5"]


@given(st.lists(st.integers(1, 9999), min_size=1, unique=True))
def test_sizes_survive_any_mixture(sizes):
    words = [str(size) for size in sizes]
    assert split_list([",".join(words[:2]), *words[2:]]) == words


@pytest.mark.parametrize("text", ["", "x", "0", "-3", "2.5", "nan", "1e3", "²", "١٢٨", "1_60", "9" * 5000])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(FgbenchError, match="image size must be"):
        whole_number(text, "image size", 224)


@pytest.mark.parametrize("text", ["", "x", "-3", "nan", "inf", "0_1", "1_0", "٠.١", "1,5"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(FgbenchError, match="share must"):
        real_number(text, "share", 0.7, 100.0)


def test_values_of_options_are_read_as_they_are_written():
    words = ["a=16", "b=-3", "c=0.5", "d=1e-3", "e=true", "f=1_6", "g=rollout", "h=", "i=١٦"]
    values = [16, -3, 0.5, 1e-3, True, "1_6", "rollout", "", "١٦"]
    assert list(literals(words, "--model-options").values()) == values


def test_one_batch_size_in_two_spellings_is_one():
    assert batch_sizes(["8", "08", "+8", "4"]) == [8, 4]


@pytest.mark.parametrize(
    ("given_", "file", "expected"),
    [
        (None, None, "table"),
        (None, "a.json", "json"),
        (None, "a.MD", "markdown"),
        ("csv", "a.json", "csv"),
        (None, "a", "table"),
    ],
)
def test_the_format_is_the_files_unless_it_is_asked_for(given_, file, expected):
    assert output_format(given_, Path(file) if file else None) == expected
