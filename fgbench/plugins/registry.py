"""Selectors by name: those that can be used, and selectors for an encoder."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fgbench.errors import BrokenPluginError, OnProblem
from fgbench.plugins.kinds import selectors
from fgbench_selectors.registry import get

if TYPE_CHECKING:
    from fgbench_selectors import Selector

__all__ = ["is_own", "make_selector", "selectors", "usable_selectors"]


def usable_selectors(names: Iterable[str] | None, on_problem: OnProblem) -> list[str]:
    """The names of selectors that can be loaded.

    Args:
        names: Names to load; all registered ones by default.
        on_problem: Gets the error of a plug-in that breaks.

    Raises:
        UnknownNameError: If a name is not registered.

    """
    usable = []
    requested = selectors.names() if names is None else list(names)
    selectors.try_out(requested)
    for name in requested:
        try:
            selectors.load(name)
        except BrokenPluginError as error:
            on_problem(error)
        else:
            usable.append(name)
    return usable


def make_selector(name: str, impl: str, depth: int, **options: Any) -> Selector:
    """Make a selector for an encoder.

    Args:
        name: A registered name.
        impl: ``published`` or ``fast``.
        depth: Number of blocks of the encoder; passed on to a selector that has this option.
        options: Other options of the selector.

    Raises:
        FgbenchError: As :func:`fgbench_selectors.get`.

    """
    if "depth" in inspect.signature(selectors.load(name)).parameters:
        options = {"depth": depth} | options
    return get(name, impl=impl, **options)


def is_own(selector: str) -> bool:
    """Whether a selector belongs to fgbench."""
    return selectors.entry(selector).is_own
