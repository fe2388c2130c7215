"""Other people's code: how it is read, and how whatever it does wrong becomes one line with its name."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, FgbenchError
from fgbench_selectors.interrupts import Watch

PLAIN_NAME = re.compile(r"[\w.-]+")
PREFIX = "fgbench_plugin_"  # of the modules that files are imported as
LONGEST = 500  # characters of what an exception says


@contextmanager
def blame(name: str, origin: str, *but_not: type[BaseException], doing: str = "") -> Iterator[None]:
    """Whatever is raised inside becomes a :class:`BrokenPluginError` by this name, and ``but_not`` stays what it is.

    Ctrl-C of the user stays Ctrl-C, also where the code inside swallows it; a KeyboardInterrupt that it raises itself
    is its fault. A copy of this process that it forks ends where that code ends. ``doing`` is put before the reason.
    """
    here, watch = os.getpid(), Watch()
    try:
        try:
            yield
        finally:
            if os.getpid() != here:
                os._exit(1)
            if watch.interrupted:
                raise KeyboardInterrupt
    except BaseException as error:
        if isinstance(error, (BrokenPluginError, *but_not)) or (
            isinstance(error, KeyboardInterrupt) and watch.is_users
        ):
            raise
        raise BrokenPluginError(name, origin, doing + describe(error)) from error


def describe(error: BaseException) -> str:
    """An exception in one line, even one that cannot be shown."""
    watch = Watch()
    try:
        said = " ".join(f"{type(error).__name__}: {error}"[: 2 * LONGEST].split())
    except BaseException as another:
        if isinstance(another, KeyboardInterrupt) and watch.is_users:
            raise
        said = "an exception that cannot be shown"
    return (said if len(said) <= LONGEST else f"{said[:LONGEST]}…").removesuffix(":")


def existing_file(path: Path) -> Path:
    """The resolved path of a file, which is what tells two spellings of it are one."""
    try:
        found = path.resolve() if path.is_file() else None
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a link to itself, a NUL in it
        why = getattr(error, "strerror", None) or describe(error)
        raise FgbenchError("cannot read plug-in file", str(path), why) from error
    if found is None:
        raise FgbenchError("no plug-in file", str(path), "give the path of a Python file")
    return found


def derived_from(base: Callable[[], type]) -> Callable[[ModuleType], list[Any]]:
    """What finds the classes of a base that a module defines.

    A class that another one in the file derives from is their base, and is left out unless it has a ``name``.
    """

    def found_in(module: ModuleType) -> list[Any]:
        defined: list[Any] = [
            value
            for value in dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
            if value.__module__ == module.__name__ and issubclass(value, base())
        ]
        bases = {base for value in defined for base in value.__mro__[1:]}
        return [value for value in defined if value not in bases or "name" in vars(value)]

    return found_in


def named(found: Iterable[Any], path: Path) -> dict[str, Any]:
    """Objects of a file by their ``name``, or else their own names in lower case."""
    by_name: dict[str, Any] = {}
    for value in found:
        name = vars(value).get("name", value.__name__.lower())
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(str.__str__(name)):
            raise BrokenPluginError(value.__name__, str(path), f"its 'name' is no plain word: {name!r}"[:LONGEST])
        name = str.__str__(name)
        if name in by_name:
            raise BrokenPluginError(name, str(path), "two classes have this name; set another one as its 'name'")
        by_name[name] = value
    return by_name


def module_name(path: Path) -> str:
    """The name that a file is imported under in this process: one of its own."""
    file = path.resolve()
    return f"{PREFIX}{file.stem}_{abs(hash(file))}"


class _SourceAlone(SourceFileLoader):
    """Reads a file as it is: bytecode that is kept beside it is told from new text by whole seconds and size alone."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_file(path: Path) -> ModuleType:
    """Import one Python file under a name of its own. Raises whatever it raises."""
    name = module_name(path)
    loader = _SourceAlone(name, str(path)) if path.suffix == ".py" else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise BrokenPluginError(path.name, str(path), "it is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
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
            if _speaks_of(distribution, group):
                yield _name_of(distribution), error
        else:
            for point in points:
                yield _name_of(distribution), point


def _speaks_of(distribution: Any, group: str) -> bool:
    """Whether a distribution's entry points are of a group, as far as anybody can tell."""
    with suppress(Exception):  # nobody can
        return group in (distribution.read_text("entry_points.txt") or "")
    return False


def load_point(value: str) -> object:
    """Import what an entry point names: ``package.module:Class``."""
    if not value:
        raise ValueError("its entry point is empty; write package.module:Class")
    return EntryPoint("", value, "").load()


def _name_of(distribution: Any) -> str:
    try:
        return str(distribution.name or "an unnamed distribution")
    except Exception:  # metadata that is missing or cannot be read
        return "an unnamed distribution"
