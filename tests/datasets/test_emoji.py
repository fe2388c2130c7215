"""The reader of emoji: small packages of the same form, and the published ones in the folder of FGBENCH_EMOJI."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgbench.datasets.check import check_dataset
from fgbench.datasets.dataset import DatasetError
from fgbench.datasets.emoji import VENDORS, emoji

CLASSES = {
    "dog": ("Animals & Nature", "animal-mammal"),
    "owl": ("Animals & Nature", "animal-bird"),
    "snake": ("Animals & Nature", "animal-reptile"),
    "grin": ("Smileys & Emotion", "face-smiling"),
    "smile_cat": ("Smileys & Emotion", "cat-face"),
    "flag-pe": ("Flags", "country-flag"),
    "pirate_flag": ("Flags", "flag"),
    "skin-tone-2": ("Component", "skin-tone"),
}
PUBLISHED = Path(os.environ.get("FGBENCH_EMOJI", "emoji"))


def entry(name: str) -> dict:
    category, subcategory = CLASSES[name]
    drawn = {f"has_img_{vendor}": (name, vendor) != ("owl", "facebook") for vendor in (*VENDORS, "apple")}
    return {"short_name": name, "image": f"{name}.png", "category": category, "subcategory": subcategory, **drawn}


def picture(name: str, vendor: str) -> Image.Image:
    """A colour of the class, its half transparent."""
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    place, shade = list(CLASSES).index(name), 40 * VENDORS.index(vendor)
    pixels[:, 32:] = (30 * place, 255 - 30 * place, shade, 255)
    return Image.fromarray(pixels)


def pack(top: Path, vendor: str, place: str = "{}", version: str = "16.0.0") -> Path:
    package = top / place.format(vendor)
    (package / f"img/{vendor}/64").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": f"emoji-datasource-{vendor}", "version": version}))
    (package / "emoji.json").write_text(json.dumps([entry(name) for name in CLASSES]))
    for name in CLASSES:
        if entry(name)[f"has_img_{vendor}"]:
            picture(name, vendor).save(package / f"img/{vendor}/64/{name}.png")
    return package


@pytest.fixture
def packages(tmp_path):
    return {vendor: pack(tmp_path, vendor) for vendor in VENDORS}


def message(place: Path, **options) -> str:
    with pytest.raises(DatasetError) as raised:
        emoji(place, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("subset", "names"),
    [
        ("animals", ["dog", "owl"]),
        ("faces", ["grin"]),
        ("flags", ["flag-pe"]),
        ("all", [name for name in CLASSES if name != "skin-tone-2"]),
    ],
)
def test_a_subset_has_its_subcategories(subset, names, packages, tmp_path):
    dataset = emoji(tmp_path, subset=subset)
    assert list(dataset.class_names) == names
    assert list(dataset.test.targets) == list(range(len(names)))
    assert check_dataset(dataset, read=True).unreadable == ()


def test_a_picture_of_each_vendor_is_laid_on_white(packages, tmp_path):
    dataset = emoji(tmp_path)
    assert [dataset.train.name(index) for index in range(3)] == [
        "google/img/google/64/dog.png",
        "google/img/google/64/owl.png",
        "facebook/img/facebook/64/dog.png",
    ]
    assert list(dataset.train.targets) == [0, 1, 0]
    left, right = (np.asarray(dataset.test.open(1))[0, column].tolist() for column in (0, 63))
    assert (left, right) == ([255] * 3, [30, 225, 40])
    assert dataset.notes == ("facebook has no picture of 1 of the classes: owl",)


def test_a_class_is_drawn_for_both_splits(packages, tmp_path):
    dataset = emoji(tmp_path, train="google", test="facebook")
    assert list(dataset.class_names) == ["dog"]
    assert dataset.notes == ("1 emoji are no class, as a split has no picture of them: owl",)
    assert len(emoji(tmp_path, train="twitter", test="google, facebook").test) == 3


@pytest.mark.parametrize("place", ["{}/package", "emoji-datasource-{}", "node_modules/emoji-datasource-{}"])
def test_packages_lie_where_npm_puts_them(place, tmp_path):
    for vendor in VENDORS:
        pack(tmp_path, vendor, place)
    assert not emoji(tmp_path).train.missing()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": "google,twitter"}, "a vendor cannot be in train and test: 'twitter'; test on one that is held out"),
        ({"test": "apple"}, "unknown vendor in test: 'apple'; known: google, twitter, facebook"),
        ({"train": "google,google"}, "train names a vendor twice: 'google'"),
        ({"train": " , "}, "train names no vendor, got ' , '"),
    ],
)
def test_vendors_that_do_not_fit_are_one_line(options, words, packages, tmp_path):
    assert words in message(tmp_path, **options)


def test_a_package_that_is_missing_or_another_one_is_one_line(packages, tmp_path):
    assert "no such folder" in message(tmp_path / "none")
    assert "give --data-dir with google/, twitter/ and facebook/" in message(None)
    about = packages["google"] / "package.json"
    about.write_text(json.dumps({"name": "emoji-datasource-google", "version": "15.1.2"}))
    assert "expected the package emoji-datasource-google@16.0.0, and found emoji-datasource-google@15.1.2" in message(
        tmp_path
    )
    for text in ("{", "[]", '{"name": "x"}'):
        about.write_text(text)
        assert "not the package.json of a package of npm:" in message(tmp_path)
    about.unlink()
    words = message(tmp_path)
    assert "no package emoji-datasource-google in" in words
    assert "'npm pack emoji-datasource-google@16.0.0'" in words
    (packages["facebook"] / "img/facebook/64").rename(packages["facebook"] / "img/facebook/32")
    assert "lacks img/facebook/64/" in message(tmp_path, train="facebook")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a list of emoji:"),
        ("[{}]", "required field `short_name`"),
        ('[{"short_name": "a", "image": 3, "category": "", "subcategory": ""}]', "$[0].image"),
        ('[{"short_name": "a", "image": "../a.png", "category": "", "subcategory": "animal-bug"}]', "'../a.png'"),
        ("[]", "no emoji of subset 'animals'"),
        ("[" * 10_000, "not a list of emoji:"),
    ],
)
def test_a_damaged_list_is_one_line(text, words, packages, tmp_path):
    (packages["google"] / "emoji.json").write_text(text)
    assert words in message(tmp_path)


def test_a_broken_picture_is_named(packages, tmp_path):
    broken = packages["twitter"] / "img/twitter/64/owl.png"
    broken.write_bytes(broken.read_bytes()[:60])
    dataset = emoji(tmp_path)
    with pytest.raises(Exception, match=r"owl\.png"):
        dataset.test.open(1)
    broken.unlink()
    assert dataset.test.missing() == ["twitter/img/twitter/64/owl.png"]


def nearest_share(dataset) -> float:
    """Correct test pictures in %, each of the class of its nearest training picture.

    Of every picture each fourth pixel of a side is taken, 16 × 16 in RGB; near are those that correlate.
    """

    def vectors(split):
        values = np.stack([np.asarray(split.open(i), dtype=float)[::4, ::4].ravel() for i in range(len(split))])
        values -= values.mean(axis=1, keepdims=True)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    nearest = (vectors(dataset.test) @ vectors(dataset.train).T).argmax(axis=1)
    return float(100 * np.mean(np.asarray(dataset.train.targets)[nearest] == np.asarray(dataset.test.targets)))


def test_the_nearest_picture_of_another_vendor_has_the_class_where_pictures_are_alike(packages, tmp_path):
    assert nearest_share(emoji(tmp_path, subset="all")) == 100


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published packages (FGBENCH_EMOJI)")
@pytest.mark.parametrize(
    ("subset", "classes", "of_google", "of_both"),
    [("animals", 121, 18.2, 27.3), ("faces", 118, 45.8, 45.8), ("flags", 259, 82.2, 83.8)],
)
def test_nearest_neighbours_to_twitter(subset, classes, of_google, of_both):
    whole = emoji(PUBLISHED, subset=subset)
    assert (whole.num_classes, len(whole.test)) == (classes, classes)
    assert whole.train.missing() == whole.test.missing() == []
    assert round(nearest_share(whole), 1) == of_both
    assert round(nearest_share(emoji(PUBLISHED, subset=subset, train="google")), 1) == of_google
