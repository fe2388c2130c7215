"""A scene and a class to pixels, and to the boxes of the two parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from fgbench.datasets.dataset import Box
from fgbench.datasets.synthetic.classes import COLOURS, Kind
from fgbench.datasets.synthetic.outlines import BODY, ELLIPSE, EYE_OUTLINE, INKED, OUTLINES
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

FINE = 2  # drawn at twice the side and averaged: smooth edges
INK, EYE = (22, 20, 24), (70, 52, 40)
NOISE = 5.0  # standard deviation of the sensor's noise, of 255


def draw(scene: Scene, kind: Kind | None, side: int) -> np.ndarray:
    """The image (side, side, 3) as uint8; without a class the bird has no markings."""
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
    """The boxes of wing and head marking: every pixel that a marking touches, and none further out."""
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
    # Two uniform numbers, added: as good as normal here, and of the stream that NumPy keeps between versions.
    source = np.random.Generator(np.random.PCG64(scene.noise)).random((2, *pixels.shape), dtype=np.float32)
    noise = (source[0] + source[1] - 1) * np.float32(NOISE * math.sqrt(6))
    lit = pixels * shade * np.asarray(scene.gain, dtype=np.float32) + noise
    levels: np.ndarray = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return levels


def _fill(pen: ImageDraw.ImageDraw, frame: Frame, outline: Sequence[Point], colour: Colour, unit: float) -> None:
    pen.polygon([(unit * x, unit * y) for x, y in map(frame, outline)], fill=colour)


def _mask(placed: Placed, unit: float) -> tuple[tuple[int, int], Image.Image]:
    """The marking's outline on a tile of its own, and where the tile lies."""
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
