"""``hfds/…``: data sets of the Hugging Face hub, through timm's reader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fgbench.datasets.dataset import DataSet, DatasetError, Split, decode, readable
from fgbench.datasets.files import listed
from fgbench.datasets.timm_readers import need, number_labels, one_line, timm_readers
from fgbench.datasets.walk import SHOWN, images_beside
from fgbench.hub import hub_or_cache


@dataclass(frozen=True, slots=True)
class TableSplit(Split):
    """A split of timm's reader; its table is mapped from disk and holds encoded images."""

    reader: Any
    split: str
    targets: Sequence[int]

    def name(self, index: int) -> str:
        """``train[3]``."""
        return f"{self.split}[{index}]"

    def open(self, index: int) -> Image.Image:
        """Read and decode the image."""
        with self.reader[index][0] as file:
            return decode(file)


def hfds(
    name: str,
    data_dir: Path | None,
    *,
    train_split: str = "train",
    test_split: str | None = None,
    input_key: str = "image",
    target_key: str = "label",
) -> DataSet:
    """A data set of the Hugging Face hub, or a folder that its package reads.

    Code that a data set brings is not run.

    Args:
        name: The name after ``hfds/``: ``food101``, or a path.
        data_dir: Folder of downloads; None for the package's own cache.
        train_split: Name of the split to train on.
        test_split: Name of the split to test on; None for ``test``, or else ``validation`` or ``val``.
        input_key: Column of images.
        target_key: Column of class ids or names.

    Raises:
        DatasetError: The package is not installed, the data set cannot be opened, or a column is missing.
    """
    need("hfds", "datasets", "datasets")
    full = f"hfds/{name}"
    with hub_or_cache() as reached:
        try:
            readers = timm_readers(full, data_dir, train_split, test_split, input_key=input_key, target_key=target_key)
        except DatasetError as error:
            if reached or os.path.lexists(name):
                raise
            do = "fetch it where there is a network, and name the folder"
            raise DatasetError(f"cannot open {full}: the hub does not answer, and its cache has none", do=do) from error
    labels = []
    for _, reader in readers:
        table = reader.dataset
        # timm asks for the column of images, and the package makes an empty one where it is missing.
        columns = [key for key in table.column_names if key != input_key or not len(table) or table[0][key] is not None]
        if lacking := [key for key in (input_key, target_key) if key not in columns]:
            do = f"it has {', '.join(columns)}; name them with input_key= and target_key="
            raise DatasetError(f"no column in {full}:", lacking[0], do)
        with one_line(f"cannot read {target_key} of {full}:"):
            labels.append(list(table[target_key]))
    (train_split, train), (tested, test) = readers
    names = {index: str(word) for word, index in train.class_to_idx.items()}
    classes = number_labels(full, labels[0], labels[1], names)
    return DataSet(
        name=full,
        class_names=classes.class_names,
        train=TableSplit(train, train_split, classes.train),
        test=TableSplit(test, tested, classes.test),
        notes=classes.notes,
        left_out=tuple(_not_read(Path(name), [reader.dataset[input_key] for _, reader in readers])),
    )


def _not_read(folder: Path, columns: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A sentence on images of a local folder that neither split has."""
    if not folder.is_dir() or not (images := images_beside(folder, ())):
        return
    paths = (cell.get("path") for column in columns for cell in column if isinstance(cell, dict))
    used = {readable(os.path.relpath(path, folder)) for path in paths if path}
    if others := [name for name in images if name not in used]:
        count = "1 image" if len(others) == 1 else f"{len(others):,} images"
        yield f"left out: {count} that the package 'datasets' has in neither split: {listed(others, SHOWN)}"
