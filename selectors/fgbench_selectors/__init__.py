"""Discriminative feature selection for vision transformers: algorithms that score the patches of an image.

This package needs torch only. Counting, timing and tables are in ``fgbench``.

    from fgbench_selectors import Features, QK, get

    features = Features(attention=[QK(q, k) for q, k in blocks])
    scores = get("psm", impl="fast")(features)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgbench_selectors.entries import Registry
    from fgbench_selectors.errors import BrokenPluginError, FeaturesError, FgbenchError, UnknownNameError
    from fgbench_selectors.features import Features, Needs
    from fgbench_selectors.qk import QK, Maps
    from fgbench_selectors.regions import crop_resize, top_k_boxes
    from fgbench_selectors.registry import IMPLS, get, selectors
    from fgbench_selectors.selector import Selector

__all__ = [
    "IMPLS",
    "QK",
    "BrokenPluginError",
    "Features",
    "FeaturesError",
    "FgbenchError",
    "Maps",
    "Needs",
    "Registry",
    "Selector",
    "UnknownNameError",
    "crop_resize",
    "get",
    "selectors",
    "top_k_boxes",
]

# Importing torch takes seconds: public names are imported when they are used, and errors never need it.
_HOMES = {
    "errors": ("BrokenPluginError", "FeaturesError", "FgbenchError", "UnknownNameError"),
    "features": ("Features", "Needs"),
    "qk": ("QK", "Maps"),
    "regions": ("crop_resize", "top_k_boxes"),
    "entries": ("Registry",),
    "registry": ("IMPLS", "get", "selectors"),
    "selector": ("Selector",),
}


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
