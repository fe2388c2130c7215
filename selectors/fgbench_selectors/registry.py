"""The selectors by name. Torch is imported with the first one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fgbench_selectors.entries import OWN_DISTRIBUTION, Entry, Registry
from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.plugins import blame, derived_from, describe

if TYPE_CHECKING:
    from fgbench_selectors.selector import Selector

__all__ = ["IMPLS", "OWN_DISTRIBUTION", "Entry", "Registry", "blame", "describe", "get", "selectors"]

IMPLS = ("published", "fast")


def _breach(candidate: object) -> str | None:
    from fgbench_selectors.selector import contract_breach

    return contract_breach(candidate)


def _base() -> type:
    from fgbench_selectors.selector import Selector

    return Selector


selectors = Registry("fgbench.selectors", "selector", _breach, derived_from(_base))


def get(name: str, impl: str = "fast", **options: Any) -> Selector:
    """Make the selector of a name: ``get("psm", impl="published")(features)`` → scores.

    ``impl`` is ``"published"`` or ``"fast"``; other options are the selector's own. Raises
    :class:`UnknownNameError`, :class:`BrokenPluginError`, or :class:`FgbenchError` for a wrong option.
    """
    from fgbench_selectors.features import Needs
    from fgbench_selectors.selector import Selector

    factory = selectors.load(name)
    origin = selectors.entry(name).origin
    with blame(name, origin, FgbenchError):
        try:
            made = factory(impl=impl, **options)
        except FgbenchError:  # the selector itself says what is wrong
            raise
        except Exception as error:
            unknown = [key for key in options if key not in inspect.signature(factory).parameters]
            if unknown:
                raise FgbenchError(f"selector {name!r} has no option", unknown[0]) from error
            raise
        if not isinstance(made, Selector) or not isinstance(made.needs, Needs):
            raise TypeError("its class must make a Selector whose 'needs' is a fgbench_selectors.Needs")
    return made
