"""Other people's code: how it is read, and how whatever it does wrong becomes one line with its name."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, FgbenchError

PLAIN_NAME = re.compile(r"[\w.-]+")

# What may go wrong in a plug-in, where an except clause has to say it; ``blame`` catches the rest as well.
PLUGIN_FAILURES = (Exception, SystemExit, GeneratorExit)


@contextmanager
def blame(name: str, origin: str, *but_not: type[BaseException]) -> Iterator[None]:
    """Whatever is raised inside becomes a :class:`BrokenPluginError` by this name; Ctrl-C and ``but_not`` stay."""
    passing: tuple[type[BaseException], ...] = (KeyboardInterrupt, BrokenPluginError, *but_not)
    try:
        yield
    except passing:
        raise
    except BaseException as error:
        raise BrokenPluginError(name, origin, describe(error)) from error


def describe(error: BaseException) -> str:
    """An exception in one line, even one that cannot be shown."""
    try:
        said = f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException:
        said = "an exception that cannot be shown"
    return " ".join(said.split()).removesuffix(":")


def existing_file(path: Path) -> Path:
    """The resolved path of a file, which is what tells two spellings of it are one."""
    try:
        found = path.resolve() if path.is_file() else None
    except OSError as error:  # a name too long, a folder that may not be entered
        raise FgbenchError("cannot read plug-in file", str(path), error.strerror or describe(error)) from error
    if found is None:
        raise FgbenchError("no plug-in file", str(path), "give the path of a Python file")
    return found


def classes_in_file(path: Path, base: type) -> dict[str, type]:
    """Import one Python file: its classes of this base by their ``name``, or else their own names in lower case.

    A class that another one in the file derives from is their base, and is left out unless it has a ``name``.
    """
    with blame(path.name, str(path)):
        module = _import(path)
        defined: list[Any] = [
            value
            for value in dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
            if value.__module__ == module.__name__ and issubclass(value, base)
        ]
        bases = {base for value in defined for base in value.__mro__[1:]}
        found: dict[str, type] = {}
        for value in defined:
            if value in bases and "name" not in vars(value):
                continue
            name = vars(value).get("name", value.__name__.lower())
            if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
                raise BrokenPluginError(value.__name__, str(path), f"its 'name' is no plain word: {name!r}")
            if name in found:
                raise BrokenPluginError(name, str(path), "two classes have this name; set another one as its 'name'")
            found[name] = value
    if not found:
        raise BrokenPluginError(path.name, str(path), f"it defines no class derived from {base.__name__}")
    return found


def _import(path: Path) -> ModuleType:
    name = f"fgbench_plugin_{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BrokenPluginError(path.name, str(path), "it is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ModuleNotFoundError) and error.name and _is_beside(path, error.name):
            why = f"it imports its neighbour {error.name!r}; a plug-in file stands alone: install both as a package"
            raise BrokenPluginError(path.name, str(path), why) from error
        raise
    return module


def _is_beside(path: Path, module: str) -> bool:
    # Its folder does not become part of the import path: two plug-ins' helpers of one name would be mixed up.
    neighbour = path.parent / module.partition(".")[0]
    return neighbour.is_dir() or neighbour.with_suffix(".py").is_file()


def installed_points(group: str) -> Iterator[tuple[str, EntryPoint | Exception]]:
    """(distribution, entry point) of a group; an exception where a distribution's entry points cannot be read."""
    for distribution in distributions():
        try:
            points = [point for point in distribution.entry_points if point.group == group]
        except Exception as error:  # one distribution's broken file must not hide all the others
            if group in (distribution.read_text("entry_points.txt") or ""):
                yield _name_of(distribution), error
        else:
            for point in points:
                yield _name_of(distribution), point


def load_point(point: EntryPoint) -> object:
    """Import what an entry point names."""
    if not point.value:
        raise ValueError("its entry point is empty; write package.module:Class")
    return point.load()


def _name_of(distribution: Any) -> str:
    try:
        return str(distribution.name or "an unnamed distribution")
    except Exception:  # metadata that is missing or cannot be read
        return "an unnamed distribution"
