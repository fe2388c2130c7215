"""Data sets by name, and options of their readers. Readers are found by entry points, fgbench's own as well."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fgbench.datasets.dataset import DataSet, DatasetError, Published, Split, readable
from fgbench.errors import FgbenchError
from fgbench.plugins.kinds import datasets

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false"}


def open_dataset(
    name: str, data_dir: str | Path | None = None, options: Mapping[str, Any] | None = None, **more_options: Any
) -> DataSet:
    """Open a data set: ``open_dataset("cub", "data", part_size=0.3)``, ``open_dataset("synthetic", classes=24)``.

    Args:
        name: Name of a data set, or ``hfds/…``, ``tfds/…`` or ``wds/…`` for other ones that timm knows.
        data_dir: Folder of the data set; None for one that needs none.
        options: Keyword parameters of the reader, as values or as the text that is typed for them.
        **more_options: The same as keywords.

    Returns:
        The data set, with a split to train on and one to test on. No image is opened.

    Raises:
        UnknownNameError: The name is not known.
        FgbenchError: An option does not fit.
        DatasetError: The folder is missing, incomplete or laid out in another way.
        BrokenPluginError: The reader is one of a plug-in, and fails.
    """
    read = _reader(name)
    with datasets.blame(name, FgbenchError):
        typed = typed_options(read, name, {**(options or {}), **more_options})
        try:
            opened = read(None if data_dir is None else Path(data_dir), **typed)
        except OSError as error:  # such as missing permission, or a removed disk
            raise DatasetError(
                f"cannot read data set {name!r}:", error.filename, error.strerror or str(error)
            ) from error
        if not isinstance(opened, DataSet):
            raise TypeError(f"its reader returned {type(opened).__name__}, not a DataSet")
        for split in (opened.train, opened.test):
            if not isinstance(split, Split):
                raise TypeError(f"its reader returned a split that is a {type(split).__name__}, not a Split")
            if wrong := next((target for target in split.targets if not isinstance(target, Integral)), None):
                raise TypeError(f"its targets must be whole numbers, and one is {wrong!r}")
        return replace(opened, class_names=[readable(name) for name in opened.class_names])


def check_options(name: str, options: Mapping[str, str], plugin_files: Sequence[str] | None = None) -> None:
    """Check the name and the options of a data set; nothing is opened.

    Args:
        name: Name of a data set; an unknown one is not checked if there are plug-in files.
        options: Options as text. Those of a plug-in are not checked.
        plugin_files: Plug-in files of the command.

    Raises:
        UnknownNameError: The name is not known.
        FgbenchError: An option does not fit.
    """
    if plugin_files and "/" not in name and name not in datasets.names():
        return
    if "/" in name or datasets.entry(name).is_own:
        typed_options(_reader(name), name, options)


def dataset_breach(candidate: object) -> str | None:
    """Why an object is not a reader of a data set, in words; None for a reader."""
    if not callable(candidate):
        return "it must be a function (data_dir, **options) → DataSet"
    if not isinstance(holds := getattr(candidate, "holds", ""), str):
        return f"its attribute 'holds' must be words, got {holds!r}"
    published = getattr(candidate, "published", None)
    if published is not None and not (isinstance(published, Published) and all(map(_is_whole, _counts(published)))):
        return f"its attribute 'published' must be a Published with whole numbers, got {published!r}"
    return None


def hub_readers() -> Mapping[str, Callable[..., DataSet]]:
    """Readers of names with a prefix, ``hfds/food101``, by prefix: functions (rest of the name, data_dir, options).

    Training takes images in any order, and not all of timm's readers have random access: hfds has it, wds is indexed,
    tfds is held in memory. Packages of readers are imported when a data set is opened.
    """
    from fgbench.datasets.hfds import hfds
    from fgbench.datasets.tfds import tfds
    from fgbench.datasets.wds import wds

    return {"hfds": hfds, "tfds": tfds, "wds": wds}


def typed_options(read: Callable[..., object], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the types of the reader's parameters: int, float, str, bool, Path, Literal.

    Args:
        read: The reader. Its first parameter, the folder, is no option; with ``**options`` it takes any as they are.
        name: Name of the data set in errors.
        options: Options, as text or as values.

    Raises:
        FgbenchError: The reader has no such option, or the value does not fit.
    """
    _, *parameters = inspect.signature(read, eval_str=True).parameters.values()
    kinds = {p.name: p.annotation for p in parameters if p.kind is not p.VAR_KEYWORD}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in kinds and not takes_any:
            has = f"it has: {', '.join(sorted(kinds))}" if kinds else "it has none"
            raise FgbenchError(f"data set {name!r} has no option", option, has)
    return {key: _typed(f"option {key} of {name}", value, kinds.get(key)) for key, value in options.items()}


def _typed(what: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):  # X | None; None is the default
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise FgbenchError(f"{what} cannot be", value, f"it is one of {', '.join(map(str, get_args(kind)))}")
        return value
    text = str(value)
    try:
        if kind is bool:
            return BOOLEANS[text.lower()]
        return kind(text) if kind in (int, float, Path) else value
    except (ValueError, KeyError) as error:
        raise FgbenchError(f"{what} must be {TYPE_WORDS[kind]}, got", value) from error


def _reader(name: str) -> Callable[..., Any]:
    """The function (data_dir, options) → DataSet of a name."""
    prefix, slash, rest = name.partition("/")
    if slash and prefix in (readers := hub_readers()):
        return functools.partial(readers[prefix], rest)
    read: Callable[..., Any] = datasets.load(name)
    return read


def _counts(published: Published) -> tuple[object, ...]:
    return published.classes, published.train_images, published.test_images


def _is_whole(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool)
