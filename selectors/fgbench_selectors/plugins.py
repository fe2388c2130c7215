"""Import the code of plug-ins, and turn any error in it into one line that names the plug-in."""

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
from fgbench_selectors.interrupts import InterruptWatch

PLAIN_NAME = re.compile(r"[\w.-]+")
PREFIX = "fgbench_plugin_"  # first part of the names of modules that are plug-in files
LONGEST = 500  # characters of an exception that a message shows


@contextmanager
def blame(name: str, origin: str, *but_not: type[BaseException], doing: str = "") -> Iterator[None]:
    """A context that turns every exception into a :class:`BrokenPluginError` with the name of the plug-in.

    Ctrl-C of the user stays a KeyboardInterrupt, also where the code inside catches it; a KeyboardInterrupt that the
    code raises itself is an error like any other. A fork of this process that the code starts ends with the context.

    Args:
        name: Name of the plug-in.
        origin: The distribution or the file that it comes from.
        but_not: Exceptions that pass unchanged.
        doing: Words before the reason.

    Raises:
        BrokenPluginError: For every other exception.

    """
    parent, watch = os.getpid(), InterruptWatch()
    try:
        try:
            yield
        finally:
            if os.getpid() != parent:
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
    """An exception as one line of at most :data:`LONGEST` characters, also where its text cannot be made."""
    watch = InterruptWatch()
    try:
        text = in_other_words(error) or f"{type(error).__name__}: {error}"
        text = " ".join(text[: 2 * LONGEST].split())
    except BaseException as another:
        if isinstance(another, KeyboardInterrupt) and watch.is_users:
            raise
        text = "an exception that cannot be shown"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def in_other_words(error: BaseException) -> str:
    """What code did that raised an exception whose own words say too little; empty for other exceptions."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
    if isinstance(error, EOFError) and str(error) == "EOF when reading a line":
        return f"it reads standard input ({type(error).__name__}: {error})"
    return "" if str(error).strip() else f"{type(error).__name__} without a message"


def existing_file(path: Path) -> Path:
    """The resolved path of a plug-in file, which is the same for every spelling of the path.

    Raises:
        FgbenchError: If there is no such file or it cannot be read.

    """
    try:
        file = path.resolve() if path.is_file() else None
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a link to itself, a NUL in it
        why = getattr(error, "strerror", None) or describe(error)
        raise FgbenchError("cannot read plug-in file", str(path), why) from error
    if file is None:
        raise FgbenchError("no plug-in file", str(path), "give the path of a Python file")
    return file


def derived_from(base: Callable[[], type]) -> Callable[[ModuleType], list[Any]]:
    """A function that finds the classes in a module that derive from a base.

    A class from which another class of the module derives is left out, unless it has a ``name``.

    Args:
        base: Returns the base class; called when a module is searched, so that nothing is imported before.

    Returns:
        A function from a module to its classes.

    """

    def classes_of(module: ModuleType) -> list[Any]:
        classes: list[Any] = [
            value
            for value in dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
            if value.__module__ == module.__name__ and issubclass(value, base())
        ]
        bases = {base for value in classes for base in value.__mro__[1:]}
        return [value for value in classes if value not in bases or "name" in vars(value)]

    return classes_of


def named(objects: Iterable[Any], path: Path) -> dict[str, Any]:
    """The objects of a file by their ``name``, or their own name in lower case where they have none.

    Raises:
        BrokenPluginError: If a name is no plain word, or two objects have the same one.

    """
    by_name: dict[str, Any] = {}
    for value in objects:
        name = vars(value).get("name", value.__name__.lower())
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(str.__str__(name)):
            raise BrokenPluginError(value.__name__, str(path), f"its 'name' is no plain word: {name!r}"[:LONGEST])
        name = str.__str__(name)
        if name in by_name:
            raise BrokenPluginError(name, str(path), "two classes have this name; set another one as its 'name'")
        by_name[name] = value
    return by_name


def module_name(path: Path) -> str:
    """The name of the module that a plug-in file is imported as in this process."""
    file = path.resolve()
    return f"{PREFIX}{file.stem}_{abs(hash(file))}"


class _SourceLoader(SourceFileLoader):
    """Compiles the file itself: cached bytecode is compared by whole seconds and size only."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_file(path: Path) -> ModuleType:
    """Import one Python file as the module :func:`module_name`.

    Raises:
        BrokenPluginError: If it is no Python file, or imports a file from its own folder.
        BaseException: Whatever its code raises.

    """
    name = module_name(path)
    loader = _SourceLoader(name, str(path)) if path.suffix == ".py" else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise BrokenPluginError(path.name, str(path), "it is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for their module there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, ModuleNotFoundError) and error.name and _is_in_same_folder(path, error.name):
            why = f"it imports its neighbour {error.name!r}; a plug-in file stands alone: install both as a package"
            raise BrokenPluginError(path.name, str(path), why) from error
        raise
    return module


def _is_in_same_folder(path: Path, module: str) -> bool:
    # The folder is not put on the import path: helper modules of two plug-ins could have the same name.
    neighbour = path.parent / module.partition(".")[0]
    return neighbour.is_dir() or neighbour.with_suffix(".py").is_file()


def installed_points(group: str) -> Iterator[tuple[str, EntryPoint | Exception]]:
    """The entry points of a group in every installed distribution.

    Args:
        group: Entry-point group, such as ``fgbench.selectors``.

    Returns:
        An iterator of (distribution, entry point), with the exception in place of the entry point where a
        distribution's entry points cannot be read.

    """
    for distribution in distributions():
        try:
            points = [point for point in distribution.entry_points if point.group == group]
        except Exception as error:  # the broken file of one distribution must not hide all the others
            if _mentions(distribution, group):
                yield _name_of(distribution), error
        else:
            for point in points:
                yield _name_of(distribution), point


def _mentions(distribution: Any, group: str) -> bool:
    """Whether the text of a distribution's entry points contains the name of a group."""
    with suppress(Exception):  # metadata that is missing or cannot be read
        return group in (distribution.read_text("entry_points.txt") or "")
    return False


def load_point(value: str) -> object:
    """Import the object of an entry point.

    Args:
        value: ``package.module:Class``.

    Raises:
        ValueError: If it is empty.
        BaseException: Whatever the import raises.

    """
    if not value:
        raise ValueError("its entry point is empty; write package.module:Class")
    return EntryPoint("", value, "").load()


def _name_of(distribution: Any) -> str:
    try:
        return str(distribution.name or "an unnamed distribution")
    except Exception:  # metadata that is missing or cannot be read
        return "an unnamed distribution"
