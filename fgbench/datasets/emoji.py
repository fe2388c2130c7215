"""Emoji of several vendors, as the npm packages emoji-datasource-… ship them: one picture per class and vendor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from fgbench.datasets.dataset import HALF, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import found, listed, read_text
from fgbench.datasets.reader import reads
from fgbench.results.shipped import SHIPPED

VERSION = "16.0.0"
PACKAGE = "emoji-datasource-"  # and the vendor
VENDORS = ("google", "twitter", "facebook")
# Where a package may lie below --data-dir: unpacked, as in npm's archive, as npm installs it.
PLACES = ("{vendor}", "{vendor}/package", PACKAGE + "{vendor}", "node_modules/" + PACKAGE + "{vendor}")
LISTS = ("package.json", "emoji.json")
SIDE = 64  # pixels
SKIN_TONES = "Component"  # the category of the patches of colour that other emoji are coloured with
# Subcategories of Unicode by subset; those of a whole group begin with its word. None: all.
SUBSETS: dict[str, tuple[str, ...] | None] = {
    "animals": ("animal-mammal", "animal-bird", "animal-bug", "animal-marine"),
    "faces": ("face-",),
    "flags": ("country-flag",),
    "all": None,
}
HOLDS = "google/, twitter/ and facebook/, each with the unpacked npm package emoji-datasource-… 16.0.0"


class Emoji(msgspec.Struct, frozen=True):
    """An entry of emoji.json, as far as it is read."""

    short_name: str
    image: str
    category: str
    subcategory: str
    has_img_google: bool = False
    has_img_twitter: bool = False
    has_img_facebook: bool = False

    def is_in(self, subset: str) -> bool:
        """Whether it belongs to a subset."""
        beginnings = SUBSETS[subset]
        return self.category != SKIN_TONES and (beginnings is None or self.subcategory.startswith(beginnings))

    def is_from(self, vendor: str) -> bool:
        """Whether a vendor has drawn it."""
        drawn: bool = getattr(self, f"has_img_{vendor}")
        return drawn


@reads(holds=HOLDS, by_list=False)
def emoji(
    root: Path,
    *,
    subset: Literal["animals", "faces", "flags", "all"] = "animals",
    train: str = "google,facebook",
    test: str = "twitter",
) -> DataSet:
    """Emoji: the pictures of some vendors to train on, those of others to test on.

    A class is an emoji that a vendor of each split has drawn: with these vendors 121 ``animals`` (mammals, birds, bugs
    and marine animals), 118 ``faces``, 259 ``flags`` of countries, and 1,906 in ``all``, which has everything but the
    patches of skin tones. Every class has a picture per vendor, 64 pixels wide and high, on white.

    Args:
        root: The folder with a package per vendor.
        subset: Which emoji.
        train: Vendors to train on, with commas between them.
        test: Vendors to test on.

    Raises:
        DatasetError: A package is missing, damaged or of another version, or a vendor is unknown or in both splits.
    """
    vendors = {"train": _vendors("train", train), "test": _vendors("test", test)}
    if both := [vendor for vendor in vendors["train"] if vendor in vendors["test"]]:
        raise DatasetError("emoji: a vendor cannot be in train and test:", both[0], "test on one that is held out")
    packages = {vendor: _package(root, vendor) for split in vendors.values() for vendor in split}
    entries = [one for one in _entries(next(iter(packages.values()))) if one.is_in(subset)]
    classes = [one for one in entries if all(any(map(one.is_from, split)) for split in vendors.values())]
    if not classes:
        raise DatasetError(f"no emoji of subset {subset!r} in", str(root / LISTS[1]), "is the package whole?")
    images: dict[str, tuple[list[str], list[int]]] = {}
    for split, names in vendors.items():
        drawn = [(vendor, index) for vendor in names for index, one in enumerate(classes) if one.is_from(vendor)]
        paths = [(packages[v] / f"img/{v}/{SIDE}/{classes[index].image}").relative_to(root) for v, index in drawn]
        images[split] = [path.as_posix() for path in paths], [index for _, index in drawn]
    return DataSet(
        name="emoji",
        class_names=[one.short_name for one in classes],
        train=FileSplit(root, *images["train"]),
        test=FileSplit(root, *images["test"]),
        mean=HALF,
        std=HALF,
        notes=tuple(_notes(entries, classes, tuple(packages))),
        recipe={
            "backbone": SHIPPED,
            "image_size": 96,
            "epochs": 100,
            "batch_size": 32,
            "lr": 1e-3,
            "optimizer": "adamw",
            "augreg": "weak",
            "weight_decay": 0.05,
            "warmup_steps": 100,
            "seeds": [0],
        },
    )


def _vendors(option: str, text: str) -> list[str]:
    """The vendors that are named in an option."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ", ".join(VENDORS)
    if not names:
        raise DatasetError(f"emoji: {option} names no vendor, got", text, f"known: {known}")
    for place, name in enumerate(names):
        if name not in VENDORS:
            raise DatasetError(f"emoji: unknown vendor in {option}:", name, f"known: {known}")
        if name in names[:place]:
            raise DatasetError(f"emoji: {option} names a vendor twice:", name)
    return names


def _package(root: Path, vendor: str) -> Path:
    """The folder of a vendor's package, whose name and version were checked."""
    places = [root / place.format(vendor=vendor) for place in PLACES]
    place = next((place for place in places if all((place / name).is_file() for name in LISTS)), None)
    wanted = f"{PACKAGE}{vendor}@{VERSION}"
    do = f"'npm pack {wanted}', and unpack it to {root / vendor}"
    if place is None:
        raise DatasetError(f"no package {PACKAGE}{vendor} in", str(root), f"{do}; {found(root)}")
    try:
        about = json.loads(read_text(place / LISTS[0]))
        name, version = str(about["name"]), str(about["version"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError("not the package.json of a package of npm:", str(place / LISTS[0]), do) from error
    if (name, version) != (PACKAGE + vendor, VERSION):
        raise DatasetError(f"expected the package {wanted}, and found {name}@{version} in", str(place), do)
    if not (place / f"img/{vendor}/{SIDE}").is_dir():
        raise DatasetError(f"the package lacks img/{vendor}/{SIDE}/ with its pictures:", str(place), do)
    return place


def _entries(package: Path) -> list[Emoji]:
    """The entries of emoji.json in the order in which Unicode lists emoji, as the file has them."""
    path = package / LISTS[1]
    try:
        entries = msgspec.json.decode(read_text(path), type=list[Emoji])
    except (msgspec.DecodeError, RecursionError) as error:
        raise DatasetError("not a list of emoji:", str(path), f"{error}; unpack the package anew") from error
    for entry in entries:
        if Path(entry.image).name != entry.image:
            raise DatasetError("not the name of a picture:", entry.image, f"in {path}; unpack the package anew")
    return entries


def _notes(entries: Sequence[Emoji], classes: Sequence[Emoji], vendors: Sequence[str]) -> list[str]:
    """A sentence for each vendor that has not drawn all classes, and one for emoji that are no class."""
    notes = []
    for vendor in vendors:
        if lacking := [one.short_name for one in classes if not one.is_from(vendor)]:
            notes.append(f"{vendor} has no picture of {len(lacking)} of the classes: {listed(lacking)}")
    if others := [one.short_name for one in entries if one not in classes]:
        notes.append(f"{len(others)} emoji are no class, as a split has no picture of them: {listed(others)}")
    return notes
