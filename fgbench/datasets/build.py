"""Names to data sets, through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import DataSet, DatasetError, Published, Split, readable
from fgbench.datasets.options import typed_options
from fgbench.errors import FgbenchError
from fgbench.plugins.kinds import datasets


def dataset_breach(candidate: object) -> str | None:
    """Why an object is no reader of a data set, in words; None when it is one."""
    if not callable(candidate):
        return "it must be a function (data_dir, **options) → DataSet"
    if not isinstance(holds := getattr(candidate, "holds", ""), str):
        return f"its attribute 'holds' must be words, got {holds!r}"
    published = getattr(candidate, "published", None)
    if published is not None and not (isinstance(published, Published) and all(map(_is_whole, _counts(published)))):
        return f"its attribute 'published' must be a Published with whole numbers, got {published!r}"
    return None


def _counts(published: Published) -> tuple[object, ...]:
    return published.classes, published.train_images, published.test_images


def _is_whole(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool)


def open_dataset(name: str, data_dir: Path | None, options: Mapping[str, str] | None = None) -> DataSet:
    """Open a data set: ``open_dataset("cub", Path("data"))``, ``open_dataset("synthetic", None, {"classes": "24"})``.

    ``hfds/…``, ``tfds/…`` and ``wds/…`` are read by timm's readers or as they do, see
    :mod:`fgbench.datasets.hub`. Options are the keyword parameters of the reader, as they are typed.

    Raises :class:`UnknownNameError`, :class:`FgbenchError` for an option that does not fit, :class:`DatasetError`
    where what lies there is not what was expected, and :class:`BrokenPluginError` for somebody else's broken reader.
    """
    read = _reader(name)
    with datasets.blame(name, FgbenchError):
        typed = typed_options(read, name, options or {})
        try:
            opened = read(data_dir, **typed)
        except OSError as error:  # a folder that may not be entered, a disk that is gone
            raise DatasetError(
                f"cannot read data set {name!r}:", error.filename, error.strerror or str(error)
            ) from error
        if not isinstance(opened, DataSet):
            raise TypeError(f"its reader returned {type(opened).__name__}, not a DataSet")
        for split in (opened.train, opened.test):
            if not isinstance(split, Split):
                raise TypeError(f"its reader returned a split that is a {type(split).__name__}, not a Split")
            if odd := next((target for target in split.targets if not isinstance(target, Integral)), None):
                raise TypeError(f"its targets must be whole numbers, and one is {odd!r}")
        return replace(opened, class_names=[readable(name) for name in opened.class_names])


def check_options(name: str, options: Mapping[str, str], plugin_files: Sequence[str] | None = None) -> None:
    """Refuse a name that no data set has, and options that one of fgbench's own does not take; nothing is opened.

    Raises :class:`UnknownNameError` or :class:`FgbenchError`. A name that plug-in files may bring is let pass.
    """
    if plugin_files and "/" not in name and name not in datasets.names():
        return
    if "/" in name or datasets.entry(name).is_own:
        typed_options(_reader(name), name, options)


def _reader(name: str) -> Callable[..., Any]:
    """The function (data_dir, options) → DataSet of a name."""
    kind, slash, rest = name.partition("/")
    if slash:
        from fgbench.datasets.hub import HUB

        if kind in HUB:
            return functools.partial(HUB[kind], rest)
    read: Callable[..., Any] = datasets.load(name)
    return read
