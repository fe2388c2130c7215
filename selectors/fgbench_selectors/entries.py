"""Names to objects through entry points: the built-ins are found the way everybody else's are. No torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fgbench_selectors.errors import BrokenPluginError, UnknownNameError
from fgbench_selectors.plugins import LONGEST, blame, existing_file, import_file, installed_points, load_point, named

OWN_DISTRIBUTION = "fgbench"


@dataclass(frozen=True)
class Entry:
    """A registered name, before anything is imported."""

    name: str
    origin: str  # the distribution or the file that it comes from
    load: Callable[[], object]
    file: Path | None = None  # the file, resolved
    value: str = ""  # package.module:Class, of an entry point that can be loaded

    @property
    def is_own(self) -> bool:
        """Whether it is one of fgbench's own."""
        return self.origin == OWN_DISTRIBUTION


class Registry:
    """The objects of one entry-point group, imported only when they are asked for.

    A name that a second distribution takes again stays with the first one (fgbench's own before others);
    the second one is listed as broken under ``name@distribution``, as is a file of entry points that cannot be read.

    ``breach`` says why an object does not keep the contract; ``members`` gives the objects of this kind that a module
    defines. ``earlier_names`` stand for names of now; nobody else may take them. ``vet`` may be set: it says of entries
    of others by name why they must not even be imported here.
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
        self._earlier_names = earlier_names or {}
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
                load = functools.partial(load_point, point.value)
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

    def entry(self, name: str) -> Entry:
        """What is registered under a name, or under the one that was its earlier name.

        Raises :class:`UnknownNameError`.
        """
        entries = self.entries()
        name = name if name in entries else self._earlier_names.get(name, name)
        if name not in entries:
            raise UnknownNameError(self.kind, name, entries)
        return entries[name]

    def load(self, name: str) -> Any:
        """Import what a name stands for and check its contract.

        Raises :class:`UnknownNameError`, or :class:`BrokenPluginError` with the reason.
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
        """Have entries of others vetted, all at once where no names are given: by name, why they cannot be used."""
        entries = self.entries()
        asked = entries if names is None else [name for name in names if name in entries]
        foreign = [entries[name] for name in asked if not entries[name].is_own]
        return self.vet(foreign) if foreign else {}

    def breach(self, entry: Entry, loaded: object) -> str | None:
        """Why what was loaded does not keep the contract, in words; None when it does."""
        with blame(entry.name, entry.origin):
            why = self._breach(loaded)
            doc = None if why else loaded.__doc__
            if not (doc is None or isinstance(doc, str)):
                why = f"its docstring must be words, got {doc!r}"
        return why and why[:LONGEST]

    def blame(self, name: str, *but_not: type[BaseException], doing: str = "") -> AbstractContextManager[None]:
        """Where somebody else's code of a name runs, see :func:`fgbench_selectors.plugins.blame`; no guard for ours."""
        entry = self.entries().get(name)
        return nullcontext() if entry is None or entry.is_own else blame(name, entry.origin, *but_not, doing=doing)

    def members(self, module: ModuleType, path: Path) -> dict[str, Any]:
        """The objects of this kind that a file defines, by name: their ``name``, or else their own in lower case."""
        return named(self._members(module), path)

    def add_file(self, path: str | Path) -> list[str]:
        """Register what one Python file defines, all or nothing; return the names. Once is enough for one file."""
        path = Path(path)
        file = existing_file(path)
        if known := self.names_of(file):
            return known
        with blame(path.name, str(path)):
            found = self.members(import_file(path), path)
        if not found:
            raise BrokenPluginError(path.name, str(path), f"it defines no {self.kind}")
        self.check_free(found, path)
        self.add(
            {name: Entry(name, str(path), functools.partial(_given, value), file) for name, value in found.items()}
        )
        return sorted(found)

    def names_of(self, file: Path) -> list[str]:
        """The names that a file has registered."""
        return sorted(name for name, entry in self._from_files.items() if entry.file == file)

    def check_free(self, names: Iterable[str], path: Path) -> None:
        """Raise :class:`BrokenPluginError` for a name of a file that is taken."""
        entries = self.entries()
        for name in sorted(set(names) & {*entries, *self._earlier_names}):
            of = f"the name is taken by the {self.kind} from {self.entry(name).origin}"
            raise BrokenPluginError(name, str(path), f"{of}; set another one as its 'name'")

    def add(self, entries: Mapping[str, Entry]) -> None:
        """Register entries of a file."""
        self._from_files.update(entries)


def _given(value: object) -> object:
    return value


def _raise(error: Exception) -> object:
    raise error
