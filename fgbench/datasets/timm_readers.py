"""What ``hfds/…``, ``tfds/…`` and ``wds/…`` share: timm's readers by timm's names, and labels that may be words."""

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
    """Raise :class:`DatasetError` where a package is not installed, before timm prints about it on stdout."""
    if importlib.util.find_spec(module) is None:
        raise DatasetError(f"{kind}/… needs a package that is not installed:", module, f"pip install {packages}")


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Whatever goes wrong inside – a name that nobody knows, no network, no permission – in one line."""
    try:
        yield
    except FgbenchError:
        raise
    except Exception as error:
        raise DatasetError(what, describe(error)[:300]) from error


def timm_readers(
    name: str, data_dir: Path | None, train_split: str, test_split: str | None, **keys: str
) -> list[tuple[str, Any]]:
    """(split, timm's reader) for training and for test; ``name`` has the prefix. Raises :class:`DatasetError`."""
    from timm.data.readers.reader_factory import create_reader

    def reader(split: str) -> Any:
        return create_reader(name, root=None if data_dir is None else str(data_dir), split=split, **keys)

    with one_line(f"cannot open {name}:"):
        train = reader(train_split)
        *others, last = TEST_SPLITS if test_split is None else (test_split,)
        for split in others:
            try:
                return [(train_split, train), (split, reader(split))]
            except (ValueError, KeyError):  # there is no such split; the last one's complaint is shown
                continue
        return [(train_split, train), (last, reader(last))]


def number_labels(name: str, train: Sequence[Any], test: Sequence[Any], names: Mapping[int, str]) -> Renumbered:
    """Class ids without gaps of labels that are ids, or words that are numbered in alphabetical order."""
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
