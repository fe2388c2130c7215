"""The families of the coarse world: twelve kinds of things, ten blueprints of each.

A blueprint is drawn by the number of its family, and fixes what all its objects share: their parts and proportions.
An object differs from others of its family in pose, proportions by a few percent, colours and light.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fgbench.pretraining.outlines import TEXTURES, Part, Texture, bar, blob, box, lathe, oval, super_shape

PER_KIND = 10
WORLD = 2407  # of the blueprints' random numbers
Blueprint = Callable[[np.random.Generator], list[Part]]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _texture(rng: np.random.Generator, plain: float = 0.4) -> Texture:
    return "plain" if rng.random() < plain else TEXTURES[1 + int(rng.integers(len(TEXTURES) - 1))]


def beast(rng: np.random.Generator) -> list[Part]:
    """A quadruped: trunk, legs, neck, head, ears or horns, tail."""
    length, height = _between(rng, 0.4, 0.62), _between(rng, 0.18, 0.36)
    leg, neck, head = _between(rng, 0.2, 0.6), _between(rng, 0.05, 0.55), _between(rng, 0.12, 0.24)
    texture, ears, tail = _texture(rng), int(rng.integers(4)), _between(rng, 0.1, 0.6)
    top = (length * 0.8 + neck * 0.5, -height * 0.4 - neck)
    parts = [
        Part(bar((x * length, height * 0.4), (x * length + 0.04, height + leg), 0.07, 0.05), 1)
        for x in (-0.8, -0.6, 0.6, 0.8)
    ]
    parts.append(
        Part(bar((-length * 0.9, -height * 0.2), (-length - tail * 0.5, height * 0.2 - tail * 0.6), 0.07, 0.02), 1)
    )
    parts.append(Part(oval(0, 0, length, height), 0, texture))
    parts.append(Part(bar((length * 0.7, 0), top, height * 0.5, head * 0.6), 0))
    parts.append(Part(oval(top[0] + head * 0.4, top[1], head * 1.2, head * 0.8), 0))
    if ears == 0:
        parts += [
            Part(bar((top[0] + dx, top[1] - head * 0.5), (top[0] + dx - 0.1, top[1] - head * 2.4), 0.04, 0.02), 2)
            for dx in (0.0, 0.1)
        ]
    elif ears == 1:
        parts += [Part(oval(top[0] + dx, top[1] - head, 0.05, head * 0.8), 2) for dx in (-0.04, 0.1)]
    elif ears == 2:
        parts.append(Part(oval(top[0] - head * 0.5, top[1], head * 0.7, head * 0.9), 2))
    return parts


def insect(rng: np.random.Generator) -> list[Part]:
    """Six or eight legs, two or three sections, wings of two sizes."""
    legs, sections = int(rng.integers(3, 5)), int(rng.integers(2, 4))
    width, wing = _between(rng, 0.1, 0.26), _between(rng, 0.0, 0.8)
    texture, lean = _texture(rng), _between(rng, 0.2, 0.9)
    parts = []
    for i in range(legs):
        y = -0.35 + 0.7 * i / (legs - 1)
        for side in (-1, 1):
            parts.append(Part(bar((0, y), (side * (width + 0.45), y + (y or 0.1) * 0.8), 0.035, 0.02), 2))
    if wing > 0.25:
        for side in (-1, 1):
            parts.append(Part(oval(side * wing * 0.6, -0.1, wing * 0.6, 0.24, side * lean), 1, texture))
            parts.append(Part(oval(side * wing * 0.45, 0.3, wing * 0.4, 0.18, side * -lean * 0.5), 1))
    for i in range(sections):
        y = -0.55 + 1.1 * i / (sections - 1)
        parts.append(
            Part(
                oval(0, y * 0.8, width * (0.8 + 0.5 * (i == sections - 1)), 0.55 / sections),
                0,
                texture if i else "plain",
            )
        )
    return parts


def fish(rng: np.random.Generator) -> list[Part]:
    """A body with a tail of some shape, fins, an eye."""
    length, height = _between(rng, 0.45, 0.75), _between(rng, 0.16, 0.5)
    fork, fin, texture = _between(rng, 0.0, 0.3), _between(rng, 0.1, 0.5), _texture(rng, 0.2)
    spine = int(rng.integers(1, 4))
    parts = [Part(((-length * 0.8, 0), (-length - 0.3, -0.35), (-length - 0.3 + fork, 0), (-length - 0.3, 0.35)), 1)]
    for i in range(spine):
        x = length * (0.5 - i / spine)
        parts.append(Part(((x, -height * 0.7), (x - 0.3, -height - fin), (x - 0.35, -height * 0.6)), 1))
    parts.append(Part(((0, height * 0.7), (-0.25, height + fin * 0.8), (-0.3, height * 0.6)), 1))
    parts.append(Part(oval(0, 0, length, height), 0, texture))
    parts.append(Part(oval(length * 0.65, -height * 0.2, 0.05, 0.05), 2))
    return parts


def flower(rng: np.random.Generator) -> list[Part]:
    """A stem with leaves, petals around a heart."""
    petals, long, wide = int(rng.integers(4, 13)), _between(rng, 0.25, 0.5), _between(rng, 0.07, 0.2)
    heart, leaves, rows = _between(rng, 0.08, 0.25), int(rng.integers(0, 4)), int(rng.integers(1, 3))
    parts = [Part(bar((0, 0), (0.05, 1.0), 0.04), 2)]
    for i in range(leaves):
        side = 1 if i % 2 else -1
        parts.append(Part(oval(side * 0.2, 0.5 + 0.15 * i, 0.22, 0.08, side * -0.5), 2))
    for row in range(rows):
        for i in range(petals):
            angle = 2 * math.pi * (i + 0.5 * row) / petals
            reach = (long + heart) * (0.55 - 0.12 * row)
            parts.append(
                Part(
                    oval(
                        2 * reach * 0.6 * math.cos(angle),
                        -0.3 + 2 * reach * 0.6 * math.sin(angle),
                        long * 0.5,
                        wide,
                        angle,
                        8,
                    ),
                    row,
                )
            )
    parts.append(Part(oval(0, -0.3, heart, heart), 3, "speckles" if rng.random() < 0.5 else "plain"))
    return parts


def tree(rng: np.random.Generator) -> list[Part]:
    """A trunk and a crown: tiers, balls, one oval or fronds."""
    form, texture = int(rng.integers(4)), _texture(rng, 0.3)
    trunk, wide, count = _between(rng, 0.05, 0.14), _between(rng, 0.35, 0.7), int(rng.integers(2, 6))
    parts = [Part(bar((0, 1.0), (0, 0.0), trunk, trunk * 0.7), 1)]
    if form == 0:
        for i in range(count):
            y, w = 0.55 - 1.4 * i / count, wide * (1 - 0.75 * i / count)
            parts.append(Part(((-w, y), (w, y), (0, y - 1.9 / count)), 0, texture))
    elif form == 1:
        for i in range(count + 1):
            angle = math.pi * (1 + i / count)
            parts.append(
                Part(oval(wide * 0.6 * math.cos(angle), -0.2 + 0.4 * math.sin(angle), 0.3, 0.28), i % 2, texture)
            )
    elif form == 2:
        parts.append(Part(oval(0, -0.3, wide, _between(rng, 0.4, 0.65)), 0, texture))
    else:
        for i in range(count + 3):
            angle = math.pi * (1.05 + 0.9 * i / (count + 2))
            parts.append(Part(oval(0.45 * math.cos(angle), -0.1 + 0.4 * math.sin(angle), 0.42, 0.08, angle), 0))
    return parts


def vehicle(rng: np.random.Generator) -> list[Part]:
    """A hull on wheels, a cabin, windows, a load."""
    wheels, wheel = int(rng.integers(2, 6)), _between(rng, 0.12, 0.26)
    height, cabin, place = _between(rng, 0.14, 0.4), _between(rng, 0.2, 0.6), _between(rng, -0.4, 0.5)
    lean, load, texture = _between(rng, 0.0, 0.2), int(rng.integers(3)), _texture(rng, 0.6)
    parts = [
        Part(box(place, -height - 0.15, cabin, 0.2, lean), 0),
        Part(box(place, -height - 0.14, cabin * 0.7, 0.11, lean), 2),
    ]
    if load == 0:
        parts.append(Part(box(-place, -height - 0.1, 0.3, 0.2), 3, "bricks"))
    elif load == 1:
        parts.append(Part(oval(-place, -height, 0.35, 0.25), 3, "shingles"))
    parts.append(Part(box(0, 0, 0.85, height), 0, texture))
    for i in range(wheels):
        x = -0.65 + 1.3 * i / (wheels - 1)
        parts += [
            Part(oval(x, height + 0.05, wheel, wheel), 1),
            Part(oval(x, height + 0.05, wheel * 0.45, wheel * 0.45), 3),
        ]
    return parts


def vessel(rng: np.random.Generator) -> list[Part]:
    """A ship or an aircraft: hull, masts with sails, or wings."""
    bow, deep, masts = _between(rng, 0.0, 0.35), _between(rng, 0.15, 0.35), int(rng.integers(0, 4))
    flies, span = bool(rng.random() < 0.4), _between(rng, 0.4, 0.9)
    if flies:
        tail = _between(rng, 0.15, 0.45)
        return [
            Part(
                ((0.2, 0), (-0.2, -span), (-0.4, -span), (-0.2, 0), (-0.4, span), (-0.2, span)), 1, _texture(rng, 0.6)
            ),
            Part(((-0.7, 0), (-0.95, -tail), (-1.0, 0), (-0.95, tail)), 1),
            Part(oval(0, 0, 0.95, deep * 0.6), 0),
            *(Part(oval(-0.5 + 0.3 * i, 0, 0.06, 0.05), 2) for i in range(4)),
        ]
    parts = []
    for i in range(masts):
        x = -0.5 + i * 1.0 / max(1, masts)
        parts.append(Part(bar((x, 0.3), (x, -0.9), 0.03), 2))
        parts.append(Part(((x + 0.04, -0.85), (x + 0.04, 0.1), (x + 0.5 * span, 0.05)), 1, _texture(rng)))
    if not masts:
        parts += [
            Part(box(-0.1, 0.0, 0.4, 0.25), 1),
            *(Part(box(0.2 - 0.25 * i, -0.4, 0.07, 0.25), 2) for i in range(2)),
        ]
    parts.append(
        Part(
            ((-0.9, 0.2), (0.9 + bow * 0.3, 0.2), (0.7 - bow, 0.2 + 2 * deep), (-0.7, 0.2 + 2 * deep)),
            0,
            _texture(rng, 0.5),
        )
    )
    return parts


def building(rng: np.random.Generator) -> list[Part]:
    """Walls, a roof, a grid of windows, towers."""
    wide, high, roof = _between(rng, 0.3, 0.75), _between(rng, 0.3, 0.7), int(rng.integers(4))
    columns, rows, towers = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    parts = [Part(box((-1) ** i * wide * 0.9, -0.2, 0.14, high + 0.25), 1, "bricks") for i in range(towers)]
    parts.append(Part(box(0, 0.3, wide, high), 0, _texture(rng, 0.4)))
    top = 0.3 - high
    shapes = (
        ((-wide * 1.1, top), (wide * 1.1, top), (0, top - 0.45)),
        ((-wide * 1.1, top), (wide * 1.1, top), (wide * 0.6, top - 0.3), (-wide * 0.6, top - 0.3)),
        oval(0, top, wide * 0.8, 0.3),
        box(0, top, wide * 1.05, 0.05),
    )
    parts.append(Part(shapes[roof], 2, "shingles" if roof < 2 else "plain"))
    for i in range(columns):
        for j in range(rows):
            x = wide * (-0.75 + 1.5 * (i + 0.5) / columns)
            parts.append(
                Part(
                    box(x, top + 2 * high * (j + 0.5) / (rows + 0.5), 0.5 * wide / columns * 0.8, 0.35 * high / rows), 3
                )
            )
    return parts


def sign(rng: np.random.Generator) -> list[Part]:
    """A plate on a pole, with a device of bars or rings."""
    corners, device = int(rng.integers(3, 9)), int(rng.integers(5))
    turn = _between(rng, 0, math.pi)
    outer = tuple(
        (0.75 * math.cos(turn + 2 * math.pi * i / corners), -0.2 + 0.75 * math.sin(turn + 2 * math.pi * i / corners))
        for i in range(corners)
    )
    inner = tuple((0.8 * x, -0.2 + 0.8 * (y + 0.2)) for x, y in outer)
    parts = [Part(bar((0, 0.2), (0, 1.0), 0.05), 2), Part(outer, 0), Part(inner, 1)]
    if device == 0:
        parts += [Part(bar((-0.3, -0.2 + d), (0.3, -0.2 - d), 0.07), 3) for d in (-0.25, 0.25)]
    elif device == 1:
        parts += [Part(bar((-0.35, -0.4 + 0.2 * i), (0.35, -0.4 + 0.2 * i), 0.05), 3) for i in range(3)]
    elif device == 2:
        parts += [Part(bar((0, 0.2), (0, -0.5), 0.07), 3), Part(((-0.25, -0.35), (0, -0.65), (0.25, -0.35)), 3)]
    elif device == 3:
        parts += [Part(box(-0.2 + 0.4 * i, -0.2, 0.12, 0.25), 3) for i in range(2)]
    else:
        parts += [Part(oval(0, -0.2, 0.35, 0.18), 3), Part(oval(0, -0.2, 0.2, 0.08), 1)]
    return parts


def pot(rng: np.random.Generator) -> list[Part]:
    """A thing that was turned on a lathe: bottle, cup, lamp, with a handle or a belt."""
    heights = np.sort(rng.random(4)) * 1.4 - 0.7
    widths = [_between(rng, 0.12, 0.6) for _ in range(6)]
    profile = list(zip((-0.85, *map(float, heights), 0.85), widths, strict=True))
    handle, belt = int(rng.integers(3)), int(rng.integers(2))
    parts = []
    if handle:
        sides = (1,) if handle == 1 else (-1, 1)
        for side in sides:
            parts += [Part(oval(side * 0.5, -0.1, 0.28, 0.3), 1), Part(oval(side * 0.5, -0.1, 0.17, 0.18), 2)]
    parts.append(Part(lathe(profile), 0, _texture(rng, 0.3)))
    if belt:
        y, width = profile[2]
        parts.append(Part(box(0, y, width, 0.06), 1))
    return parts


def letter(rng: np.random.Generator) -> list[Part]:
    """A rune of strokes between points of a grid."""
    strokes, thick = int(rng.integers(3, 6)), _between(rng, 0.07, 0.14)
    places = [(x, y) for x in (-0.6, 0.0, 0.6) for y in (-0.8, 0.0, 0.8)]
    parts, at = [], int(rng.integers(9))
    for i in range(strokes):
        to = (at + 1 + int(rng.integers(8))) % 9
        parts.append(Part(bar(places[at], places[to], thick), 0 if i % 3 else 1))
        at = to
    return parts


def lump(rng: np.random.Generator) -> list[Part]:
    """A fruit, a shell, a stone or a toy: a closed curve with a texture and a few things on it."""
    outline = (
        blob(rng, depth=0.4) if rng.random() < 0.5 else super_shape(int(rng.integers(2, 8)), _between(rng, 0.15, 0.5))
    )
    parts = [Part(outline, 0, TEXTURES[1 + int(rng.integers(len(TEXTURES) - 1))])]
    for _ in range(int(rng.integers(0, 3))):
        x, y = _between(rng, -0.4, 0.4), _between(rng, -0.4, 0.4)
        parts.append(
            Part(oval(x, y, _between(rng, 0.1, 0.3), _between(rng, 0.06, 0.2), _between(rng, 0, 3)), 1, _texture(rng))
        )
    if rng.random() < 0.5:
        parts.insert(0, Part(bar((0, -0.6), (0.15, -1.0), 0.06, 0.03), 2))
    return parts


KINDS: Sequence[Blueprint] = (beast, insect, fish, flower, tree, vehicle, vessel, building, sign, pot, letter, lump)
FAMILIES = len(KINDS) * PER_KIND


@functools.cache
def family(number: int) -> tuple[Part, ...]:
    """The blueprint of a family: its parts, from back to front."""
    kind, one = divmod(number, PER_KIND)
    return tuple(KINDS[kind](np.random.Generator(np.random.PCG64(np.random.SeedSequence([WORLD, kind, one])))))


def family_names() -> list[str]:
    """The names of the families: ``beast 1``, ``beast 2``, and so on."""
    return [f"{kind.__name__} {one + 1}" for kind in KINDS for one in range(PER_KIND)]
