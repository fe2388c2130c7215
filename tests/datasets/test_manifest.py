"""CSV lists: the split that each of them is, their permitted formats, and all errors."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from helpers.dataset_layouts import draw, lists
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import DataSet, DatasetError
from fgbench.datasets.files import below_root, renumber
from fgbench.datasets.manifest import manifest

HEADER = "class_id,dir\n"


def opened(root: Path, train: str | bytes, test: str | bytes = HEADER + "0,t.jpg\n") -> DataSet:
    for file, content in (("train_val.csv", train), ("test.csv", test)):
        (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return manifest(root)


@pytest.mark.parametrize(
    ("files", "train", "test"),
    [
        (["train_val.csv", "test.csv"], 1, 1),
        (["train.csv", "val.csv", "test.csv"], 2, 1),
        (["train.csv", "test.csv"], 1, 1),
        (["train.csv", "val.csv"], 1, 1),
        (["train_val.csv", "train.csv", "val.csv", "test.csv"], 1, 1),
        (["train_val.csv", "train.csv", "val.csv"], 1, 1),
    ],
)
def test_lists_are_put_together_as_the_paper_does(files, train, test, tmp_path):
    lists(tmp_path, {file: [0] for file in files})
    dataset = manifest(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (train, test)
    assert dataset.train.name(0).endswith("train_val_0.jpg") == ("train_val.csv" in files and "test.csv" in files)
    assert dataset.test.name(0).endswith("test_0.jpg" if "test.csv" in files else "val_0.jpg")


@pytest.mark.parametrize("files", [["train.csv"], ["train_val.csv"], ["train_val.csv", "val.csv"]])
def test_a_list_of_test_images_is_needed(files, tmp_path):
    lists(tmp_path, {file: [0] for file in files})
    with pytest.raises(DatasetError, match=r"no list of test images in .*; expected test\.csv.*found: images/"):
        manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "class_id,dir\n0,a.jpg\n1,b.jpg\n",
        "\ufeffclass_id,dir\n0,a.jpg\n1,b.jpg\n",
        "class_id,dir\r\n0,a.jpg\r\n1,b.jpg\r\n",
        ' class_id , dir \n0, a.jpg\n\n1,"b.jpg"',
        "dir,more,class_id\na.jpg,x,0\n./b.jpg,y,01\n",
    ],
)
def test_a_list_may_come_from_any_program(content, tmp_path):
    train = opened(tmp_path, content).train
    assert ([*train.paths], [*train.targets]) == (["a.jpg", "b.jpg"], [0, 1])


def test_a_path_may_hold_commas(tmp_path):
    assert opened(tmp_path, HEADER + '0,"a, b/c d.jpg"\n').train.name(0) == "a, b/c d.jpg"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "an empty file: "),
        ("dir\na.jpg\n", "no column class_id in "),
        ("0,a.jpg\n", "no column class_id and dir in "),
        (HEADER + "x,a.jpg\n", "has the class id 'x'; class ids are whole numbers from 0"),
        (HEADER + "-1,a.jpg\n", "has the class id '-1'"),
        (HEADER + "1.0,a.jpg\n", "has the class id '1.0'"),
        (HEADER + "9999999999,a.jpg\n", "has the class id '9999999999'"),
        (HEADER + "0\n", "has 1 values: '0'; expected class_id,dir"),
        (HEADER + "0,\n", "line 2 of "),
        (HEADER + "0,../a.jpg\n", "leads out of the data set: '../a.jpg'"),
        (HEADER + "0,b/../../a.jpg\n", "leads out of the data set"),
        (HEADER + "0,/etc/passwd\n", "leads out of the data set: '/etc/passwd'"),
        (HEADER + "0,a.jpg\n1,a.jpg\n", "gives class 1, an earlier line class 0, to 'a.jpg'"),
        (HEADER.encode() + b"0,\xe4.jpg\n", "not a text file in UTF-8: "),
        (HEADER + "0," + "a" * 200_000 + "\n", "is no CSV: 'field larger than field limit"),
    ],
)
def test_a_wrong_list_is_one_line_with_its_place(content, said, tmp_path):
    with pytest.raises(DatasetError) as raised:
        opened(tmp_path, content)
    assert said in str(raised.value)
    assert "train_val.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_line_that_is_there_twice_counts_once_and_is_noted(tmp_path):
    dataset = opened(tmp_path, HEADER + "0,a.jpg\n0,a.jpg\n0,./a.jpg\n")
    assert (len(dataset.train), dataset.notes) == (1, ("2 lines repeat an earlier one and were left out",))


def test_lists_that_are_not_read_are_named(tmp_path):
    lists(tmp_path, {file: [0] for file in ("train_val.csv", "train.csv", "val.csv", "test.csv")})
    said = "left out: train.csv and val.csv, as test.csv and train_val.csv are the lists here"
    assert said in manifest(tmp_path).notes


def test_a_list_whose_lines_have_two_meanings_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="several columns class_id"):
        opened(tmp_path, "class_id,dir,class_id\n0,a.jpg,1\n")
    (tmp_path / "classid_classname.csv").write_text("class_id,class_name\n0,A\n0,B\n")
    with pytest.raises(DatasetError, match=r"line 3 of .* names class 0 anew: 'B'; it is 'A' above"):
        opened(tmp_path, HEADER + "0,a.jpg\n")


def test_names_that_no_file_can_have_are_one_line(tmp_path):
    draw(tmp_path / "t.jpg")
    with pytest.raises(DatasetError, match="line 2"):
        opened(tmp_path, HEADER + "0,a\0.jpg\n")
    with pytest.raises(DatasetError, match="1 of 1 training images"):
        check_dataset(opened(tmp_path, HEADER + f"0,{'x' * 300}.jpg\n"))


def test_gaps_are_closed_in_both_splits_alike(tmp_path):
    dataset = opened(tmp_path, HEADER + "7,a.jpg\n3,b.jpg\n", HEADER + "7,c.jpg\n9,d.jpg\n")
    assert ([*dataset.train.targets], [*dataset.test.targets]) == ([1, 0], [1, 2])
    assert list(dataset.class_names) == ["3", "7", "9"]
    assert dataset.notes == ("class ids were renumbered: 3 ids between 3 and 9 have images",)


@pytest.mark.parametrize("header", ["class_id,class_name", "class_id,classname", "name,class_id"])
def test_classes_have_the_names_of_their_list(header, tmp_path):
    line = "Rei,0" if header.startswith("name") else "0,Rei"
    (tmp_path / "classid_classname.csv").write_text(f"{header}\n{line}\n")
    assert list(opened(tmp_path, HEADER + "0,a.jpg\n1,b.jpg\n").class_names) == ["Rei", "1"]


def test_a_list_of_names_without_names_is_an_error(tmp_path):
    (tmp_path / "classid_classname.csv").write_text("class_id\n0\n")
    with pytest.raises(DatasetError, match="no column class_name in"):
        opened(tmp_path, HEADER + "0,a.jpg\n")


def test_what_a_list_names_is_looked_for(tmp_path):
    draw(tmp_path / "a.jpg")
    assert opened(tmp_path, HEADER + "0,a.jpg\n0,b.jpg\n").train.missing() == ["b.jpg"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: (HEADER + text).encode(errors="replace")))
def test_no_list_whatever_is_in_it_ends_in_a_traceback(content, tmp_path):
    with suppress(DatasetError):
        opened(tmp_path, content).train.missing()


@given(train=st.lists(st.integers(0, 50)), test=st.lists(st.integers(0, 50)), first=st.sampled_from([0, 1]))
def test_renumbering_keeps_order_and_leaves_no_gap(train, test, first):
    made = renumber(train, test, {}, first)
    used = sorted({*train, *test})
    assert sorted({*made.train, *made.test}) == list(range(len(used)))
    assert [used[new] for new in made.train] == train
    assert [used[new] for new in made.test] == test
    assert made.class_names == [str(old) for old in used]
    assert bool(made.notes) == bool(used and used != list(range(first, first + len(used))))


@given(st.text(max_size=30))
def test_a_path_that_is_kept_stays_below_its_root(text):
    try:
        kept = below_root(text)
    except ValueError:
        return
    assert (Path("root") / kept).parts[0] == "root"
    assert ".." not in Path(kept).parts
    assert below_root(kept) == kept
