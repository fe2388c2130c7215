"""Names to objects through entry points: the built-ins are found the way everybody else's are. No torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, UnknownNameError
from fgbench_selectors.plugins import blame, classes_in_file, existing_file, installed_points, load_point

OWN_DISTRIBUTION = "fgbench"


@dataclass(frozen=True)
class Entry:
    """A registered name, before anything is imported."""

    name: str
    origin: str  # the distribution or the file that it comes from
    load: Callable[[], object]
    file: Path | None = None  # the file, resolved
    value: str | None = None  # "package.module:Class", of an entry point


class Registry:
    """The objects of one entry-point group, imported only when they are asked for.

    A name that a second distribution takes again stays with the first one (fgbench's own before others);
    the second one is listed as broken under ``name@distribution``, as is a file of entry points that cannot be read.

    ``breach`` says why an object does not keep the contract; ``base`` gives the class that those in a file derive from.
    """

    def __init__(
        self, group: str, kind: str, breach: Callable[[object], str | None], base: Callable[[], type] | None = None
    ) -> None:
        self.group, self.kind, self._breach, self._base = group, kind, breach, base
        self._from_files: dict[str, Entry] = {}

    @functools.cached_property
    def _installed(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        # Stable: of one distribution that is installed twice the copy that Python itself would import comes first.
        for origin, point in sorted(
            installed_points(self.group), key=lambda pair: (pair[0] != OWN_DISTRIBUTION, pair[0])
        ):
            if isinstance(point, Exception):
                name = f"entry_points.txt@{origin}"
                found[name] = Entry(name, origin, functools.partial(_raise, point))
            elif point.name not in found:
                load = functools.partial(load_point, point)
                found[point.name] = Entry(point.name, origin, load, value=point.value)
            elif found[point.name].origin != origin:
                name = f"{point.name}@{origin}"
                taken = ValueError(f"the name {point.name!r} is taken by another distribution; rename its entry point")
                found[name] = Entry(name, origin, functools.partial(_raise, taken))
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
        with blame(name, entry.origin):
            loaded = entry.load()
            why = self._breach(loaded)
        if why:
            raise BrokenPluginError(name, entry.origin, why)
        return loaded

    def add_file(self, path: str | Path) -> list[str]:
        """Register what one Python file defines, all or nothing; return the names. Once is enough for one file.

        A class is registered under its attribute ``name``, or else its own name in lower case; one that others
        in the file derive from only where it has a ``name``.
        """
        if self._base is None:
            raise TypeError(f"a {self.kind} cannot come from a file: the registry knows no base class")
        path = Path(path)
        file = existing_file(path)
        if known := [entry.name for entry in self._from_files.values() if entry.file == file]:
            return sorted(known)
        found = classes_in_file(path, self._base())
        if taken := sorted(set(found) & set(self.entries())):
            raise BrokenPluginError(taken[0], str(path), "the name is taken; set another one as its 'name'")
        for name, value in found.items():
            self._from_files[name] = Entry(name, str(path), functools.partial(lambda kept: kept, value), file)
        return sorted(found)


def _raise(error: Exception) -> object:
    raise error
