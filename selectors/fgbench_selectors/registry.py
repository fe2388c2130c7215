"""Names to objects through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, FgbenchError, UnknownNameError
from fgbench_selectors.selector import Selector, contract_breach

OWN_DISTRIBUTION = "fgbench"
PLAIN_NAME = re.compile(r"[\w.-]+")

# All that a plug-in may do wrong: an exit at import must not end the command either.
PLUGIN_FAILURES = (Exception, SystemExit)


@dataclass(frozen=True)
class Entry:
    """A registered name, before anything is imported."""

    name: str
    origin: str  # the distribution or the file that it comes from
    load: Callable[[], object]


class Registry:
    """The objects of one entry-point group, imported only when they are asked for.

    A name that a second distribution takes again stays with the first one (fgbench's own before others);
    the second one is listed as broken under ``name@distribution``.
    """

    def __init__(self, group: str, kind: str, breach: Callable[[object], str | None]) -> None:
        self.group, self.kind, self._breach = group, kind, breach
        self._from_files: dict[str, Entry] = {}

    @functools.cached_property
    def _installed(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        points = sorted(set(entry_points(group=self.group)), key=_own_first)
        for point in points:
            origin = _distribution(point)
            if point.name not in found:
                found[point.name] = Entry(point.name, origin, point.load)
            elif found[point.name].origin != origin:
                name = f"{point.name}@{origin}"
                found[name] = Entry(name, origin, functools.partial(_refuse_taken, point.name))
        return found

    def entries(self) -> dict[str, Entry]:
        """Every registered entry by name; nothing is imported."""
        merged = self._installed | self._from_files
        return dict(sorted(merged.items()))

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return list(self.entries())

    def load(self, name: str) -> Any:
        """Import what a name stands for and check its contract.

        Raises :class:`UnknownNameError`, or :class:`BrokenPluginError` with the reason.
        """
        entries = self.entries()
        if name not in entries:
            raise UnknownNameError(self.kind, name, entries)
        entry = entries[name]
        try:
            loaded = entry.load()
        except PLUGIN_FAILURES as error:
            raise BrokenPluginError(name, entry.origin, describe(error)) from error
        if why := self._breach(loaded):
            raise BrokenPluginError(name, entry.origin, why)
        return loaded

    def add_file(self, path: str | Path) -> list[str]:
        """Register what one Python file defines; return the names.

        A class is registered under its attribute ``name``, or else its own name in lower case.
        """
        path = Path(path)
        if not path.is_file():
            raise FgbenchError("no plug-in file", str(path), "give the path of a Python file")
        module_name = f"fgbench_plugin_{path.stem}_{abs(hash(path.resolve()))}"
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise BrokenPluginError(path.name, str(path), "it is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses and pickle look their module up there
        try:
            spec.loader.exec_module(module)
        except PLUGIN_FAILURES as error:
            del sys.modules[module_name]
            raise BrokenPluginError(path.name, str(path), describe(error)) from error
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and value.__module__ == module_name and issubclass(value, Selector)
        ]
        if not classes:
            raise BrokenPluginError(path.name, str(path), "it defines no class derived from Selector")
        added = {getattr(value, "name", value.__name__.lower()): value for value in classes}
        for name, value in added.items():
            if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
                raise BrokenPluginError(value.__name__, str(path), f"its 'name' is no plain word: {name!r}")
            if name in self.entries():
                raise BrokenPluginError(name, str(path), "the name is taken; set another one as its 'name'")
            self._from_files[name] = Entry(name, str(path), functools.partial(lambda kept: kept, value))
        return sorted(added)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _refuse_taken(name: str) -> object:
    raise ValueError(f"the name {name!r} is taken by another distribution; rename its entry point")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed distribution"


def _own_first(point: EntryPoint) -> tuple[bool, str, str]:
    origin = _distribution(point)
    return origin != OWN_DISTRIBUTION, origin, point.name


selectors = Registry("fgbench.selectors", "selector", contract_breach)


def get(name: str, impl: str = "fast", **options: Any) -> Selector:
    """Make the selector of a name: ``get("psm", impl="published")(features)`` → scores.

    ``impl`` is ``"published"`` or ``"fast"``; other options are the selector's own. Raises
    :class:`UnknownNameError`, :class:`BrokenPluginError`, or :class:`FgbenchError` for a wrong option.
    """
    factory = selectors.load(name)
    try:
        made = factory(impl=impl, **options)
    except FgbenchError:
        raise
    except PLUGIN_FAILURES as error:
        entry = selectors.entries()[name]
        unknown = [key for key in options if key not in inspect.signature(factory).parameters]
        if unknown:
            raise FgbenchError(f"selector {name!r} has no option", unknown[0]) from error
        raise BrokenPluginError(name, entry.origin, describe(error)) from error
    assert isinstance(made, Selector)
    return made
