"""The scene of an image: pose, colours, clutter and light, which do not depend on the class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fgbench.datasets.synthetic.classes import COLOURS, PATTERNS, SHAPES, Marking

Point = tuple[float, float]  # x to the right, y downwards
Colour = tuple[int, int, int]

SPAN = 128.0  # the image's side in the unit of all lengths
DISTRACTORS, PETALS, PEBBLES, BLADES = 5, 5, 4, 6  # their numbers in a scene
MARKING_RADIUS = 9.0  # radius of a disc with the area of a marking, at scale 1
WING_PLACE, HEAD_PLACE, TAIL_PLACE = (-9.0, 2.0), (24.0, -17.0), (-40.0, 6.0)  # in a bird that faces right


@dataclass(frozen=True, slots=True)
class Frame:
    """An affine map from an object's own coordinates into the image's."""

    xx: float
    xy: float
    yx: float
    yy: float
    x: float = 0.0
    y: float = 0.0

    def __call__(self, point: Point) -> Point:
        """The point in the image."""
        x, y = point
        return self.xx * x + self.xy * y + self.x, self.yx * x + self.yy * y + self.y

    def at(self, point: Point, size: float = 1.0) -> Frame:
        """The frame moved to a point in its own coordinates, and scaled."""
        x, y = self(point)
        return Frame(self.xx * size, self.xy * size, self.yx * size, self.yy * size, x, y)


@dataclass(frozen=True, slots=True)
class Placed:
    """A marking at a place; its frame maps the unit of area π to the image."""

    marking: Marking
    frame: Frame


@dataclass(frozen=True, slots=True)
class Blob:
    """A pebble, a petal or a blade of grass: an ellipse of one colour."""

    colour: Colour
    frame: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One image without its class."""

    frame: Frame  # of the bird
    plumage: tuple[Colour, Colour, Colour, Colour]  # body, wing, head, limbs
    decoy: Placed  # a random marking on the tail
    ground: np.ndarray  # (4, 4, 3) the background's colours, blurred when drawn
    behind: tuple[Blob, ...]
    distractors: tuple[Placed, ...]
    before: tuple[Blob, ...]  # blades in front of the bird that do not cover its parts
    gain: tuple[float, float, float]
    shading: tuple[float, float]  # change of brightness from the middle to the right and to the bottom edge
    noise: int  # seed of the sensor's noise


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene. Only ``random`` of the generator is used: its stream is the same in all versions of NumPy."""
    angle = math.radians(_between(rng, -40, 40))
    scale, shear = _between(rng, 0.9, 1.22), _between(rng, -0.15, 0.15)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    middle = SPAN / 2 + _between(rng, -7, 7), SPAN / 2 + _between(rng, -7, 7)
    frame = _frame(angle, scale, shear, mirror, middle)
    parts = [frame(WING_PLACE), frame(HEAD_PLACE)]
    clear = 2.2 * MARKING_RADIUS * scale
    blades = [_blade(rng) for _ in range(BLADES)]
    return Scene(
        frame=frame,
        # Heads are always pale, so that they can be recognised.
        plumage=(_muted(rng), _muted(rng), _muted(rng, 195, 225), _muted(rng)),
        decoy=Placed(any_marking(rng), frame.at(TAIL_PLACE, 0.7 * MARKING_RADIUS)),
        ground=60 + 130 * rng.random((4, 4, 1)) + 40 * (rng.random((4, 4, 3)) - 0.5),
        behind=(
            *(_pebble(rng, _muted(rng)) for _ in range(PEBBLES)),
            *(_blade(rng) for _ in range(BLADES)),
            # In the colours of markings, so that the amount of a colour says little about the class.
            *(_pebble(rng, COLOURS[_choice(rng, tuple(COLOURS))]) for _ in range(PETALS)),
        ),
        distractors=tuple(_distractor(rng) for _ in range(DISTRACTORS)),
        before=tuple(blade for blade in blades if all(_distance(part, blade.frame) > clear for part in parts)),
        gain=(_between(rng, 0.8, 1.1), _between(rng, 0.8, 1.1), _between(rng, 0.8, 1.1)),
        shading=(_between(rng, -0.25, 0.25), _between(rng, -0.25, 0.25)),
        noise=int(rng.random() * 2**32),
    )


def any_marking(rng: np.random.Generator) -> Marking:
    """A random marking."""
    return Marking(_choice(rng, SHAPES), _choice(rng, tuple(COLOURS)), _choice(rng, PATTERNS))


def _frame(angle: float, scale: float, shear: float, mirror: float, middle: Point) -> Frame:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return Frame(mirror * cos, cos * shear - sin, mirror * sin, sin * shear + cos, *middle)


def _distractor(rng: np.random.Generator) -> Placed:
    angle, size = _between(rng, -math.pi, math.pi), _between(rng, 0.7, 1.3) * MARKING_RADIUS
    return Placed(any_marking(rng), _frame(angle, size, _between(rng, -0.15, 0.15), 1.0, _anywhere(rng)))


def _pebble(rng: np.random.Generator, colour: Colour) -> Blob:
    width, height = _between(rng, 4, 14), _between(rng, 4, 12)
    x, y = _anywhere(rng)
    return Blob(colour, Frame(width, 0.0, 0.0, height, x, y))


def _blade(rng: np.random.Generator) -> Blob:
    angle, length, width = _between(rng, -math.pi, math.pi), _between(rng, 12, 30), _between(rng, 1, 2.2)
    x, y = _anywhere(rng)
    cos, sin = math.cos(angle), math.sin(angle)
    return Blob(_muted(rng), Frame(length * cos, -width * sin, length * sin, width * cos, x, y))


def _distance(point: Point, blade: Frame) -> float:
    """The distance of a point from the long axis of a blade."""
    squared = blade.xx**2 + blade.yx**2
    along = ((point[0] - blade.x) * blade.xx + (point[1] - blade.y) * blade.yx) / squared
    nearest = blade((max(-1.0, min(along, 1.0)), 0.0))
    return math.dist(point, nearest)


def _muted(rng: np.random.Generator, low: float = 70, high: float = 190) -> Colour:
    grey = _between(rng, low, high)
    red, green, blue = (int(grey + _between(rng, -28, 28)) for _ in range(3))
    return red, green, blue


def _anywhere(rng: np.random.Generator) -> Point:
    return _between(rng, 0, SPAN), _between(rng, 0, SPAN)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _choice(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.random() * len(words))]
