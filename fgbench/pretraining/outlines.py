"""Outlines of which objects of the coarse world are made, and paint that fills them.

Coordinates are those of an object: about −1 to 1, x to the right, y downwards. Nothing here is shared with the birds of
``--dataset synthetic``, which the backbone is judged on; a test holds that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Point = tuple[float, float]
Outline = Sequence[Point]
Texture = Literal["plain", "checks", "waves", "bricks", "speckles", "shingles", "gradient", "hatching"]
TEXTURES: tuple[Texture, ...] = ("plain", "checks", "waves", "bricks", "speckles", "shingles", "gradient", "hatching")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object: an outline, the index of its colour in the object's palette, and a texture."""

    outline: tuple[Point, ...]
    colour: int = 0
    texture: Texture = "plain"


def oval(x: float, y: float, width: float, height: float, turn: float = 0.0, corners: int = 14) -> tuple[Point, ...]:
    """An oval around a point with half its width and height, turned by radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    angles = [2 * math.pi * i / corners for i in range(corners)]
    return tuple(
        (
            x + width * math.cos(a) * cos - height * math.sin(a) * sin,
            y + width * math.cos(a) * sin + height * math.sin(a) * cos,
        )
        for a in angles
    )


def box(x: float, y: float, width: float, height: float, lean: float = 0.0) -> tuple[Point, ...]:
    """A box around a point with half its width and height; its top leans to the right."""
    return (
        (x - width + lean, y - height),
        (x + width + lean, y - height),
        (x + width, y + height),
        (x - width, y + height),
    )


def bar(start: Point, end: Point, thick: float, thin: float | None = None) -> tuple[Point, ...]:
    """A bar between two points; ``thick`` is half its width at the start, ``thin`` at the end."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    u, v = -(y1 - y0) / length, (x1 - x0) / length
    other = thick if thin is None else thin
    return (
        (x0 + u * thick, y0 + v * thick),
        (x1 + u * other, y1 + v * other),
        (x1 - u * other, y1 - v * other),
        (x0 - u * thick, y0 - v * thick),
    )


def lathe(profile: Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    """A body that is symmetric about the vertical axis, from pairs of height and half the width, top first."""
    return (*((width, y) for y, width in profile), *((-width, y) for y, width in reversed(profile)))


def blob(rng: np.random.Generator, waves: int = 3, depth: float = 0.25, corners: int = 20) -> tuple[Point, ...]:
    """A closed curve of random waves around the origin."""
    phases, sizes = rng.random(waves) * 2 * math.pi, rng.random(waves) * depth / np.arange(1, waves + 1)
    points = []
    for i in range(corners):
        angle = 2 * math.pi * i / corners
        radius = 1 + sum(
            size * math.cos((k + 2) * angle + phase) for k, (size, phase) in enumerate(zip(sizes, phases, strict=True))
        )
        points.append((0.8 * radius * math.cos(angle), 0.8 * radius * math.sin(angle)))
    return tuple(points)


def super_shape(lobes: int, pinch: float, corners: int = 28) -> tuple[Point, ...]:
    """A flower-like closed curve: ``lobes`` bulges, pinched between them by a share of the radius."""
    points = []
    for i in range(corners):
        angle = 2 * math.pi * i / corners
        radius = 0.9 * (1 - pinch * (0.5 - 0.5 * math.cos(lobes * angle)))
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return tuple(points)


def texture_of(kind: Texture, side: int, scale: float, phase: float) -> np.ndarray:
    """A texture as factors (side, side) of the light of a colour, about 0.55 to 1.2."""
    factors: np.ndarray = _factors(kind, side, scale, phase)
    return factors


def _factors(kind: Texture, side: int, scale: float, phase: float) -> Any:
    along = np.arange(side, dtype=np.float32) / np.float32(max(2.0, scale))
    x, y = (along + np.float32(phase))[None, :], (along + np.float32(0.7 * phase))[:, None]
    if kind == "checks":
        return np.where((np.floor(x) + np.floor(y)) % 2 == 0, 0.6, 1.15)
    if kind == "waves":
        return 0.9 + 0.3 * np.sin(3.1 * (y + 0.4 * np.sin(2 * x)))
    if kind == "bricks":
        shifted = x + 0.5 * (np.floor(y) % 2)
        return np.where((y % 1 < 0.2) | (shifted % 2 < 0.22), 0.6, 1.1)
    if kind == "speckles":
        grain = np.sin(12.9898 * np.floor(2 * x) + 78.233 * np.floor(2 * y)) * 43758.5453
        return np.where(grain - np.floor(grain) < 0.3, 0.55, 1.1)
    if kind == "shingles":
        return np.where((((x + 0.5 * (np.floor(y) % 2)) % 1 - 0.5) ** 2 + (y % 1) ** 2) < 0.3, 1.15, 0.65)
    if kind == "gradient":
        return np.broadcast_to(0.7 + 0.5 * (y % 4) / 4, (side, side))
    if kind == "hatching":
        return np.where(((x + y) % 1 < 0.25) | ((x - y) % 1 < 0.25), 0.6, 1.1)
    return np.ones((side, side), dtype=np.float32)
