"""Shared by ``hfds/…``, ``tfds/…`` and ``wds/…``: timm's readers by timm's names, and labels that may be words."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import DatasetError
from fgbench.datasets.files import Renumbered, renumber
from fgbench.errors import FgbenchError
from fgbench_selectors.plugins import describe

TEST_SPLITS = ("test", "validation", "val")  # tried in this order where none is named


def need(kind: str, module: str, packages: str) -> None:
    """Refuse a package that is not installed, before timm prints a message on stdout.

    Raises:
        DatasetError: The package is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise DatasetError(f"{kind}/… needs a package that is not installed:", module, f"pip install {packages}")


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn any error inside (an unknown name, no network, no permission) into a :class:`DatasetError` of one line."""
    try:
        yield
    except FgbenchError:
        raise
    except Exception as error:
        raise DatasetError(what, describe(error)[:300]) from error


def timm_readers(
    name: str, data_dir: Path | None, train_split: str, test_split: str | None, **keys: str
) -> list[tuple[str, Any]]:
    """Names of the two splits, with timm's reader of each.

    Args:
        name: Name with its prefix, as timm has it.
        data_dir: Folder of the data.
        train_split: Name of the split to train on.
        test_split: Name of the split to test on; None for the first of ``TEST_SPLITS`` that exists.
        **keys: Names of columns.

    Raises:
        DatasetError: The data set or a split cannot be opened.
    """
    from timm.data.readers.reader_factory import create_reader

    def reader(split: str) -> Any:
        return create_reader(name, root=None if data_dir is None else str(data_dir), split=split, **keys)

    with one_line(f"cannot open {name}:"):
        train = reader(train_split)
        *others, last = TEST_SPLITS if test_split is None else (test_split,)
        for split in others:
            try:
                return [(train_split, train), (split, reader(split))]
            except (ValueError, KeyError):  # there is no such split; the error of the last one is shown
                continue
        return [(train_split, train), (last, reader(last))]


def number_labels(name: str, train: Sequence[Any], test: Sequence[Any], names: Mapping[int, str]) -> Renumbered:
    """Class ids without gaps; labels are class ids, or words, which are numbered in alphabetical order.

    Raises:
        DatasetError: A label is neither, or is negative.
    """
    seen = {*train, *test}
    if other := [label for label in seen if not isinstance(label, str | int)]:
        raise DatasetError(f"a label of {name} is no class:", other[0], "name another column with target_key=")
    if any(isinstance(label, str) for label in seen):
        words = sorted({str(label) for label in seen})
        ids = {word: index for index, word in enumerate(words)}
        return renumber([ids[str(word)] for word in train], [ids[str(word)] for word in test], dict(enumerate(words)))
    if negative := [label for label in seen if label < 0]:
        do = "a split without labels can be neither learned nor tested on; name another one with test_split="
        raise DatasetError(f"{name} has the class id", negative[0], do)
    return renumber(train, test, names)
