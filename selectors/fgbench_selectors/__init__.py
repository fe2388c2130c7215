"""Discriminative feature selection for vision transformers: what is scored, and how.

Torch only. Nothing here knows about counting, timing or tables; ``fgbench`` does.

    from fgbench_selectors import Features, QK, get

    features = Features(attention=[QK(q, k) for q, k in blocks])
    scores = get("psm", impl="fast")(features)
"""

from fgbench_selectors.errors import BrokenPluginError, FeaturesError, FgbenchError, UnknownNameError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.qk import QK, Maps
from fgbench_selectors.regions import crop_resize, top_k_boxes
from fgbench_selectors.registry import Registry, get, selectors
from fgbench_selectors.selector import IMPLS, Selector

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
