"""Outlines as polygons: of the markings and what is inked into them, and of the bird."""

from __future__ import annotations

import math
from itertools import pairwise

from fgbench.datasets.synthetic.scene import HEAD_PLACE, Point


def _regular(corners: int, turn: float = 0.0, inner: float = 1.0) -> list[Point]:
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(r * math.sin(a), -r * math.cos(a)) for i, a in enumerate(angles) for r in [1.0 if i % 2 == 0 else inner]]


def _of_area_pi(points: list[Point]) -> list[Point]:
    """Scaled so that no shape is told by its size."""
    twice = abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*points, points[0]])))
    size = math.sqrt(2 * math.pi / twice)
    return [(size * x, size * y) for x, y in points]


ELLIPSE = _regular(24)
OUTLINES = {
    "disc": _of_area_pi(ELLIPSE),
    "triangle": _of_area_pi(_regular(3)),
    "square": _of_area_pi(_regular(4, math.pi / 4)),
    "star": _of_area_pi(_regular(10, inner=0.5)),
}


def ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Around a point, with half its width and height."""
    return [(x + width * u, y + height * v) for u, v in ELLIPSE]


_RING = ellipse(0, 0, 0.78, 0.78)
# What a pattern fills with ink, three tenths of a disc each; it may reach over the outline, where it is cut off.
INKED = {
    "striped": [[(-2.0, y - 0.13), (2.0, y - 0.13), (2.0, y + 0.13), (-2.0, y + 0.13)] for y in (-0.38, 0.38)],
    "eyed": [ellipse(0, 0, 0.55, 0.55)],
    "dotted": [ellipse(x, y, 0.32, 0.32) for x, y in ((0.0, -0.62), (0.56, 0.36), (-0.56, 0.36))],
    "ringed": [[*_RING, _RING[0], (0.0, -0.55), *reversed(ellipse(0, 0, 0.55, 0.55))]],
}

# The bird's outlines by the entry of the plumage that they are filled with, far ones first; facing right.
BODY: tuple[tuple[int, list[Point]], ...] = (
    (3, [(-4, 14), (-1, 14), (-3, 36), (-6, 36)]),
    (3, [(6, 14), (9, 14), (11, 36), (8, 36)]),
    (1, [(-18, -6), (-50, -4), (-52, 15), (-16, 10)]),
    (0, ellipse(0, 0, 27, 18)),
    (3, [(33, -22), (47, -15), (33, -11)]),
    (2, ellipse(*HEAD_PLACE, 14, 14)),
    (1, [(14, -6), (6, -12), (-12, -12), (-26, -2), (-30, 10), (-12, 13), (4, 11), (12, 4)]),
)
EYE_OUTLINE = ellipse(35, -20, 1.8, 1.8)
