"""The errors of the harness; the family begins in the selectors, which must not import it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fgbench_selectors.errors import (
    BrokenPluginError,
    FeaturesError,
    FgbenchError,
    UnknownNameError,
)

__all__ = [
    "BrokenPluginError",
    "CannotMeasureError",
    "CheckFailedError",
    "FeaturesError",
    "FgbenchError",
    "InterruptError",
    "LeftOutNotice",
    "OnProblem",
    "UnknownNameError",
    "no_checkpoint",
]

# Where an error goes that does not end the work.
OnProblem = Callable[[FgbenchError], None]


class CannotMeasureError(FgbenchError):
    """The request was fine, and a figure for it could not be had."""

    exit_code = 3


class LeftOutNotice(FgbenchError):  # noqa: N818  # it is reported, not raised
    """Part of a broad request does not apply and was left out; the rest is done."""

    exit_code = 0


class InterruptError(FgbenchError):
    """Ctrl-C ended the work."""

    exit_code = 130


class CheckFailedError(FgbenchError):
    """What was to be checked does not hold."""

    exit_code = 1


def no_checkpoint(path: Path) -> FgbenchError:
    """The error about a file of weights that is not there; to be raised."""
    return FgbenchError("no checkpoint file", str(path), "give the path of a .safetensors, .pth or .npz file")
