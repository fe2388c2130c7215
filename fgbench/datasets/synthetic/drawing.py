"""Drawing of a scene and a class: outlines of bird and markings, pixels, and boxes of the two parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from fgbench.datasets.dataset import Box
from fgbench.datasets.synthetic.classes import COLOURS, Kind
from fgbench.datasets.synthetic.scene import (
    HEAD_PLACE,
    MARKING_RADIUS,
    SPAN,
    WING_PLACE,
    Colour,
    Frame,
    Placed,
    Point,
    Scene,
)

FINE = 2  # images are drawn with twice the side and averaged, which smooths edges
INK, EYE = (22, 20, 24), (70, 52, 40)
NOISE = 5.0  # standard deviation of the sensor's noise, in levels of 255


def _regular(corners: int, turn: float = 0.0, inner: float = 1.0) -> list[Point]:
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(r * math.sin(a), -r * math.cos(a)) for i, a in enumerate(angles) for r in [1.0 if i % 2 == 0 else inner]]


def _of_area_pi(points: list[Point]) -> list[Point]:
    """The outline scaled to the area π, so that all shapes have the same size."""
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
    """An ellipse around a point, with half its width and height."""
    return [(x + width * u, y + height * v) for u, v in ELLIPSE]


_RING = ellipse(0, 0, 0.78, 0.78)
# Inked areas of a pattern, three tenths of a disc each; they are cut off at the outline of the marking.
INKED = {
    "striped": [[(-2.0, y - 0.13), (2.0, y - 0.13), (2.0, y + 0.13), (-2.0, y + 0.13)] for y in (-0.38, 0.38)],
    "eyed": [ellipse(0, 0, 0.55, 0.55)],
    "dotted": [ellipse(x, y, 0.32, 0.32) for x, y in ((0.0, -0.62), (0.56, 0.36), (-0.56, 0.36))],
    "ringed": [[*_RING, _RING[0], (0.0, -0.55), *reversed(ellipse(0, 0, 0.55, 0.55))]],
}

# Outlines of a bird that faces right, each with its index into the plumage, from back to front.
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


def draw(scene: Scene, kind: Kind | None, side: int) -> np.ndarray:
    """Draw an image (side, side, 3) of uint8; without a class the bird has no markings."""
    unit = side * FINE / SPAN
    ground = Image.fromarray(np.clip(scene.ground, 0, 255).astype(np.uint8))
    canvas = ground.resize((side * FINE, side * FINE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    for blob in scene.behind:
        _fill(pen, blob.frame, ELLIPSE, blob.colour, unit)
    for placed in scene.distractors:
        _mark(canvas, placed, unit)
    for entry, outline in BODY:
        _fill(pen, scene.frame, outline, scene.plumage[entry], unit)
    _fill(pen, scene.frame, EYE_OUTLINE, EYE, unit)
    _mark(canvas, scene.decoy, unit)
    for blob in scene.before:
        _fill(pen, blob.frame, ELLIPSE, blob.colour, unit)
    if kind is not None:
        for placed in parts(scene, kind):
            _mark(canvas, placed, unit)
    return _light(np.asarray(canvas.reduce(FINE), dtype=np.float32), scene)


def parts(scene: Scene, kind: Kind) -> list[Placed]:
    """The markings of a class, on wing and head."""
    places = ((kind.wing, WING_PLACE), (kind.head, HEAD_PLACE))
    return [Placed(marking, scene.frame.at(place, MARKING_RADIUS)) for marking, place in places]


def part_boxes(scene: Scene, kind: Kind, side: int) -> list[Box]:
    """Smallest boxes of whole pixels around the markings of wing and head."""
    boxes = []
    for placed in parts(scene, kind):
        (x, y), mask = _mask(placed, side * FINE / SPAN)
        x0, y0, x1, y1 = mask.getbbox() or (0, 0, 0, 0)
        edges = ((y + y0) // FINE, (x + x0) // FINE, -(-(y + y1) // FINE), -(-(x + x1) // FINE))
        top, left, bottom, right = (float(min(max(edge, 0), side)) for edge in edges)
        boxes.append((top, left, bottom, right))
    return boxes


def _light(pixels: np.ndarray, scene: Scene) -> np.ndarray:
    side = len(pixels)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    shade = 1 + scene.shading[0] * ramp[None, :, None] + scene.shading[1] * ramp[:, None, None]
    # The sum of two uniform numbers instead of a normal one: NumPy keeps the uniform stream between versions.
    source = np.random.Generator(np.random.PCG64(scene.noise)).random((2, *pixels.shape), dtype=np.float32)
    noise = (source[0] + source[1] - 1) * np.float32(NOISE * math.sqrt(6))
    lit = pixels * shade * np.asarray(scene.gain, dtype=np.float32) + noise
    levels: np.ndarray = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return levels


def _fill(pen: ImageDraw.ImageDraw, frame: Frame, outline: Sequence[Point], colour: Colour, unit: float) -> None:
    pen.polygon([(unit * x, unit * y) for x, y in map(frame, outline)], fill=colour)


def _mask(placed: Placed, unit: float) -> tuple[tuple[int, int], Image.Image]:
    """The corner of a tile in the image, and the marking's outline as a mask on this tile."""
    points = [(unit * x, unit * y) for x, y in map(placed.frame, OUTLINES[placed.marking.shape])]
    x0, y0 = (math.floor(min(values)) - 1 for values in zip(*points, strict=True))
    x1, y1 = (math.ceil(max(values)) + 2 for values in zip(*points, strict=True))
    mask = Image.new("L", (x1 - x0, y1 - y0))
    ImageDraw.Draw(mask).polygon([(x - x0, y - y0) for x, y in points], fill=255)
    return (x0, y0), mask


def _mark(canvas: Image.Image, placed: Placed, unit: float) -> None:
    corner, mask = _mask(placed, unit)
    canvas.paste(COLOURS[placed.marking.colour], corner, mask)
    ink = Image.new("L", mask.size)
    pen = ImageDraw.Draw(ink)
    for outline in INKED[placed.marking.pattern]:
        points = [(unit * x - corner[0], unit * y - corner[1]) for x, y in map(placed.frame, outline)]
        pen.polygon(points, fill=255)
    canvas.paste(INK, corner, ImageChops.multiply(ink, mask))
