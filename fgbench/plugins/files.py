"""Plug-in files (``--plugin``): all objects of every kind that a file defines are registered, or none."""

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


def add_plugin_files(paths: Iterable[str], on_problem: OnProblem, pool: WorkerPool | None = None) -> list[str]:
    """Register the objects that plug-in files define.

    In the context :func:`fgbench.plugins.tried_first` files are tried in workers, and a file is imported in this
    process when one of its objects is loaded.

    Args:
        paths: Paths of Python files.
        on_problem: Gets the error of a broken file; the other files are registered.
        pool: Forks the workers for trials; by default a pool of its own.

    Returns:
        The paths of files that can be used, in their order.

    Raises:
        FgbenchError: If a file does not exist.

    """
    files = {path: existing_file(Path(path)) for path in paths}
    new = [path for path, file in files.items() if not any(kind.registry.names_of(file) for kind in KINDS)]
    trials: dict[str, dict[tuple[str, str], Outcome] | BrokenPluginError] = {}
    if outcomes() is not None and new:
        from fgbench.plugins.trial import try_files

        trials = try_files(new, pool)
    usable = []
    for path, file in files.items():
        try:
            if path in new:
                _register(Path(path), file, trials.get(path))
        except BrokenPluginError as error:
            on_problem(error)
        else:
            usable.append(path)
    return usable


def _register(path: Path, file: Path, trial: dict[tuple[str, str], Outcome] | BrokenPluginError | None) -> None:
    """Register the objects of a file, by the outcomes of its trial, or by importing it where there was no trial."""
    if isinstance(trial, BrokenPluginError):
        raise trial
    plugin = PluginFile(path)
    objects = plugin.objects if trial is None else trial
    names: dict[str, dict[str, Entry]] = {}
    for group, name in objects:
        load = functools.partial(plugin.get, group, name)
        names.setdefault(group, {})[name] = Entry(name, str(path), load, file)
    for group, entries in names.items():
        kind_of(group).registry.check_free(entries, path)
    for group, entries in names.items():
        kind_of(group).registry.add(entries)
    if trial is not None and (known := outcomes()) is not None:
        known.update(trial)


class PluginFile:
    """A plug-in file that is imported once, when the first of its objects is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @functools.cached_property
    def objects(self) -> dict[tuple[str, str], object]:
        """Its objects by entry-point group and name.

        Raises:
            BrokenPluginError: If the file cannot be imported or defines no object of any kind.

        """
        objects: dict[tuple[str, str], object] = {}
        with blame(self._path.name, str(self._path)):
            module = import_file(self._path)
            for kind in KINDS:
                if kind.home in sys.modules:  # otherwise the file cannot have derived from it
                    members = kind.registry.members(module, self._path)
                    objects |= {(kind.group, name): value for name, value in members.items()}
        if not objects:
            missing = ", ".join(f"no {kind.registry.kind} ({kind.must_be})" for kind in KINDS)
            raise BrokenPluginError(self._path.name, str(self._path), f"it defines {missing}")
        return objects

    def get(self, group: str, name: str) -> object:
        """The object of an entry-point group and a name."""
        return self.objects[group, name]
