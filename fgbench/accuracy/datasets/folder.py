"""Any images in a folder per class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from fgbench.accuracy.datasets.dataset import DataSet, DatasetError, FileSplit
from fgbench.accuracy.datasets.files import found, listed
from fgbench.accuracy.datasets.manifest import normalised
from fgbench.accuracy.datasets.reader import reads

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
VALIDATION = ("val", "valid", "validation")
HOLDS = "train/<class>/ and test/<class>/ (or val/<class>/) with images"


@reads(holds=HOLDS)
def folder(root: Path, *, norm: Literal["imagenet", "half"] = "imagenet") -> DataSet:
    """Your own images: train/ and test/ or val/, with a folder per class in each.

    Classes are in the order of their folders' names. Where there are ``test`` and ``val``, ``val`` belongs to the
    training set. ``norm`` chooses mean and standard deviation: ImageNet's, or 0.5 for all.
    """
    vals = [name for name in VALIDATION if (root / name).is_dir()]
    tested = "test" if (root / "test").is_dir() else next(iter(vals), None)
    if tested is None or not (root / "train").is_dir():
        raise DatasetError("not the layout of folder:", str(root), f"expected {HOLDS}; {found(root)}")
    trained = ["train", *(vals if tested == "test" else ())]
    train = [image for split in trained for image in _images(root, split)]
    test = _images(root, tested)
    names = sorted({name for _, name in train})
    if train and (unknown := sorted({name for _, name in test} - set(names))):
        raise DatasetError(f"classes of {tested}/ that are not in {'/ or '.join(trained)}/:", listed(unknown))
    ids = {name: index for index, name in enumerate(names or sorted({name for _, name in test}))}
    return normalised(
        DataSet(
            name="folder",
            class_names=[*ids],
            train=FileSplit(root, [path for path, _ in train], [ids[name] for _, name in train]),
            test=FileSplit(root, [path for path, _ in test], [ids[name] for _, name in test]),
            notes=(f"{' and '.join(vals)} is part of the training set, as there is test",) if trained[1:] else (),
        ),
        norm,
    )


def _images(root: Path, split: str) -> list[tuple[str, str]]:
    """(path below the root, class) of every image below a split, in a fixed order; hidden ones are left out."""
    top = root / split
    images = []
    for place, folders, files in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = Path(place).relative_to(top).parts
        for file in sorted(files) if parts else ():
            if file.lower().endswith(SUFFIXES) and not file.startswith("."):
                images.append(("/".join((split, *parts, file)), parts[0]))
    if not images:
        do = f"expected a folder with images per class ({' '.join(SUFFIXES)}); {found(top)}"
        raise DatasetError("no images in", str(top), do)
    return images
