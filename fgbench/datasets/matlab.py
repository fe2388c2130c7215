"""Lists that are distributed as MATLAB files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fgbench.datasets.dataset import DatasetError
from fgbench.datasets.files import in_one_line

LONGEST_S = 120.0  # limit of the process; the largest list takes one second, the import of SciPy a few
READ = """
import json, sys
import numpy as np
from scipy.io import loadmat

try:
    content = loadmat(sys.argv[1], squeeze_me=True)
except Exception as error:  # SciPy raises errors of several types for other files
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
# A single value has no axis after squeezing.
lists = {name: np.ravel(value).tolist() for name, value in content.items() if not name.startswith("__")}
json.dump(lists, sys.stdout, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
"""


def variables(path: Path, **kinds: Callable[[Any], Any]) -> list[list[Any]]:
    """Read variables of a .mat file as flat lists.

    Args:
        path: The file.
        **kinds: A function for the values of each variable, by the variable's name.

    Returns:
        A list per variable.

    Raises:
        DatasetError: The file is not a .mat file, lacks a variable, or has a value that does not fit.
    """
    content = _lists(path)
    if lacking := [name for name in kinds if name not in content]:
        raise DatasetError(f"no variable {lacking[0]!r} in", str(path), f"it has: {', '.join(content) or 'none'}")
    try:
        return [[kind(value) for value in content[name]] for name, kind in kinds.items()]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"not what {' and '.join(kinds)} should hold:", str(path), in_one_line(error)) from error


def _lists(path: Path) -> Mapping[str, list[Any]]:
    """All variables, read in a separate process, since SciPy's reader crashes on some damaged files."""
    words = [sys.executable, "-c", READ, str(path)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    what = "not a MATLAB file that can be read:"
    try:
        run = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DatasetError(what, str(path), f"its reader does not end within {LONGEST_S:.0f} s") from error
    if run.returncode < 0:
        raise DatasetError(what, str(path), f"it is damaged; signal {-run.returncode} ended its reader")
    if run.returncode:
        said = run.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {run.returncode}"]
        raise DatasetError(what, str(path), said[-1][:160])
    lists: dict[str, list[Any]] = json.loads(run.stdout)
    return lists
