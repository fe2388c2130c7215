"""Folders of images: files that are images, files that are left out and reported, and links of every kind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_layouts import draw, jpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from fgbench.cli import app
from fgbench.datasets.build import open_dataset
from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import DataSet, DatasetError, readable
from fgbench.datasets.walk import is_image
from fgbench.training.config import identify
from fgbench.training.loading import check_unreadable


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes with two training images and a test image each."""
    for n, name in enumerate(("train/a/1", "train/a/2", "train/b/3", "train/b/4", "test/a/5", "test/b/6")):
        draw(tmp_path / f"{name}.jpg", n)
    return tmp_path


def opened(root: Path) -> DataSet:
    """The data set in a folder, after a look at every image."""
    dataset = open_dataset("folder", root)
    assert check_dataset(dataset, read=True).unreadable == ()
    return dataset


def trained(dataset: DataSet) -> list[str]:
    return [dataset.train.name(index) for index in range(len(dataset.train))]


def refused(root: Path) -> str:
    with pytest.raises(DatasetError) as raised:
        open_dataset("folder", root)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_whatever_pillow_reads_is_an_image(root):
    picture = Image.new("RGB", (24, 16), (200, 10, 10))
    for suffix in ("jfif", "jpe", "JPG", "Png", "tga", "jp2", "avif", "ico", "pcx", "sgi", "dib", "apng", "qoi", "ppm"):
        if Image.registered_extensions().get(f".{suffix.lower()}") in Image.SAVE:  # depends on how Pillow was built
            picture.save(root / f"train/b/x.{suffix}")
    added = len(list((root / "train/b").iterdir())) - 2
    dataset = opened(root)
    assert added >= 8
    assert (len(dataset.train), dataset.left_out) == (4 + added, ())


def test_a_class_of_another_suffix_is_a_class(root):
    for split in ("train", "test"):
        draw(root / split / "c/7.jfif")
    assert opened(root).class_names == ["a", "b", "c"]


def test_a_file_without_a_suffix_is_told_by_its_content(root):
    draw(root / "train/a/7")
    draw(root / "train/a/n02085620.7")
    (root / "train/a/words").write_text("no image")
    dataset = opened(root)
    assert trained(dataset)[-2:] == ["train/b/3.jpg", "train/b/4.jpg"]
    assert len(dataset.train) == 6
    assert dataset.left_out == (
        "left out: 1 file that is no image: train/a/words",
        "2 files without a suffix of images are read by the content: train/a/7, train/a/n02085620.7",
    )


def test_what_is_left_out_is_counted_and_named(root):
    for file in ("notes.txt", "Thumbs.db", "desktop.ini", "archive.tar.gz", "1.jpg.bak", "2.jpg~"):
        draw(root / "train/a" / file)
    (root / "train/a/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "train/a/desktop.ini").write_text("[ViewState]")
    for file in ("a/.DS_Store", "a/._1.jpg", ".hidden/7.jpg", "__MACOSX/a/._1.jpg", "a/@eaDir/1.jpg", "loose.jpg"):
        draw(root / "train" / file)
    draw(root / "extra/deep/1.jpg")
    draw(root / "cover.png")
    (root / "train/b/zero.jpg").touch()
    (root / "README.md").touch()
    dataset = opened(root)
    assert trained(dataset) == ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "train/b/4.jpg"]
    said = "\n".join(dataset.left_out)
    assert "left out: 3 hidden files: train/.hidden/7.jpg, train/a/.DS_Store, train/a/._1.jpg" in said
    assert "left out: 2 files in folders of the system: train/__MACOSX/a/._1.jpg, train/a/@eaDir/1.jpg" in said
    assert "left out: 1 file beside the class folders: train/loose.jpg" in said
    assert "left out: 4 files whose suffix is not an image's: train/a/1.jpg.bak" in said
    assert "left out: 2 files that are no images: train/a/Thumbs.db, train/a/desktop.ini" in said
    assert "left out: 1 empty file: train/b/zero.jpg" in said
    assert "left out: 2 images beside train/ and test/: cover.png, extra/deep/1.jpg" in said
    assert set(dataset.left_out) <= set(check_dataset(dataset).notes)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_folder_without_an_image_is_an_error(split, root):
    (root / split / "c").mkdir()
    assert f"a class folder without an image: '{split}/c'; it is empty; put images there" in refused(root)
    (root / split / "c/notes.txt").write_text("none")
    (root / split / "c/zero.png").touch()
    said = refused(root)
    assert f"it holds 1 file whose suffix is not an image's: {split}/c/notes.txt; 1 empty file" in said
    (root / split / "d").mkdir()
    assert f"2 class folders without an image: '{split}/c, {split}/d'; the first holds" in refused(root)


def test_a_link_to_a_folder_around_it_adds_nothing(root):
    for n, target in enumerate(("..", "../..", "../../..", ".", str(root), str(root / "train"))):
        (root / f"train/a/up{n}").symlink_to(target)
        (root / f"train/b/up{n}").symlink_to(target)
    (root / "train/again").symlink_to(root / "train")
    dataset = opened(root)
    assert trained(dataset) == ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "train/b/4.jpg"]
    assert len(dataset.test) == 2
    (said,) = dataset.left_out
    assert said.startswith("left out: 13 links to folders that they lie in: train/again, train/a/up0, train/a/up1")


def test_links_between_folders_take_no_image_from_its_class(root):
    (root / "train/a/to_b").symlink_to(root / "train/b")
    (root / "train/b/to_a").symlink_to(root / "train/a")
    dataset = opened(root)
    assert trained(dataset) == ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "train/b/4.jpg"]
    assert [*dataset.train.targets] == [0, 0, 1, 1]
    assert dataset.left_out == ("left out: 2 links to folders that are there already: train/a/to_b, train/b/to_a",)


def test_a_class_may_be_a_link_and_its_images_too(root, tmp_path_factory):
    pool = tmp_path_factory.mktemp("pool")
    for n in range(3):
        draw(pool / f"c/deep/{n}.jpg")
        draw(pool / f"single{n}.jpg")
    (pool / "c/loop").symlink_to(pool)
    (pool / "c/twice").symlink_to(pool / "c/deep")
    (root / "train/c").symlink_to(pool / "c")
    (root / "train/b/9.jpg").symlink_to(pool / "single0.jpg")
    dataset = opened(root)
    assert dataset.class_names == ["a", "b", "c"]
    assert trained(dataset)[2:] == [
        *("train/b/3.jpg", "train/b/4.jpg", "train/b/9.jpg"),
        *("train/c/deep/0.jpg", "train/c/deep/1.jpg", "train/c/deep/2.jpg"),
    ]
    said = "\n".join(dataset.left_out)
    assert "1 link to a folder that it lies in: train/c/loop" in said
    assert "1 link to a folder that is there already: train/c/twice" in said


def test_every_line_about_a_folder_names_the_data_set(root):
    (root / "train/a/loop").symlink_to(root / "train")
    (root / "test/a/notes.txt").write_text("no picture")
    (root / "none.pth").write_bytes(b"no weights")
    words = ["accuracy", "--dataset", "folder", "--data-dir", str(root), "--test-only"]
    words += ["--checkpoint", str(root / "none.pth")]
    said = [line for line in CliRunner().invoke(app, words).stderr.splitlines() if "left out" in line]
    assert len(said) == 2
    assert all(line.startswith("fgbench: folder: left out: 1 ") for line in said)


def test_a_file_counts_once_whatever_its_names(root):
    (root / "train/a/0.jpg").symlink_to("1.jpg")
    os.link(root / "train/a/2.jpg", root / "train/a/hard.jpg")
    (root / "train/a/gone.jpg").symlink_to("nowhere.jpg")
    (root / "train/a/self.jpg").symlink_to("self.jpg")
    (root / "test/a/leak.jpg").symlink_to("../../train/a/1.jpg")
    dataset = opened(root)
    assert trained(dataset) == ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "train/b/4.jpg"]
    said = "\n".join(dataset.left_out)
    assert "2 other names of images that are there already: train/a/hard.jpg, train/a/0.jpg" in said
    assert "2 links that lead to nothing: train/a/gone.jpg, train/a/self.jpg" in said
    (note,) = set(check_dataset(dataset).notes) - set(dataset.left_out)
    assert note == "1 image of test in training, too, under another name: test/a/leak.jpg"


def test_a_second_name_of_a_class_is_a_class_without_images(root):
    (root / "train/c").symlink_to("a")
    assert "a class folder without an image: 'train/c'; it holds 1 link to a folder that is there already" in refused(
        root
    )


def test_a_second_class_of_a_file_is_named_with_the_one_that_it_keeps(root):
    (root / "train/b/again.jpg").hardlink_to(root / "train/a/1.jpg")
    dataset = opened(root)
    assert trained(dataset).count("train/b/again.jpg") == 0
    said = (
        "1 other name, in a second class, of an image that keeps its first class: train/b/again.jpg (as train/a/1.jpg)"
    )
    assert dataset.left_out == (f"left out: {said}",)


def test_a_file_of_two_classes_in_two_splits_is_named(root):
    (root / "test/b/again.jpg").symlink_to(root / "train/a/1.jpg")
    notes = check_dataset(opened(root)).notes
    assert notes[-1] == "1 image with two classes: train/a/1.jpg is a and test/b/again.jpg is b"


def test_images_that_pillow_has_no_decoder_for_are_called_images(root):
    for name in ("1.HEIC", "2.svg"):
        (root / "train/a" / name).write_bytes(b"what Pillow does not know")
    (root / "train/a/#recycle").mkdir()
    shutil.copy(root / "train/a/1.jpg", root / "train/a/#recycle/gone.jpg")
    said = "\n".join(opened(root).left_out)
    assert "left out: 2 images of formats that Pillow does not read: train/a/1.HEIC, train/a/2.svg" in said
    assert "left out: 1 file in a folder of the system: train/a/#recycle/gone.jpg" in said


@pytest.mark.parametrize("suffix", ["dng", "NEF", "cr2", "arw"])
def test_a_raw_file_of_a_camera_is_no_image_though_its_thumbnail_is_one(suffix, root):
    Image.new("RGB", (24, 16)).save(root / f"train/a/x.{suffix}", "TIFF")
    dataset = opened(root)
    assert len(dataset.train) == 4
    assert dataset.left_out == (f"left out: 1 image of a format that Pillow does not read: train/a/x.{suffix}",)


def test_links_may_be_as_many_as_they_like(root):
    """Sixteen folders that link to each other both ways are walked through once each."""
    for n in range(16):
        draw(root / f"train/a/d{n}/{n}.jpg")
    for n in range(16):
        for other in range(16):
            (root / f"train/a/d{n}/to{other}").symlink_to(root / f"train/a/d{other}")
    assert len(opened(root).train) == 4 + 16


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    links=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["..", "../a", "../b", "../..", "1.jpg"])), max_size=6
    )
)
def test_links_never_change_what_is_trained_on(links, root):
    for path in root.glob("train/*/link*"):
        path.unlink()
    for n, (place, target) in enumerate(links):
        (root / f"train/{place}/link{n}").symlink_to(target)
    dataset = open_dataset("folder", root)
    assert trained(dataset) == ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "train/b/4.jpg"]
    assert [*dataset.train.targets] == [0, 0, 1, 1]


def test_a_pipe_that_is_called_an_image_is_not_waited_for(root):
    os.mkfifo(root / "train/a/0.jpg")
    (root / "train/a/00.jpg").symlink_to("0.jpg")
    dataset = opened(root)
    assert len(dataset.train) == 4
    assert dataset.left_out == ("left out: 2 pipes, sockets or devices: train/a/0.jpg, train/a/00.jpg",)


def test_a_folder_that_may_not_be_entered_is_an_error_and_not_empty(root, monkeypatch):
    scan = os.scandir

    def guarded(place):
        if str(place).endswith("train/b"):
            raise PermissionError(13, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", guarded)
    said = refused(root)
    assert said.startswith("cannot read data set 'folder':")
    assert said.endswith("train/b'; Permission denied")


def test_names_that_are_not_utf8_are_read_and_shown(root):
    name = os.fsdecode(b"caf\xe9")
    for split in ("train", "test"):
        draw(root / split / name / f"{name}.jpg")
    (root / "train" / name / f"{name}.txt").touch()
    dataset = opened(root)
    assert dataset.class_names == ["a", "b", r"caf\xe9"]
    assert trained(dataset)[-1] == r"train/caf\xe9/caf\xe9.jpg"
    assert dataset.left_out == (r"left out: 1 empty file: train/caf\xe9/caf\xe9.txt",)
    json.dumps([identify(dataset), dataset.class_names, trained(dataset)]).encode("ascii")
    "".join((*dataset.class_names, *trained(dataset), *check_dataset(dataset).notes)).encode("utf-8")
    shutil.rmtree(root / "train" / name)
    assert r"classes of test/ that are not in train/: 'caf\\xe9'" in refused(root)


@given(st.text(st.characters(exclude_categories=()), max_size=12))
def test_any_name_can_be_printed(name):
    shown = readable(name)
    assert shown.encode("utf-8").decode("utf-8") == shown
    if all(not 0xD800 <= ord(letter) < 0xE000 for letter in name):
        assert shown == name


def test_names_that_only_look_alike_are_told_apart(root):
    draw(root / "train/A/1.jpg")
    assert opened(root).notes == ("classes that differ in case or in how accents are written alone: A, a",)
    draw(root / "train/\u00e9/1.jpg", 50)
    draw(root / "test/e\u0301/1.jpg", 51)
    said = refused(root)
    assert "classes of test/ that are not in train/: 'e\u0301'" in said
    assert said.endswith("\u00e9 differs in case or in how accents are written alone")


def test_images_lie_at_any_depth(root):
    draw(root / "train/a/x/y/z/7.jpg", 60)
    assert "train/a/x/y/z/7.jpg" in trained(opened(root))


def test_all_of_a_split_may_be_a_link(root, tmp_path_factory):
    pool = tmp_path_factory.mktemp("pool") / "pictures"
    (root / "test").rename(pool)
    (root / "test").symlink_to(pool)
    assert len(opened(root).test) == 2
    (root / "test").unlink()
    (root / "test").symlink_to("train")  # by hand, to see whether anything is learned
    (note,) = check_dataset(opened(root)).notes
    assert note.startswith("4 images of test in training, too, under another name: test/a/1.jpg")


def test_a_document_is_an_image_only_where_it_can_be_decoded(root, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "b.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nnonsense\n")
    assert not is_image(str(tmp_path / "a.h5"))
    assert not is_image(str(tmp_path / "b.eps"))
    (tmp_path / "c.h5").write_bytes(jpeg())
    assert is_image(str(tmp_path / "c.h5"))


def test_the_command_says_on_standard_error_what_it_leaves_out(root, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("run"))
    (root / "train/a/notes.txt").write_text("none")
    small = "--model vit --backbone test_vit --sizes 96 --epochs 1 --lr 0.01 --seeds 0 --warmup-steps 1 --format json"
    words = ["accuracy", "--dataset", "folder", "--data-dir", str(root), *small.split()]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "fgbench: folder: left out: 1 file whose suffix is not an image's: train/a/notes.txt" in result.stderr
    assert json.loads(result.stdout)[0]["train_images"] == 4
    (root / "train/c").mkdir()
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "a class folder without an image: 'train/c'" in result.stderr) == (2, True)
    assert len(result.stderr.splitlines()) == 1


def test_what_an_image_lacks_is_said_where_too_many_cannot_be_read(root):
    for n in (1, 2):
        Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(root / f"train/a/{n}.jpg", "TIFF")
    split = open_dataset("folder", root).train
    with pytest.raises(DatasetError, match=r"2 of 4 images .*; mend or remove them; of the first: .*floating-point"):
        check_unreadable(split, {0, 1})
