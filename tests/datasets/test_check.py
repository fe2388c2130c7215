"""The checks of a data set before it is used."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.dataset_layouts import LAYOUTS, TEST, TRAIN, draw, lists, write

from fgbench.datasets.build import datasets
from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import TABLE9, DataSet, DatasetError, FileSplit, Published
from fgbench.datasets.manifest import manifest


def made(root, train=TRAIN, test=TEST, names=("ant", "bee", "cat"), **more) -> DataSet:
    splits = {}
    for split, targets in (("train", train), ("test", test)):
        paths = [f"{split}/{n}.jpg" for n in range(len(targets))]
        for path in paths:
            draw(root / path)
        splits[split] = FileSplit(root, paths, targets)
    return DataSet(name="mine", class_names=names, **splits, **more)


def test_a_data_set_that_is_whole_has_nothing_to_say(tmp_path):
    report = check_dataset(made(tmp_path), read=True)
    assert (report.warnings, report.notes, report.unreadable, report.unreadable_in_words()) == ((), (), (), None)


@pytest.mark.parametrize("name", LAYOUTS)
def test_miniatures_are_usable_and_not_what_was_published(name, tmp_path):
    LAYOUTS[name](tmp_path)
    dataset = datasets.load(name)(tmp_path)
    report = check_dataset(dataset, read=True)
    assert report.unreadable == ()
    assert len(report.warnings) == (0 if dataset.published is None else 3)
    if name == "nabirds":
        assert "nabirds has 3 classes here and 555 in the paper" in report.warnings


def test_counts_that_are_as_published_are_no_warning(tmp_path):
    said = Published(classes=3, train_images=6, test_images=3)
    assert check_dataset(made(tmp_path, published=said)).warnings == ()
    fewer = check_dataset(made(tmp_path, published=replace(said, train_images=5994)))
    assert fewer.warnings == ("mine has 6 training images here and 5,994 in the paper",)


@pytest.mark.parametrize(("name", "printed"), [("vegfru", "116,391"), ("nabirds", "600")])
def test_the_misprints_of_table_9_are_noted(name, printed, tmp_path):
    (note,) = check_dataset(made(tmp_path, published=TABLE9[name])).notes
    assert printed in note


@pytest.mark.parametrize(("split", "role"), [("train", "training"), ("test", "test")])
def test_an_empty_split_is_an_error(split, role, tmp_path):
    with pytest.raises(DatasetError, match=f"mine has no {role} images"):
        check_dataset(made(tmp_path, **{split: []}))


def test_missing_images_are_counted_and_the_first_are_named(tmp_path):
    dataset = made(tmp_path, train=[0, 1, 2] * 4)
    for n in range(10):
        (tmp_path / f"train/{n}.jpg").unlink()
    with pytest.raises(DatasetError) as raised:
        check_dataset(dataset)
    assert "10 of 12 training images of mine are missing: 'train/0.jpg, " in str(raised.value)
    assert "train/7.jpg and 2 more'" in str(raised.value)
    assert "train/8.jpg" not in str(raised.value)


def test_a_class_without_a_training_image_cannot_be_learned(tmp_path):
    with pytest.raises(DatasetError, match="1 class of mine without a training image: 'bee'"):
        check_dataset(made(tmp_path, train=[0, 2]))


def test_class_ids_beyond_the_classes_are_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"the test images of mine have the class id 3; 3 classes have the ids 0…2"):
        check_dataset(made(tmp_path, test=[0, 3]))


def test_a_class_without_a_test_image_is_noted(tmp_path):
    assert check_dataset(made(tmp_path, test=[1])).notes == ("2 classes without a test image: ant, cat",)


def test_images_of_both_splits_are_noted(tmp_path):
    dataset = made(tmp_path)
    doubled = replace(dataset, test=FileSplit(tmp_path, ["train/0.jpg", "test/0.jpg", "test/0.jpg"], TEST))
    assert check_dataset(doubled).notes == (
        "1 image of test listed more than once",
        "1 image both in training and in test: train/0.jpg",
        "1 image with two classes: test/0.jpg is bee and test/0.jpg is cat",
    )


def test_notes_of_the_reader_are_passed_on(tmp_path):
    lists(tmp_path, {"train_val.csv": [2, 4], "test.csv": [2, 4]})
    assert check_dataset(manifest(tmp_path)).notes == ("class ids were renumbered: 2 ids between 2 and 4 have images",)


def test_images_that_cannot_be_read_are_listed_and_progress_is_told(tmp_path):
    dataset, told = made(tmp_path), []
    write(tmp_path / "train/1.jpg", ["no image"])
    whole = (tmp_path / "test/2.jpg").read_bytes()
    (tmp_path / "test/2.jpg").write_bytes(whole[: len(whole) // 2])
    assert check_dataset(dataset).unreadable == ()  # none is opened unless that is asked for
    report = check_dataset(dataset, read=True, progress=lambda *counts: told.append(counts))
    assert report.unreadable == ("train/1.jpg", "test/2.jpg")
    assert report.unreadable_in_words() == "2 images cannot be read: train/1.jpg, test/2.jpg"
    assert told == [(n, 9) for n in range(1, 10)]
