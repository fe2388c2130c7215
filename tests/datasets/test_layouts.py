"""Small copies of every official layout: their content, and the message for an incomplete one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from helpers.dataset_layouts import LAYOUTS, OFFICIAL, SIZE, TEN, TEST, TRAIN, draw, lists, write
from PIL import Image

from fgbench.datasets.build import datasets, open_dataset
from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import HALF, IMAGENET_MEAN, DatasetError
from fgbench.datasets.reader import Reader

NAMES = {
    "cub": ["Black footed Albatross", "Laysan Albatross", "Sooty Albatross"],
    "nabirds": ["Oak Titmouse", "Mallard (Male)", "Dark-eyed Junco"],
    "dogs": ["Chihuahua", "Japanese spaniel", "Maltese dog"],
    "flowers": ["pink primrose", "hard-leaved pocket orchid", "canterbury bells"],
    "food": ["Apple pie", "Baklava", "Waffles"],
    "pets": ["Abyssinian", "American Bulldog", "Birman"],
    "inat17": ["Genus species0", "Genus species7", "Genus species5088"],
    "vegfru": ["aloe", "bamboo shoot", "fig"],
    **{name: ["Asuka", "Ikari, Shinji", "Rei"] for name in ("dafb", "moe", "manifest")},
    "folder": ["ant", "bee", "cat"],
}
# The one file or folder without which each is another layout, below the folder that the archive unpacks to.
MARKS = {
    "cub": "CUB_200_2011/classes.txt",
    "nabirds": "nabirds/train_test_split.txt",
    "dogs": "test_list.mat",
    "flowers": "flowers-102/setid.mat",
    "food": "food-101/meta/test.json",
    "pets": "oxford-iiit-pet/annotations/test.txt",
    "inat17": "val2017.json",
}


def reader(name: str) -> Reader:
    return datasets.load(name)


def message(name: str, place: Path | None, **options) -> str:
    with pytest.raises(DatasetError) as raised:
        reader(name)(place, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_as_its_makers_meant_it(name, tmp_path):
    LAYOUTS[name](tmp_path)
    dataset = reader(name)(tmp_path)
    assert (dataset.name, dataset.num_classes) == (name, 3)
    assert list(dataset.class_names) == NAMES[name]
    assert sorted(dataset.train.targets) == TRAIN
    assert sorted(dataset.test.targets) == TEST
    for split in (dataset.train, dataset.test):
        assert split.missing() == []
        assert len({split.name(index) for index in range(len(split))}) == len(split)
        for index in range(len(split)):
            image = split.open(index)
            assert (image.mode, image.size) == ("RGB", SIZE)
    assert dataset.mean == (HALF if name in ("dafb", "moe") else IMAGENET_MEAN)
    assert (dataset.published is None) == (name in ("manifest", "folder"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_name_stands_for_its_reader(name, tmp_path):
    LAYOUTS[name](tmp_path)
    assert open_dataset(name, tmp_path).class_names == reader(name)(tmp_path).class_names


@pytest.mark.parametrize("name", ["cub", "nabirds", "flowers", "food", "pets"])
def test_the_folder_that_an_archive_unpacks_to_may_be_named_itself(name, tmp_path):
    LAYOUTS[name](tmp_path)
    assert len(reader(name)(tmp_path / reader(name).folder).train) == len(TRAIN)


@pytest.mark.parametrize("name", ["cub", "folder"])
def test_a_split_goes_to_another_process(name, tmp_path):
    LAYOUTS[name](tmp_path)
    split = reader(name)(tmp_path).train
    copy = pickle.loads(pickle.dumps(split))
    assert [copy.name(i) for i in range(len(copy))] == [split.name(i) for i in range(len(split))]
    assert copy.open(0).tobytes() == split.open(0).tobytes()


@pytest.mark.parametrize("name", OFFICIAL)
def test_csv_lists_stand_in_for_an_official_layout(name, tmp_path):
    LAYOUTS["manifest"](tmp_path)
    dataset = reader(name)(tmp_path)
    assert (dataset.name, list(dataset.class_names)) == (name, NAMES["manifest"])
    assert dataset.published is reader(name).published


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_layout_comes_first_unless_lists_are_asked_for(name, tmp_path):
    LAYOUTS[name](tmp_path)
    lists(tmp_path, {"train_val.csv": [0, 1], "test.csv": [0, 1]})
    assert reader(name)(tmp_path).num_classes == 3
    assert open_dataset(name, tmp_path, {"layout": "manifest"}).num_classes == 2
    assert open_dataset(name, tmp_path, {"layout": "official"}).num_classes == 3


def test_lists_that_are_asked_for_and_not_there_are_missed(tmp_path):
    LAYOUTS["cub"](tmp_path)
    assert "no train_val.csv or train.csv" in message("cub", tmp_path, layout="manifest")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_must_be_given_and_be_there(name, tmp_path):
    assert reader(name).holds in message(name, None)
    assert "give --data-dir" in message(name, None)
    assert message(name, tmp_path / "nowhere").startswith("no such folder: ")
    write(tmp_path / "file", [])
    assert message(name, tmp_path / "file").startswith("a file, not the folder")


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_told_from_the_one_that_was_expected(name, tmp_path):
    for n in range(12):
        (tmp_path / f"other{n:02}").mkdir()
    said = message(name, tmp_path)
    assert said.startswith(f"not the layout of {name}: ")
    assert f"expected {reader(name).holds}" in said
    assert "found: other00/, other01/" in said
    assert "and 4 more" in said


def test_an_empty_folder_is_called_so(tmp_path):
    assert message("cub", tmp_path).endswith("the folder is empty")


@pytest.mark.parametrize("name", MARKS)
def test_the_file_that_a_layout_lacks_is_named(name, tmp_path):
    LAYOUTS[name](tmp_path)
    (tmp_path / MARKS[name]).unlink()
    assert f"it lacks {MARKS[name].removeprefix(reader(name).folder + '/')};" in message(name, tmp_path)


def test_vegfrus_lists_may_lie_in_the_folder_of_its_repository(tmp_path):
    LAYOUTS["vegfru"](tmp_path)
    (tmp_path / "vegfru_list").mkdir()
    for file in tmp_path.glob("vegfru_*.txt"):
        file.rename(tmp_path / "vegfru_list" / file.name)
    assert len(reader("vegfru")(tmp_path).train) == len(TRAIN)
    (tmp_path / "vegfru_list/vegfru_val.txt").unlink()
    assert "it lacks vegfru_val.txt or vegfru_list/vegfru_val.txt;" in message("vegfru", tmp_path)
    lists(tmp_path, {"train_val.csv": [0], "test.csv": [0]})
    assert len(reader("vegfru")(tmp_path).train) == 1


@pytest.mark.parametrize(("name", "renumbered"), [("nabirds", True), ("inat17", True), ("cub", False), ("dogs", False)])
def test_class_ids_with_gaps_are_renumbered_and_said_to_be(name, renumbered, tmp_path):
    LAYOUTS[name](tmp_path)
    notes = reader(name)(tmp_path).notes
    assert any("class ids were renumbered: 3 ids" in note for note in notes) == renumbered


def test_ids_of_another_set_do_not_become_gaps_of_this_one(tmp_path):
    LAYOUTS["cub"](tmp_path)
    assert [*reader("cub")(tmp_path).test.targets] == TEST


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("cub", "CUB_200_2011/image_class_labels.txt", "1 one\n", "line 1 of "),
        ("cub", "CUB_200_2011/image_class_labels.txt", "1 1\n", "no line in "),
        ("cub", "CUB_200_2011/images.txt", "1\n", "expected: <str> <below_root>"),
        ("cub", "CUB_200_2011/images.txt", "1 ../../secret.jpg\n", "line 1 of "),
        ("cub", "CUB_200_2011/classes.txt", b"1 \xff\xfe", "not a text file in UTF-8"),
        ("dogs", "train_list.mat", "no matlab", "not a MATLAB file"),
        ("flowers", "flowers-102/setid.mat", "", "not a MATLAB file"),
        ("food", "food-101/meta/test.json", "[1, 2]", "not a list of images by dish"),
        ("food", "food-101/meta/test.json", '{"pie": ["../x"]}', "not a path below the root"),
        ("food", "food-101/meta/test.json", "{", "not a list of images by dish"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Birman_1 3\n", "line 1 of "),
        ("inat17", "val2017.json", "{}", "no 'categories' in"),
        ("inat17", "val2017.json", "[]", "not a list in COCO's form"),
        ("inat17", "val2017.json", "{", "not a list in COCO's form"),
        ("vegfru", "vegfru_test.txt", "veg200_images/aloe/1.jpg\n", "line 1 of "),
        ("vegfru", "vegfru_test.txt", "/etc/passwd 1\n", "line 1 of "),
    ],
)
def test_a_damaged_list_is_named_with_its_line(name, file, content, said, tmp_path):
    LAYOUTS[name](tmp_path)
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    met = message(name, tmp_path)
    assert said in met
    assert file.rpartition("/")[2] in met


def test_an_annotation_without_its_image_is_missed_by_its_id(tmp_path):
    LAYOUTS["inat17"](tmp_path)
    content = json.loads((tmp_path / "val2017.json").read_text())
    content["annotations"].pop()
    write(tmp_path / "val2017.json", [json.dumps(content)])
    assert "joined by image_id and category_id" in message("inat17", tmp_path)


def test_flowers_without_a_label_are_an_error(tmp_path):
    from scipy.io import savemat

    LAYOUTS["flowers"](tmp_path)
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"labels": [[1, 2]]})
    assert "an image without a label: 3" in message("flowers", tmp_path)
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"wrong": [[1, 2]]})
    assert "no variable 'labels' in" in message("flowers", tmp_path)
    assert "it has: wrong" in message("flowers", tmp_path)


def test_a_list_and_its_classes_are_of_one_length(tmp_path):
    from scipy.io import savemat

    LAYOUTS["dogs"](tmp_path)
    savemat(tmp_path / "test_list.mat", {"file_list": ["a-b/c.jpg"], "labels": [[1, 2]]})
    assert "1 images and 2 classes" in message("dogs", tmp_path)


def test_parts_of_birds_are_squares_around_what_is_visible(tmp_path):
    LAYOUTS["cub"](tmp_path)
    train = reader("cub")(tmp_path, part_size=1.0).train
    # Bounding boxes are 20 × 5, so the side is 10; the second part is hidden, the third cut at the corner.
    assert train.parts(0) == [(3.0, 7.0, 13.0, 17.0), (0.0, 0.0, 6.0, 6.0)]
    assert train.parts(1) == [(3.0, 7.0, 13.0, 17.0)]
    assert reader("cub")(tmp_path).train.parts(1) == [(4.0, 8.0, 12.0, 16.0)]  # 8 pixels at least


def test_without_bounding_boxes_the_visible_points_say_how_large_a_bird_is(tmp_path):
    LAYOUTS["cub"](tmp_path)
    (tmp_path / "CUB_200_2011/bounding_boxes.txt").unlink()
    write(tmp_path / "CUB_200_2011/parts/part_locs.txt", ["1 1 50 50 1", "1 2 90 90 1"])
    train = reader("cub")(tmp_path, part_size=0.5).train
    assert train.parts(0) == [(40.0, 40.0, 60.0, 60.0), (80.0, 80.0, 100.0, 100.0)]
    assert train.parts(1) == []


def test_parts_that_nobody_marked_are_unknown(tmp_path):
    LAYOUTS["nabirds"](tmp_path)
    assert reader("nabirds")(tmp_path).train.parts(0) is None


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "nan"])
def test_a_part_is_a_share_of_its_bird(size, tmp_path):
    LAYOUTS["cub"](tmp_path)
    with pytest.raises(DatasetError, match="part_size must be more than 0"):
        open_dataset("cub", tmp_path, {"part_size": size})


def test_a_transparent_image_lies_on_white(tmp_path):
    LAYOUTS["folder"](tmp_path)
    Image.new("RGBA", SIZE, (0, 0, 0, 0)).save(tmp_path / "train/ant/00.png")
    Image.new("L", SIZE, 7).save(tmp_path / "train/ant/01.png")
    train = reader("folder")(tmp_path).train
    assert train.open(1).getpixel((0, 0)) == (255, 255, 255)
    assert train.open(2).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_a_folder_per_class_is_a_data_set(test, tmp_path):
    for file in ("train/b/1.jpg", "train/a/deep/er/2.JPEG", f"{test}/a/3.jpg", "train/a/.hidden.jpg", "train/a/x.txt"):
        draw(tmp_path / file)
    dataset = reader("folder")(tmp_path)
    assert [dataset.train.name(i) for i in range(2)] == ["train/a/deep/er/2.JPEG", "train/b/1.jpg"]
    assert (dataset.class_names, dataset.notes) == (["a", "b"], ())
    assert dataset.test.name(0) == f"{test}/a/3.jpg"


def test_a_folder_with_test_and_val_trains_on_val(tmp_path):
    for file in ("train/b/1.jpg", "val/a/2.jpg", "test/a/3.jpg"):
        draw(tmp_path / file)
    dataset = reader("folder")(tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.class_names) == (2, 1, ["a", "b"])
    assert "val is part of the training set" in dataset.notes[0]


def test_a_class_that_only_the_test_knows_is_an_error(tmp_path):
    for file in ("train/a/1.jpg", "test/a/2.jpg", "test/c/3.jpg"):
        draw(tmp_path / file)
    assert "classes of test/ that are not in train/: 'c'" in message("folder", tmp_path)


def test_a_folder_without_images_in_it_is_an_empty_split(tmp_path):
    for file in ("train/a/1.jpg", "test/loose.jpg"):
        draw(tmp_path / file)
    said = message("folder", tmp_path)
    assert said.startswith("no images in ")
    assert "found: loose.jpg" in said


def test_one_may_say_how_images_are_normalised(tmp_path):
    LAYOUTS["folder"](tmp_path)
    assert open_dataset("folder", tmp_path, {"norm": "half"}).mean == HALF


def test_what_the_paper_says_is_known_of_the_ten():
    counted = {name for name in datasets.names() if name != "synthetic" and reader(name).published is not None}
    assert counted == set(TEN)


def test_torchvision_reads_the_same(tmp_path):
    from torchvision.datasets import Food101, OxfordIIITPet

    LAYOUTS["food"](tmp_path)
    LAYOUTS["pets"](tmp_path)
    for name, theirs in (("food", Food101(tmp_path, "train")), ("pets", OxfordIIITPet(tmp_path, "trainval"))):
        ours = reader(name)(tmp_path).train
        assert [*ours.targets] == theirs._labels
        files = theirs._image_files if name == "food" else theirs._images
        assert [ours.root / path for path in ours.paths] == files


@pytest.mark.parametrize(
    ("name", "place"),
    [("cub", "CUB_200_2011/images/001.bird"), ("pets", "oxford-iiit-pet/images"), ("manifest", "images/0")],
)
def test_images_that_no_list_names_are_counted(name, place, tmp_path):
    LAYOUTS[name](tmp_path)
    assert open_dataset(name, tmp_path).left_out == ()
    for file in ("extra1.JFIF", "extra2.png", ".hidden.jpg", "words.txt"):
        draw(tmp_path / place / file)
    below = place.removeprefix(f"{reader(name).folder}/")
    said = f"left out: 2 images that are in no list: {below}/extra1.JFIF, {below}/extra2.png"
    assert open_dataset(name, tmp_path).left_out == (said,)
    assert said in check_dataset(open_dataset(name, tmp_path)).notes


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("cub", "CUB_200_2011/images.txt", "2 001.bird/", "1 001.bird/", "has two lines for the image '1'"),
        ("cub", "CUB_200_2011/image_class_labels.txt", "4 2", "1 2", "they say 1 and 2"),
        ("food", "food-101/meta/train.json", "waffles/train2", "apple_pie/train0", "gives class 'waffles' and class"),
        ("inat17", "train2017.json", "species1/train2", "species0/train0", "gives class 7 and class 0 to"),
        ("inat17", "train2017.json", '"image_id": 2', '"image_id": 0', "gives class 0 and class 7 to '0'"),
    ],
)
def test_a_list_that_gives_an_image_twice_is_an_error(name, file, old, new, said, tmp_path):
    LAYOUTS[name](tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    assert said in message(name, tmp_path)


def test_a_matlab_file_on_which_its_reader_dies_is_damaged(tmp_path):
    """SciPy 1.17 ends the process where the type of an element is one that MATLAB does not have."""
    LAYOUTS["flowers"](tmp_path)
    path = next(tmp_path.rglob("imagelabels.mat"))
    data = bytearray(path.read_bytes())
    data[184] = 44
    path.write_bytes(data)
    assert "not a MATLAB file that can be read" in message("flowers", tmp_path)
