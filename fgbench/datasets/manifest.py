"""CSV lists of images: your own, those of DAFB and Moe, and lists instead of any official layout."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fgbench.datasets.dataset import HALF, TABLE9, DataSet, DatasetError, FileSplit
from fgbench.datasets.files import below_root, found, read_text, renumber
from fgbench.datasets.reader import reads

LISTS = ("train_val.csv", "train.csv", "val.csv", "test.csv")
CLASS_NAMES = "classid_classname.csv"
HOLDS = "train_val.csv (or train.csv and val.csv) and test.csv, each with the header class_id,dir, and their images"


def read_manifest(root: Path, name: str) -> DataSet | None:
    """Read the data set that the lists in a folder describe; None without lists.

    ``train_val.csv``, or else ``train.csv`` and ``val.csv`` together, is the training set, ``test.csv`` the test set.
    Without ``test.csv``, ``val.csv`` is the test set and ``train.csv`` alone the training set. Class ids are 0-based,
    paths relative to the folder; ``classid_classname.csv`` names the classes. Ids with gaps are renumbered.
    """
    lists = _lists(root)
    if lists is None:
        return None
    (train, repeated), (test, repeated_in_test) = (_images(root, files) for files in lists)
    classes = renumber([*train.values()], [*test.values()], _class_names(root / CLASS_NAMES))
    notes = (*classes.notes, *_unread(root))
    if repeats := repeated + repeated_in_test:
        notes += (f"{repeats:,} lines repeat an earlier one and were left out",)
    return DataSet(
        name=name,
        class_names=classes.class_names,
        train=FileSplit(root, [*train], classes.train),
        test=FileSplit(root, [*test], classes.test),
        notes=notes,
    )


def _lists(root: Path) -> tuple[list[str], list[str]] | None:
    """Names of the lists of the training and of the test set."""
    whole, train, val, test = ((root / file).is_file() for file in LISTS)
    if not (whole or train):
        return None
    if test:
        return ["train_val.csv"] if whole else ["train.csv", *["val.csv"][:val]], ["test.csv"]
    if train and val:
        return ["train.csv"], ["val.csv"]
    raise DatasetError(
        "no list of test images in", str(root), f"expected test.csv, or train.csv and val.csv; {found(root)}"
    )


def _unread(root: Path) -> Iterator[str]:
    """A sentence on lists that are not read because others are."""
    read = {file for some in _lists(root) or () for file in some}
    if unread := [file for file in LISTS if file not in read and (root / file).is_file()]:
        yield f"left out: {' and '.join(unread)}, as {' and '.join(sorted(read))} are the lists here"


def _images(root: Path, files: list[str]) -> tuple[dict[str, int], int]:
    """Class id by path, and the number of lines that repeat an earlier one."""
    images: dict[str, int] = {}
    repeats = 0
    for path in (root / file for file in files):
        for where, row in _records(path, ("class_id", "dir")):
            try:
                image = below_root(row["dir"])
            except ValueError as error:
                raise DatasetError(
                    f"{where} leads out of the data set:", row["dir"], "give paths below its folder"
                ) from error
            class_id = _class_id(row["class_id"], where)
            if images.setdefault(image, class_id) != class_id:
                raise DatasetError(f"{where} gives class {class_id}, an earlier line class {images[image]}, to", image)
            repeats += 1
    return images, repeats - len(images)


def _records(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place of a line (``line 3 of <path>``) and its values by column, of a CSV file that may have other columns."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        header = [word.strip() for word in next(reader, ())]
        if not header:
            raise DatasetError("an empty file:", str(path), f"expected the header {','.join(columns)}")
        if lacking := [column for column in columns if column not in header]:
            do = f"its header is {','.join(header)[:80]!r}, expected {','.join(columns)}"
            raise DatasetError(f"no column {' and '.join(lacking)} in", str(path), do)
        if twice := [column for column in columns if header.count(column) > 1]:
            raise DatasetError(f"several columns {twice[0]} in", str(path), f"its header is {','.join(header)[:80]!r}")
        places = {column: header.index(column) for column in columns}
        for row in reader:
            where = f"line {reader.line_num} of {path}"
            if not any(word.strip() for word in row):
                continue
            if len(row) <= max(places.values()):
                raise DatasetError(
                    f"{where} has {len(row)} values:", ",".join(row)[:80], f"expected {','.join(header)}"
                )
            yield where, {column: row[place].strip() for column, place in places.items()}
    except csv.Error as error:
        raise DatasetError(f"line {reader.line_num} of {path} is no CSV:", str(error)) from error


def _class_id(word: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise DatasetError(f"{where} has the class id", word, "class ids are whole numbers from 0")
    return int(word)


def _class_names(path: Path) -> dict[int, str]:
    """Names by class id; none without the file. The column is class_name, classname or name."""
    if not path.is_file():
        return {}
    header = [word.strip() for word in read_text(path).partition("\n")[0].split(",")]
    column = next((word for word in ("class_name", "classname", "name") if word in header), "class_name")
    names: dict[int, str] = {}
    for where, row in _records(path, ("class_id", column)):
        class_id = _class_id(row["class_id"], where)
        if names.setdefault(class_id, row[column]) != row[column]:
            raise DatasetError(f"{where} names class {class_id} anew:", row[column], f"it is {names[class_id]!r} above")
    return names


@reads(holds=HOLDS)
def manifest(root: Path, *, norm: Literal["imagenet", "half"] = "imagenet") -> DataSet:
    """Your own lists: CSV files with a class id and a path per image.

    ``norm`` chooses mean and standard deviation: ImageNet's, or 0.5 for all.
    """
    return normalised(_required(root, "manifest"), norm)


@reads(holds=HOLDS, published=TABLE9["dafb"])
def dafb(root: Path) -> DataSet:
    """Danbooru anime faces by character (DAFRe): folders per class with CSV lists."""
    return normalised(_required(root, "dafb"), "half")


@reads(holds=HOLDS, published=TABLE9["moe"])
def moe(root: Path) -> DataSet:
    """Anime faces by character (moeImouto): folders per class with CSV lists."""
    return normalised(_required(root, "moe"), "half")


def normalised(dataset: DataSet, norm: Literal["imagenet", "half"]) -> DataSet:
    """The data set with another mean and standard deviation."""
    return replace(dataset, mean=HALF, std=HALF) if norm == "half" else dataset


def _required(root: Path, name: str) -> DataSet:
    dataset = read_manifest(root, name)
    if dataset is None:
        raise DatasetError(f"not the layout of {name}:", str(root), f"expected {HOLDS}; {found(root)}")
    return dataset
