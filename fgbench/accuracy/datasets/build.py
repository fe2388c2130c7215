"""Names to data sets, through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from fgbench.accuracy.datasets.dataset import DataSet, DatasetError, readable
from fgbench.accuracy.datasets.options import typed_options
from fgbench.errors import FgbenchError
from fgbench_selectors.entries import OWN_DISTRIBUTION, Registry
from fgbench_selectors.plugins import blame


def dataset_breach(candidate: object) -> str | None:
    """Why an object is no reader of a data set, in words; None when it is one."""
    return None if callable(candidate) else "it must be a function (data_dir, **options) → DataSet"


datasets = Registry("fgbench.datasets", "dataset", dataset_breach)


def open_dataset(name: str, data_dir: Path | None, options: Mapping[str, str] | None = None) -> DataSet:
    """Open a data set: ``open_dataset("cub", Path("data"))``, ``open_dataset("synthetic", None, {"classes": "24"})``.

    ``hfds/…``, ``tfds/…`` and ``wds/…`` are read by timm's readers or as they do, see
    :mod:`fgbench.accuracy.datasets.hub`. Options are the keyword parameters of the reader, as they are typed.

    Raises :class:`UnknownNameError`, :class:`FgbenchError` for an option that does not fit, :class:`DatasetError`
    where what lies there is not what was expected, and :class:`BrokenPluginError` for somebody else's broken reader.
    """
    read, origin = _reader(name)
    with nullcontext() if origin == OWN_DISTRIBUTION else blame(name, origin, FgbenchError):
        typed = typed_options(read, name, options or {})
        try:
            opened = read(data_dir, **typed)
        except OSError as error:  # a folder that may not be entered, a disk that is gone
            raise DatasetError(
                f"cannot read data set {name!r}:", error.filename, error.strerror or str(error)
            ) from error
        if not isinstance(opened, DataSet):
            raise TypeError(f"its reader returned {type(opened).__name__}, not a DataSet")
    return replace(opened, class_names=[readable(name) for name in opened.class_names])


def check_options(name: str, options: Mapping[str, str], plugin_files: Sequence[str] | None = None) -> None:
    """Refuse a name that no data set has, and options that one of fgbench's own does not take; nothing is opened.

    Raises :class:`UnknownNameError` or :class:`FgbenchError`. A name that plug-in files may bring is let pass.
    """
    if "/" in name or name in datasets.names() or not plugin_files:
        read, origin = _reader(name)
        if origin == OWN_DISTRIBUTION:
            typed_options(read, name, options)


def _reader(name: str) -> tuple[Callable[..., Any], str]:
    """The function (data_dir, options) → DataSet of a name, and the distribution that it comes from."""
    kind, slash, rest = name.partition("/")
    if slash:
        from fgbench.accuracy.datasets.hub import HUB

        if kind in HUB:
            return functools.partial(HUB[kind], rest), OWN_DISTRIBUTION
    read: Callable[..., Any] = datasets.load(name)
    return read, datasets.entries()[name].origin
