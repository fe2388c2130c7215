"""Lists that are distributed as MATLAB files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fgbench.accuracy.datasets.dataset import DatasetError
from fgbench.accuracy.datasets.files import in_one_line


def variables(path: Path, **kinds: Callable[[Any], Any]) -> list[list[Any]]:
    """The variables of a .mat file as flat lists, their values made by the kinds.

    Raises :class:`DatasetError` where it is no such file, lacks one, or holds something else in one.
    """
    import numpy as np
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=True)
    except Exception as error:  # scipy raises half a dozen kinds for a file that is no .mat file
        raise DatasetError("not a MATLAB file that can be read:", str(path), in_one_line(error)) from error
    has = [name for name in content if not name.startswith("__")]
    if lacking := [name for name in kinds if name not in has]:
        raise DatasetError(f"no variable {lacking[0]!r} in", str(path), f"it has: {', '.join(has) or 'none'}")
    try:
        # A single value is squeezed to no axis at all.
        return [[kind(value) for value in np.ravel(content[name]).tolist()] for name, kind in kinds.items()]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"not what {' and '.join(kinds)} should hold:", str(path), in_one_line(error)) from error
