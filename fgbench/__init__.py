"""fgbench: the cost of selecting the discriminative parts of an image, and the accuracy that it gives."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fgbench.plugins.earlier_names  # noqa: F401  # plug-ins find modules by the names that they had before

if TYPE_CHECKING:
    from fgbench.datasets.build import open_dataset as open_dataset
    from fgbench.flops.counter import Count as Count
    from fgbench.flops.counter import count_flops as count_flops
    from fgbench.measure.measure import measure as measure
    from fgbench.models.build import create_model as create_model
    from fgbench.models.checkpoints.load import LoadReport as LoadReport
    from fgbench.models.checkpoints.load import load_checkpoint as load_checkpoint
    from fgbench.models.checkpoints.load import save_checkpoint as save_checkpoint

    __version__: str

__all__ = [
    "Count",
    "LoadReport",
    "__version__",
    "count_flops",
    "create_model",
    "load_checkpoint",
    "measure",
    "open_dataset",
    "save_checkpoint",
]

_HOMES = {
    "Count": "fgbench.flops.counter",
    "count_flops": "fgbench.flops.counter",
    "create_model": "fgbench.models.build",
    "LoadReport": "fgbench.models.checkpoints.load",
    "load_checkpoint": "fgbench.models.checkpoints.load",
    "open_dataset": "fgbench.datasets.build",
    "save_checkpoint": "fgbench.models.checkpoints.load",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: ``fgbench --help`` must not wait."""
    if name == "measure":  # a package that can be called
        return importlib.import_module("fgbench.measure")
    if name == "__version__":
        from importlib.metadata import version

        return version("fgbench")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
