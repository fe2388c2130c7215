"""fgbench: what selecting the discriminative parts of an image costs, and what it buys."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fgbench.plugins.earlier_names  # noqa: F401  # plug-ins find modules by the names that they had before

if TYPE_CHECKING:
    from fgbench.flops.counter import Count as Count
    from fgbench.flops.counter import count_flops as count_flops
    from fgbench.measure.measure import measure as measure
    from fgbench.models.build import create_model as create_model
    from fgbench.models.checkpoints.load import LoadReport as LoadReport
    from fgbench.models.checkpoints.load import load_checkpoint as load_checkpoint
    from fgbench.models.checkpoints.load import save_checkpoint as save_checkpoint

__all__ = ["Count", "LoadReport", "count_flops", "create_model", "load_checkpoint", "measure", "save_checkpoint"]

_HOMES = {
    "Count": "fgbench.flops.counter",
    "count_flops": "fgbench.flops.counter",
    "create_model": "fgbench.models.build",
    "LoadReport": "fgbench.models.checkpoints.load",
    "load_checkpoint": "fgbench.models.checkpoints.load",
    "save_checkpoint": "fgbench.models.checkpoints.load",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: ``fgbench --help`` must not wait."""
    if name == "measure":  # a package that can be called
        return importlib.import_module("fgbench.measure")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
