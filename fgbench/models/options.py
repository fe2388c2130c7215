"""Checks of options and images, before anything is computed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.results.image_size import ImageSize, NonSquare, height_width, image_size


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


def size_option(value: object, low: int, *, square: bool = False, name: str = "") -> ImageSize:
    """Check the option ``img_size``.

    Args:
        value: A side in pixels, (height, width), or a text as ``224x448``.
        low: The smallest allowed side.
        square: Whether the model takes square images alone.
        name: The model, for the error.

    Returns:
        The size.

    Raises:
        FgbenchError: If it is no size, a side is too small, or the model needs squares.

    """
    if isinstance(value, (str, tuple, list)):
        given = value
        try:
            value = image_size(given)
        except ValueError:
            raise FgbenchError("img_size must be a side in pixels or (height, width), got", given) from None
        if square and not isinstance(value, NonSquare):
            raise FgbenchError(f"model {name!r} takes img_size as a whole number, got", given, "give one side, as 224")
    if isinstance(value, NonSquare):
        for side in value.sides:
            whole_number(side, "img_size", low)
        if square:
            raise FgbenchError(f"model {name!r} needs square images, got size", value, "give one side, as 224")
        return value
    return whole_number(value, "img_size", low)


def check_images(images: Tensor, size: ImageSize) -> None:
    """Check that images are a batch (B, 3, height, width).

    Args:
        images: The batch.
        size: Of the images that a model was built for, in pixels.

    Raises:
        FgbenchError: If the shape is another one.

    """
    height, width = height_width(size)
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, height, width) or not images.shape[0]:
        raise FgbenchError(
            f"the model was built for images of shape (B, 3, {height}, {width}), B from 1, got",
            tuple(images.shape),
            "build it with another img_size, or resize the images",
        )


def defaults_of(cls: type, root: type) -> dict[str, Any]:
    """The options of a class and their defaults; those of a class override those of its bases.

    Args:
        cls: The class.
        root: The base whose options are the last ones that are looked at.

    """
    defaults: dict[str, Any] = {}
    for base in cls.__mro__:
        if issubclass(base, root) and "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            own = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
            defaults = {
                name: None if default is inspect.Parameter.empty else default for name, default in own.items()
            } | defaults
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return {name: default for name, default in defaults.items() if name != "self"}
