"""What can be named on the command line, and where a broken plug-in is reported, not raised. No torch by itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fgbench.errors import BrokenPluginError, Report
from fgbench_selectors.registry import OWN_DISTRIBUTION, get, selectors

if TYPE_CHECKING:
    from fgbench_selectors import Selector

__all__ = ["Report", "add_plugin_files", "is_own", "make_selector", "selectors", "usable_selectors"]


def add_plugin_files(paths: Iterable[str], report: Report) -> None:
    """Load plug-in files that were named explicitly; a broken one is reported, the others still work."""
    for path in paths:
        try:
            selectors.add_file(path)
        except BrokenPluginError as error:
            report(error)


def usable_selectors(names: Iterable[str] | None, report: Report) -> list[str]:
    """The selectors of these names, or all, that can be loaded. Unknown names raise; broken ones are reported."""
    usable = []
    for name in selectors.names() if names is None else names:
        try:
            selectors.load(name)
        except BrokenPluginError as error:
            report(error)
        else:
            usable.append(name)
    return usable


def make_selector(name: str, impl: str, depth: int, **options: Any) -> Selector:
    """A selector for an encoder of ``depth`` blocks; one that learns a weight per block is told how many there are."""
    if "depth" in inspect.signature(selectors.load(name)).parameters:
        options = {"depth": depth} | options
    return get(name, impl=impl, **options)


def is_own(selector: str) -> bool:
    """Whether a selector is one of fgbench's own."""
    return selectors.entries()[selector].origin == OWN_DISTRIBUTION
