"""Modules that plug-ins import by the names that they had before. Importing this module makes these names known.

A name of a package stands for everything in it: ``fgbench.accuracy.datasets.files`` is ``fgbench.datasets.files``, the
same module under two names. Nothing is imported before a plug-in asks for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader  # imports half of the standard library

# Earlier name → name; None for a package whose modules are in several places. The longest name that fits counts.
EARLIER_NAMES: dict[str, str | None] = {
    "fgbench.accuracy": None,
    "fgbench.accuracy.datasets": "fgbench.datasets",
    "fgbench.accuracy.quality": "fgbench.explain.quality",
    "fgbench.accuracy.recipe": "fgbench.results.recipe",
    "fgbench.accuracy.synthetic": "fgbench.datasets.synthetic",
    "fgbench.accuracy.transforms": "fgbench.datasets.transforms",
    "fgbench.environment": "fgbench.results.environment",
    "fgbench.images": "fgbench.datasets.images",
    "fgbench.models.selection": "fgbench.models.token_ops",
    "fgbench.reading": "fgbench.results.reading",
    "fgbench.records": "fgbench.results.records",
    "fgbench.registry": "fgbench.plugins.registry",
    "fgbench.saved": "fgbench.cli.saved",
    "fgbench.store": "fgbench.results.store",
    "fgbench_reports.bounds": "fgbench_reports.choose.bounds",
    "fgbench_reports.choose.front": "fgbench_reports.choose.bounds",
    "fgbench_reports.configurations": "fgbench_reports.choose.configurations",
    "fgbench_reports.figures": "fgbench_reports.plots",
    "fgbench_reports.marks": "fgbench_reports.tables.table",
    "fgbench_reports.naming": "fgbench_reports.tables.table",
    "fgbench_reports.numbers": "fgbench_reports.tables.numbers",
    "fgbench_reports.paper.table1": "fgbench_reports.paper.selector_costs",
    "fgbench_reports.paper.table2": "fgbench_reports.paper.literature",
    "fgbench_reports.paper.table3": "fgbench_reports.paper.literature",
    "fgbench_reports.paper.table7": "fgbench_reports.paper.selector_costs",
    "fgbench_reports.paper.table8": "fgbench_reports.paper.selector_costs",
    "fgbench_selectors.windows": "fgbench_selectors.regions",
}


def name_now(name: str) -> str | None:
    """The name of a module that has an earlier one.

    Args:
        name: A full name, ``fgbench.accuracy.datasets.files``.

    Returns:
        Its name now, ``fgbench.datasets.files``; None for any other name, and for a package without one.

    """
    package, rest = name, ""
    while package:
        if package in EARLIER_NAMES:
            now = EARLIER_NAMES[package]
            return None if now is None else now + rest
        package, _, last = package.rpartition(".")
        rest = f".{last}{rest}"
    return None


class EarlierNames:
    """Finds modules by their earlier names. It comes first: other finders would load a second copy of the module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification that leads to the module, or to an empty package; None for any other name."""
        if not fullname.startswith(tuple(EARLIER_NAMES)):
            return None
        loader = cast("Loader", self)
        if name_now(fullname) is None:
            return ModuleSpec(fullname, loader, is_package=True) if fullname in EARLIER_NAMES else None
        return ModuleSpec(fullname, loader)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module itself, not a copy of it."""
        now = name_now(spec.name)
        if now is None:
            return None
        module = importlib.import_module(now)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own specification: it is executed already."""
        spec = module.__spec__
        if spec is not None and spec.name in self._specs:
            module.__spec__ = self._specs.pop(spec.name)

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}


if not any(isinstance(finder, EarlierNames) for finder in sys.meta_path):
    sys.meta_path.insert(0, EarlierNames())
