"""Names to data sets, through entry points: the built-ins are found the way everybody else's are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from fgbench.accuracy.datasets.dataset import DataSet
from fgbench.errors import BrokenPluginError, FgbenchError
from fgbench_selectors.plugins import blame
from fgbench_selectors.registry import OWN_DISTRIBUTION, Registry


def dataset_breach(candidate: object) -> str | None:
    """Why an object is no reader of a data set, in words; None when it is one."""
    return None if callable(candidate) else "it must be a function (data_dir, **options) → DataSet"


datasets = Registry("fgbench.datasets", "dataset", dataset_breach)


def open_dataset(name: str, data_dir: Path | None, options: Mapping[str, str] | None = None) -> DataSet:
    """Open a data set: ``open_dataset("cub", Path("data"))``, ``open_dataset("synthetic", None, {"classes": "24"})``.

    Raises :class:`UnknownNameError`, or :class:`DatasetError` where what lies there is not what was expected.
    """
    raise NotImplementedError(inspect, nullcontext, blame, OWN_DISTRIBUTION, BrokenPluginError, FgbenchError)
