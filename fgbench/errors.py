"""Errors of the harness. Their base is in ``fgbench_selectors``, which does not import the harness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fgbench_selectors.errors import (
    BadFunctionError,
    BrokenPluginError,
    FeaturesError,
    FgbenchError,
    UnknownNameError,
)

__all__ = [
    "BadFunctionError",
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

# Called with an error that does not end the work.
OnProblem = Callable[[FgbenchError], None]


class CannotMeasureError(FgbenchError):
    """A figure could not be measured although the request is correct."""

    exit_code = 3


class LeftOutNotice(FgbenchError):  # noqa: N818  # it is reported, not raised
    """Some of a broad request does not apply and was left out; the rest is done."""

    exit_code = 0


class InterruptError(FgbenchError):
    """Ctrl-C ended the work."""

    exit_code = 130


class CheckFailedError(FgbenchError):
    """A check failed."""

    exit_code = 1


def no_checkpoint(path: Path) -> FgbenchError:
    """The error for a file of weights that does not exist."""
    return FgbenchError("no checkpoint file", str(path), "give the path of a .safetensors, .pth or .npz file")
