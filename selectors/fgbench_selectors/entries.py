"""Registries: objects by name from entry points and plug-in files. Built-ins are entry points too. No torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, FgbenchError, UnknownNameError
from fgbench_selectors.plugins import LONGEST, blame, existing_file, import_file, installed_points, load_point, named

OWN_DISTRIBUTION = "fgbench"
IMPLS = ("published", "fast")  # implementations that every selector has
RULES = ("released", "enclosing")  # by which boxes of crops follow from patches


@dataclass(frozen=True)
class Entry:
    """A registered name. Its object is not imported yet.

    Args:
        name: The name.
        origin: The distribution or the file that it comes from.
        load: Imports the object.
        file: Resolved path of the file; None for an entry point.
        value: ``package.module:Class`` of an entry point that can be loaded, else empty.

    """

    name: str
    origin: str
    load: Callable[[], object]
    file: Path | None = None
    value: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it is one of fgbench's own."""
        return self.origin == OWN_DISTRIBUTION


class Registry:
    """The objects of one entry-point group by name. An object is imported when it is loaded, not before.

    Where two distributions register the same name, it stands for the object of the first one (fgbench before others).
    The second one is listed as broken under ``name@distribution``, as is a file of entry points that cannot be read.

    The attribute ``vet`` may be replaced: it returns, by name, why entries of plug-ins must not be imported in this
    process. So may ``others``: it returns the entry of a name that is not registered and still stands for an object.

    Args:
        group: Entry-point group, such as ``fgbench.selectors``.
        kind: Kind of the objects in the singular, such as ``selector``.
        breach: Returns why an object breaks the contract, or None.
        members: Returns the objects of this kind that a module defines.
        earlier_names: Names that objects had before, and their names of now. No plug-in may take them.

    """

    def __init__(
        self,
        group: str,
        kind: str,
        breach: Callable[[object], str | None],
        members: Callable[[ModuleType], Iterable[Any]] = lambda module: (),
        earlier_names: Mapping[str, str] | None = None,
    ) -> None:
        self.group, self.kind, self._breach, self._members = group, kind, breach, members
        self.vet: Callable[[Sequence[Entry]], Mapping[str, str]] = lambda entries: {}
        self.others: Callable[[str], Entry | None] = lambda name: None
        self._earlier_names = earlier_names or {}
        self._from_files: dict[str, Entry] = {}

    @functools.cached_property
    def _installed(self) -> dict[str, Entry]:
        installed: dict[str, Entry] = {}
        # Stable: of a distribution that is installed twice, the copy that Python would import comes first.
        for origin, point in sorted(
            installed_points(self.group), key=lambda pair: (pair[0] != OWN_DISTRIBUTION, pair[0])
        ):
            if isinstance(point, Exception):
                name = f"entry_points.txt@{origin}"
                installed[name] = Entry(name, origin, functools.partial(_raise, point))
            elif point.name not in installed:
                load = functools.partial(load_point, point.value)
                installed[point.name] = Entry(point.name, origin, load, value=point.value)
            elif installed[point.name].origin != origin:
                name = f"{point.name}@{origin}"
                taken = ValueError(f"the name {point.name!r} is taken by another distribution; rename its entry point")
                installed[name] = Entry(name, origin, functools.partial(_raise, taken))
        return installed

    def entries(self) -> dict[str, Entry]:
        """All registered entries by name, sorted; nothing is imported."""
        merged = self._installed | self._from_files
        return dict(sorted(merged.items()))

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return list(self.entries())

    def entry(self, name: str) -> Entry:
        """The entry of a name, or of an earlier name.

        Raises:
            UnknownNameError: If the name is not registered.

        """
        entries = self.entries()
        name = name if name in entries else self._earlier_names.get(name, name)
        entry = entries[name] if name in entries else self.others(name)
        if entry is None:
            raise UnknownNameError(self.kind, name, entries)
        return entry

    def knows(self, name: str) -> bool:
        """Whether a name is registered, or stands for an object in another way."""
        return self._entry_or_none(name) is not None

    def load(self, name: str) -> Any:
        """Import the object of a name and check its contract.

        Raises:
            UnknownNameError: If the name is not registered.
            BrokenPluginError: If the object cannot be imported or breaks the contract.

        """
        entry = self.entry(name)
        if why := self.try_out([name]).get(name):
            raise BrokenPluginError(name, entry.origin, why)
        with blame(name, entry.origin):
            loaded = entry.load()
        if why := self.breach(entry, loaded):
            raise BrokenPluginError(name, entry.origin, why)
        return loaded

    def try_out(self, names: Iterable[str] | None = None) -> Mapping[str, str]:
        """Try plug-ins by ``vet``, all of them at once.

        Args:
            names: The names to try, also those that are not registered; all that are by default.

        Returns:
            By name, why a plug-in cannot be used.

        """
        wanted = list(self.entries().values()) if names is None else []
        for name in dict.fromkeys(names or ()):
            with suppress(FgbenchError):  # a name that stands for nothing is refused where it is loaded
                wanted += filter(None, [self._entry_or_none(name)])
        foreign = [entry for entry in wanted if not entry.is_own]
        return self.vet(foreign) if foreign else {}

    def breach(self, entry: Entry, loaded: object) -> str | None:
        """Why a loaded object breaks the contract, in words; None where it keeps it."""
        with blame(entry.name, entry.origin):
            why = self._breach(loaded)
            doc = None if why else loaded.__doc__
            if not (doc is None or isinstance(doc, str)):
                why = f"its docstring must be words, got {doc!r}"
        return why and why[:LONGEST]

    def blame(self, name: str, *but_not: type[BaseException], doing: str = "") -> AbstractContextManager[None]:
        """The context :func:`fgbench_selectors.plugins.blame` for a plug-in; no effect for an object of fgbench."""
        entry = self._entry_or_none(name)
        return nullcontext() if entry is None or entry.is_own else blame(name, entry.origin, *but_not, doing=doing)

    def _entry_or_none(self, name: str) -> Entry | None:
        """The entry of a name that is registered, or stands for an object in another way."""
        return self.entries().get(name) or self.others(name)

    def members(self, module: ModuleType, path: Path) -> dict[str, Any]:
        """The objects of this kind that a file defines, by :func:`fgbench_selectors.plugins.named`."""
        return named(self._members(module), path)

    def add_file(self, path: str | Path) -> list[str]:
        """Register all objects that a Python file defines, or none of them. A second call changes nothing.

        Returns:
            Their names, sorted.

        Raises:
            FgbenchError: If there is no such file.
            BrokenPluginError: If it cannot be imported, defines no object of this kind, or uses a name that is taken.

        """
        path = Path(path)
        file = existing_file(path)
        if known := self.names_of(file):
            return known
        with blame(path.name, str(path)):
            objects = self.members(import_file(path), path)
        if not objects:
            raise BrokenPluginError(path.name, str(path), f"it defines no {self.kind}")
        self.check_free(objects, path)
        self.add(
            {name: Entry(name, str(path), functools.partial(_given, value), file) for name, value in objects.items()}
        )
        return sorted(objects)

    def names_of(self, file: Path) -> list[str]:
        """The names that a file (its resolved path) has registered, sorted."""
        return sorted(name for name, entry in self._from_files.items() if entry.file == file)

    def check_free(self, names: Iterable[str], path: Path) -> None:
        """Check that the names of a file are free.

        Raises:
            BrokenPluginError: If one of them is taken.

        """
        entries = self.entries()
        for name in sorted(set(names) & {*entries, *self._earlier_names}):
            of = f"the name is taken by the {self.kind} from {self.entry(name).origin}"
            raise BrokenPluginError(name, str(path), f"{of}; set another one as its 'name'")

    def add(self, entries: Mapping[str, Entry]) -> None:
        """Register the entries of a file by name."""
        self._from_files.update(entries)


def _given(value: object) -> object:
    return value


def _raise(error: Exception) -> object:
    raise error
