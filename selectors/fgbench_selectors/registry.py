"""The registry of selectors. Torch is imported when the first selector is loaded."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from fgbench_selectors.entries import IMPLS, OWN_DISTRIBUTION, Entry, Registry
from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.plugins import blame, derived_from, describe, load_point

if TYPE_CHECKING:
    from fgbench_selectors.selector import Selector

__all__ = ["IMPLS", "OWN_DISTRIBUTION", "Entry", "Registry", "blame", "describe", "get", "selectors"]


def _breach(candidate: object) -> str | None:
    from fgbench_selectors.selector import contract_breach

    return contract_breach(candidate)


def _base() -> type:
    from fgbench_selectors.selector import Selector

    return Selector


selectors = Registry("fgbench.selectors", "selector", _breach, derived_from(_base))
# Controls that are asked for by name: what goes through all selectors leaves them out.
BLIND = {
    name: Entry(name, OWN_DISTRIBUTION, partial(load_point, value), value=value)
    for name, value in {
        "random": "fgbench_selectors.blind:Random",
        "centre": "fgbench_selectors.blind:Centre",
    }.items()
}
selectors.others = BLIND.get


def get(name: str, impl: str = "fast", **options: Any) -> Selector:
    """Make a selector: ``get("psm", impl="published")(features)`` → scores.

    Args:
        name: A registered name.
        impl: ``"published"`` or ``"fast"``.
        options: Options of the selector's class.

    Returns:
        The selector.

    Raises:
        UnknownNameError: If the name is not registered.
        BrokenPluginError: If a plug-in does not work.
        FgbenchError: If an option is unknown or wrong.

    """
    from fgbench_selectors.features import Needs
    from fgbench_selectors.selector import Selector

    factory = selectors.load(name)
    origin = selectors.entry(name).origin
    with blame(name, origin, FgbenchError):
        try:
            selector = factory(impl=impl, **options)
        except FgbenchError:  # the message of the selector itself
            raise
        except Exception as error:
            unknown = [key for key in options if key not in inspect.signature(factory).parameters]
            if unknown:
                raise FgbenchError(f"selector {name!r} has no option", unknown[0]) from error
            raise
        if not isinstance(selector, Selector) or not isinstance(selector.needs, Needs):
            raise TypeError("its class must make a Selector whose 'needs' is a fgbench_selectors.Needs")
    return selector
