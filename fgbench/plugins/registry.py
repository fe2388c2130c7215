"""What can be named on the command line, and where a broken plug-in is reported instead of raised."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import selectors
from fgbench_selectors.registry import get

if TYPE_CHECKING:
    from fgbench_selectors import Selector

__all__ = ["OnProblem", "add_plugin_files", "is_own", "make_selector", "selectors", "usable_selectors"]


def usable_selectors(names: Iterable[str] | None, on_problem: OnProblem) -> list[str]:
    """The selectors of these names, or all, that can be loaded. Unknown names raise; broken ones are reported."""
    usable = []
    asked = selectors.names() if names is None else list(names)
    selectors.try_out(asked)
    for name in asked:
        try:
            selectors.load(name)
        except BrokenPluginError as error:
            on_problem(error)
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
    return selectors.entry(selector).is_own
