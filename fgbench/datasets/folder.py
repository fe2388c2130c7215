"""Any images in a folder per class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from fgbench.datasets.dataset import DataSet, DatasetError, FileSplit, readable
from fgbench.datasets.files import found, listed
from fgbench.datasets.manifest import normalised
from fgbench.datasets.reader import reads
from fgbench.datasets.walk import SHOWN, Walk, images_beside

VALIDATION = ("val", "valid", "validation")
HOLDS = "train/<class>/ and test/<class>/ (or val/<class>/) with images"


@reads(holds=HOLDS, by_list=False)
def folder(root: Path, *, norm: Literal["imagenet", "half"] = "imagenet") -> DataSet:
    """Your own images: train/ and test/ or val/, with a folder per class in each.

    Every file is read that Pillow reads, by its suffix or else by its content, at any depth below the folder of its
    class; each real file once. Files that are left out are counted and named; a class folder without an image is an
    error. Classes are in the order of their folders' names. Where there are ``test`` and ``val``, ``val`` belongs to
    the training set.

    Args:
        root: The folder.
        norm: Mean and standard deviation: ImageNet's, or 0.5 for all.

    Raises:
        DatasetError: A split or a class has no image, or a class is in the test split alone.
    """
    vals = [name for name in VALIDATION if (root / name).is_dir()]
    tested = "test" if (root / "test").is_dir() else next(iter(vals), None)
    if tested is None or not (root / "train").is_dir():
        raise DatasetError("not the layout of folder:", str(root), f"expected {HOLDS}; {found(root)}")
    trained = ["train", *(vals if tested == "test" else ())]
    train_walk, test_walk = Walk(root, trained), Walk(root, [tested])
    train, test = train_walk.images, test_walk.images
    for split in (*trained, tested):
        walk, images = (test_walk, test) if split == tested else (train_walk, train)
        if not any(path.startswith(f"{split}/") for path, _ in images):
            do = "; ".join(("expected a folder with images per class", found(root / split), *walk.notes))
            raise DatasetError("no images in", str(root / split), do)
    names = sorted({name for _, name in train})
    if unknown := sorted({name for _, name in test} - set(names)):
        what = f"classes of {tested}/ that are not in {'/ or '.join(trained)}/:"
        unknown_plain = {_without_case_and_accents(name) for name in unknown}
        near = [name for name in names if _without_case_and_accents(name) in unknown_plain]
        do = f"{listed(near, SHOWN)} differs in case or in how accents are written alone" if near else ""
        raise DatasetError(what, listed(unknown), do)
    ids = {name: index for index, name in enumerate(names)}
    return normalised(
        DataSet(
            name="folder",
            class_names=[readable(name) for name in names],
            train=FileSplit(root, [path for path, _ in train], [ids[name] for _, name in train]),
            test=FileSplit(root, [path for path, _ in test], [ids[name] for _, name in test]),
            notes=tuple(_notes(trained, names)),
            left_out=(*train_walk.notes, *test_walk.notes, *_note_on_other_images(root, [*trained, tested])),
        ),
        norm,
    )


def _notes(trained: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    if trained[1:]:
        verb = "is" if len(trained) == 2 else "are"
        yield f"{' and '.join(trained[1:])} {verb} part of the training set, as there is test"
    plain = Counter(map(_without_case_and_accents, names))
    if alike := [name for name in names if plain[_without_case_and_accents(name)] > 1]:
        yield f"classes that differ in case or in how accents are written alone: {listed(alike)}"


def _note_on_other_images(root: Path, splits: Sequence[str]) -> Iterator[str]:
    if beside := images_beside(root, splits):
        count = "1 image" if len(beside) == 1 else f"{len(beside):,} images"
        places = " and ".join(f"{split}/" for split in splits)
        yield f"left out: {count} beside {places}: {listed(beside, SHOWN)}"


def _without_case_and_accents(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
