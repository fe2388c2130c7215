"""Checks of options and images, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from fgbench.errors import FgbenchError


def whole_number(value: object, what: str, low: int, high: int | None = None) -> int:
    """Check a whole number.

    Args:
        value: The value of an option.
        what: Its name in the message.
        low: The smallest allowed number.
        high: The largest allowed number; None for no limit.

    Returns:
        The number.

    Raises:
        FgbenchError: If it is no whole number, or out of range.

    """
    bounds = f"from {low}" + ("" if high is None else f" to {high}")
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise FgbenchError(f"{what} must be a whole number {bounds}, got", value)
    return value


def number(value: object, what: str, low: float, high: float = math.inf) -> float:
    """Check a finite number; arguments and errors as of :func:`whole_number`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        bounds = f"from {low:g}" + ("" if high == math.inf else f" to {high:g}")
        raise FgbenchError(f"{what} must be a number {bounds}, got", value)
    return float(value)  # type: ignore[arg-type]


def one_of(value: object, what: str, known: Sequence[str]) -> str:
    """Check a word.

    Args:
        value: The value of an option.
        what: Its name in the message.
        known: The allowed words.

    Returns:
        The word.

    Raises:
        FgbenchError: If it is none of them.

    """
    if not isinstance(value, str) or value not in known:
        raise FgbenchError(f"unknown {what}", value, f"known: {', '.join(known)}")
    return value


def yes_or_no(value: object, what: str) -> bool:
    """Check True or False; arguments and errors as of :func:`whole_number`."""
    if not isinstance(value, bool):
        raise FgbenchError(f"{what} must be True or False, got", value)
    return value


def check_images(images: Tensor, side: int) -> None:
    """Check that images are a batch (B, 3, side, side).

    Args:
        images: The batch.
        side: Side of the images that a model was built for, in pixels.

    Raises:
        FgbenchError: If the shape is another one.

    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side) or not images.shape[0]:
        raise FgbenchError(
            f"the model was built for images of shape (B, 3, {side}, {side}), B from 1, got",
            tuple(images.shape),
            "build it with another img_size, or resize the images",
        )
