"""Functions for several layouts: text tables, paths below a root, and class ids from 0 without gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fgbench.datasets.dataset import DatasetError, readable
from fgbench.results import reading

ClassId = TypeVar("ClassId", int, str)

LARGEST_BYTES = 2 * 10**9  # largest size of a list; the list of iNaturalist has a tenth of it
SHOWN = 8  # names of a list that a message shows


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """``a, b, c and 17 more``, in one line."""
    words = ", ".join(" ".join(readable(name).split()) for name in names[:shown])
    return f"{words} and {len(names) - shown:,} more" if len(names) > shown else words


def in_one_line(error: BaseException) -> str:
    """The message of an exception in one line of at most 160 characters."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def found(folder: Path) -> str:
    """The first entries of a folder, for a message: ``found: images/, README``."""
    try:
        entries = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    except OSError as error:
        return f"the folder cannot be read: {error.strerror}"
    return f"found: {listed(entries)}" if entries else "the folder is empty"


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte-order mark.

    Raises:
        DatasetError: The file cannot be read, or is no such text.
    """
    try:
        text = reading.read_text(path, LARGEST_BYTES, encoding="utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DatasetError(
            "not a text file in UTF-8:", str(path), f"byte {error.start} is wrong; save it anew"
        ) from error
    except OSError as error:
        raise DatasetError("cannot read", str(path), error.strerror or type(error).__name__) from error


def rows(path: Path, *kinds: Callable[[str], Any]) -> Iterator[tuple[Any, ...]]:
    """Read the lines of a table whose values are separated by blanks.

    Args:
        path: The file.
        *kinds: A function from text to value for each column; the text of the last column may hold blanks.

    Yields:
        The values of a line.

    Raises:
        DatasetError: A line has another form; the message has its number.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        words = line.split(maxsplit=len(kinds) - 1)
        try:
            yield tuple(kind(word.strip()) for kind, word in zip(kinds, words, strict=True))
        except ValueError as error:
            form = " ".join(f"<{getattr(kind, '__name__', 'value')}>" for kind in kinds)
            raise DatasetError(f"line {number} of {path} reads", line[:80], f"expected: {form}") from error


def below_root(path: str) -> str:
    """A path relative to the root of the data set.

    Raises:
        ValueError: The path leads out of the root.
    """
    pure = PurePosixPath(path)
    if not path.strip() or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"not a path below the root: {path!r}")
    return str(pure)


def one_class_each(pairs: Iterable[tuple[str, ClassId]], where: Path) -> dict[str, ClassId]:
    """Class by path, in the order of a list.

    Raises:
        DatasetError: An image has two classes.
    """
    classes: dict[str, ClassId] = {}
    for path, class_id in pairs:
        if classes.setdefault(path, class_id) != class_id:
            raise DatasetError(f"{where} gives class {class_id!r} and class {classes[path]!r} to", path)
    return classes


@dataclass(frozen=True, slots=True)
class Renumbered:
    """Class ids from 0 without gaps, and their names."""

    train: list[int]
    test: list[int]
    class_names: list[str]
    notes: tuple[str, ...]  # a sentence where ids were changed


def renumber(train: Sequence[int], test: Sequence[int], names: Mapping[int, str], first: int = 0) -> Renumbered:
    """Give the classes that have images the ids 0…n−1, in their order, the same in both splits.

    Args:
        train: Class ids of the training images.
        test: Class ids of the test images.
        names: Names by class id.
        first: Smallest id of the layout; a layout that counts from 1 needs no note.
    """
    used = sorted({*train, *test})
    new = {old: index for index, old in enumerate(used)}
    class_names = [names.get(old, str(old)) for old in used]
    notes: tuple[str, ...] = ()
    if used and used != list(range(first, first + len(used))):
        notes = (f"class ids were renumbered: {len(used):,} ids between {used[0]} and {used[-1]} have images",)
    return Renumbered([new[old] for old in train], [new[old] for old in test], class_names, notes)
