"""Files that ``--plugin`` names: whatever kinds of objects they define are registered, all or nothing."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins import Outcome, outcomes
from fgbench.plugins.kinds import KINDS, kind_of
from fgbench_selectors.entries import Entry
from fgbench_selectors.plugins import blame, existing_file, import_file

if TYPE_CHECKING:
    from fgbench.workers.pool import WorkerPool


def add_plugin_files(paths: Iterable[str], on_problem: OnProblem, host: WorkerPool | None = None) -> list[str]:
    """Load plug-in files and register what they define; returns those that can be used, in their order.

    A broken file is reported, and the others still work. Inside of :func:`fgbench.plugins.tried_first` files are tried
    in workers of ``host``, or of a process of their own, and imported here only when something of them is asked for.
    Raises :class:`FgbenchError` for a file that is not there.
    """
    files = {path: existing_file(Path(path)) for path in paths}
    new = [path for path, file in files.items() if not any(kind.registry.names_of(file) for kind in KINDS)]
    tried: dict[str, dict[tuple[str, str], Outcome] | BrokenPluginError] = {}
    if outcomes() is not None and new:
        from fgbench.plugins.trial import try_files

        tried = try_files(new, host)
    usable = []
    for path, file in files.items():
        try:
            if path in new:
                _register(Path(path), file, tried.get(path))
        except BrokenPluginError as error:
            on_problem(error)
        else:
            usable.append(path)
    return usable


def _register(path: Path, file: Path, tried: dict[tuple[str, str], Outcome] | BrokenPluginError | None) -> None:
    """Register what a file defines, as its trial found it, or as it is found here where there was none."""
    if isinstance(tried, BrokenPluginError):
        raise tried
    opened = PluginFile(path)
    objects = opened.objects if tried is None else tried
    names: dict[str, dict[str, Entry]] = {}
    for group, name in objects:
        load = functools.partial(opened.get, group, name)
        names.setdefault(group, {})[name] = Entry(name, str(path), load, file)
    for group, entries in names.items():
        kind_of(group).registry.check_free(entries, path)
    for group, entries in names.items():
        kind_of(group).registry.add(entries)
    if tried is not None and (known := outcomes()) is not None:
        known.update(tried)


class PluginFile:
    """A file that is imported once, when the first of its objects is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @functools.cached_property
    def objects(self) -> dict[tuple[str, str], object]:
        """Its objects by entry-point group and name. Raises :class:`BrokenPluginError`, for a file without any, too."""
        found: dict[tuple[str, str], object] = {}
        with blame(self._path.name, str(self._path)):
            module = import_file(self._path)
            for kind in KINDS:
                if kind.home in sys.modules:  # else the file has nothing to derive from
                    found |= {(kind.group, n): v for n, v in kind.registry.members(module, self._path).items()}
        if not found:
            looked_for = ", ".join(f"no {kind.registry.kind} ({kind.must_be})" for kind in KINDS)
            raise BrokenPluginError(self._path.name, str(self._path), f"it defines {looked_for}")
        return found

    def get(self, group: str, name: str) -> object:
        """One of its objects."""
        return self.objects[group, name]
