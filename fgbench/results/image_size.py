"""Sizes of images: a side in pixels for squares, and height × width for others. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral
from typing import TypeAlias, TypeGuard

TEXT = re.compile(r"([1-9]\d{0,8})x([1-9]\d{0,8})")


class NonSquare(str):
    """A size of images that are no squares, as its text: ``"224x448"`` is 224 pixels high and 448 wide.

    Files and stores have the text. Beside sides of squares it is sorted by its area.

    Args:
        text: Height and width in pixels, which differ.

    Raises:
        ValueError: For another text.

    """

    __slots__ = ()

    def __new__(cls, text: str) -> NonSquare:
        """Check the text."""
        match = TEXT.fullmatch(text)
        if match is None or match[1] == match[2]:
            raise ValueError(f"a size that is no square has a text as 224x448, not {text!r}")
        return super().__new__(cls, text)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, _, width = self.partition("x")
        return int(height), int(width)

    def __lt__(self, other: object) -> bool:
        return _order(self) < _order(other)

    def __gt__(self, other: object) -> bool:
        return _order(self) > _order(other)

    def __le__(self, other: object) -> bool:
        return _order(self) <= _order(other)

    def __ge__(self, other: object) -> bool:
        return _order(self) >= _order(other)


ImageSize: TypeAlias = int | NonSquare  # a side in pixels, or height × width


def image_size(value: object) -> ImageSize:
    """A size out of what stands for it.

    Args:
        value: A side in pixels, a text as ``224`` or ``224x448``, or (height, width).

    Returns:
        The side of a square, or the size that is none.

    Raises:
        ValueError: For anything else.

    """
    if isinstance(value, NonSquare):
        return value
    if _is_side(value):
        return int(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_side, value)):
        height, width = map(int, value)
        return height if height == width else NonSquare(f"{height}x{width}")
    if isinstance(value, str) and (match := TEXT.fullmatch(value)):
        return int(match[1]) if match[1] == match[2] else NonSquare(value)
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d{0,8}", value):
        return int(value)
    raise ValueError(f"an image size is a side in pixels or height and width, not {value!r}")


def _is_side(value: object) -> TypeGuard[Integral]:
    """Whether a value is a number of pixels; numpy's whole numbers are, too."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def height_width(size: ImageSize) -> tuple[int, int]:
    """Height and width of a size in pixels."""
    return size.sides if isinstance(size, NonSquare) else (size, size)


def squares(sizes: Sequence[ImageSize]) -> list[int]:
    """The sides of those sizes that are squares."""
    return [size for size in sizes if isinstance(size, int)]


def _order(size: object) -> tuple[int, int, int]:
    if isinstance(size, NonSquare):
        height, width = size.sides
        return height * width, height, width
    if isinstance(size, int):
        return size * size, size, size
    raise TypeError(f"{size!r} is no image size")
