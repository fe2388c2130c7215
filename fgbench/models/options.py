"""Options and images as people give them, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from fgbench.errors import FgbenchError


def whole_number(value: object, what: str, low: int, high: int | None = None) -> int:
    """A whole number between two others, or an error that says what was met."""
    bounds = f"from {low}" + ("" if high is None else f" to {high}")
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise FgbenchError(f"{what} must be a whole number {bounds}, got", value)
    return value


def number(value: object, what: str, low: float, high: float = math.inf) -> float:
    """A number between two others, neither infinite nor NaN."""
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fine or not low <= value <= high:  # type: ignore[operator]
        bounds = f"from {low:g}" + ("" if high == math.inf else f" to {high:g}")
        raise FgbenchError(f"{what} must be a number {bounds}, got", value)
    return float(value)  # type: ignore[arg-type]


def one_of(value: object, what: str, known: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in known:
        raise FgbenchError(f"unknown {what}", value, f"known: {', '.join(known)}")
    return value


def yes_or_no(value: object, what: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise FgbenchError(f"{what} must be True or False, got", value)
    return value


def check_images(images: Tensor, side: int) -> None:
    """Refuse what is no batch of square images of the size that a model was built for."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side) or not images.shape[0]:
        raise FgbenchError(
            f"the model was built for images of shape (B, 3, {side}, {side}), B from 1, got",
            tuple(images.shape),
            "build it with another img_size, or resize the images",
        )
