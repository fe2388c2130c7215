"""Images of the coarse world: an object of some family before a cluttered ground, and what every patch shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fgbench.pretraining.families import FAMILIES, family
from fgbench.pretraining.outlines import TEXTURES, Part, Point, blob, texture_of

FINE = 2  # images are drawn with twice the side and averaged
NONE = FAMILIES  # what a patch of the ground shows
COVERED = 0.3  # least share of a patch that shows an object
MOST_OTHERS = 3  # objects beside the main one
NOISE = 6.0  # standard deviation of the sensor's noise, in levels of 255


@dataclass(frozen=True, slots=True)
class Picture:
    """An image (S, S, 3) of uint8, the family of its main object, and the family that every pixel shows (S, S)."""

    pixels: np.ndarray
    family: int
    shown: np.ndarray  # uint8; NONE where a pixel shows no object


def picture(seed: int, index: int, *, side: int = 96) -> Picture:
    """Draw an image, which depends on seed, index and side alone.

    Args:
        seed: Of the world's images.
        index: Of the image.
        side: S, pixels.

    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    fine = side * FINE
    canvas = _ground(rng, fine)
    shown = Image.new("L", (fine, fine), NONE)
    for _ in range(int(rng.integers(0, MOST_OTHERS + 1))):
        other = int(rng.integers(FAMILIES))
        _object(rng, canvas, shown, other, scale=_between(rng, 0.1, 0.2), reach=0.5)
    main = int(rng.integers(FAMILIES))
    _object(rng, canvas, shown, main, scale=_between(rng, 0.2, 0.42), reach=0.2)
    for _ in range(int(rng.integers(0, 3))):
        _clutter(rng, canvas, shown, _between(rng, 0.02, 0.06))
    pixels = _light(rng, np.asarray(canvas.reduce(FINE), dtype=np.float32))
    return Picture(pixels, main, np.asarray(shown)[::FINE, ::FINE].copy())


def patch_families(shown: np.ndarray, mains: np.ndarray, patch: int) -> np.ndarray:
    """The family that each patch shows most of, where that is enough of it; the main object comes first.

    Args:
        shown: What every pixel shows (B, S, S).
        mains: Families of the main objects (B,).
        patch: Side of a patch, pixels.

    Returns:
        Families (B, G²), :data:`NONE` for the ground.

    """
    images, grid = len(shown), shown.shape[1] // patch
    cells = shown[:, : grid * patch, : grid * patch].reshape(images, grid, patch, grid, patch)
    cells = cells.transpose(0, 1, 3, 2, 4).reshape(images * grid * grid, patch * patch).astype(np.int64)
    kinds = FAMILIES + 1
    places = np.arange(len(cells))
    counts = np.bincount((places[:, None] * kinds + cells).ravel(), minlength=len(cells) * kinds).reshape(-1, kinds)
    main = np.repeat(mains, grid * grid)
    enough = COVERED * patch * patch
    others = counts.copy()
    others[places, main] = others[:, NONE] = 0
    found = np.where(others.max(axis=1) >= enough, others.argmax(axis=1), NONE)
    found = np.where(counts[places, main] >= enough, main, found)
    return found.reshape(images, grid * grid)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _ground(rng: np.random.Generator, side: int) -> Image.Image:
    """A ground of soft colours: a coarse grid that is enlarged, perhaps with a texture, and clutter on it."""
    cells = int(rng.integers(2, 9))
    base = rng.uniform(40, 215, 3)
    grid = np.clip(base + rng.normal(0, _between(rng, 8, 45), (cells, cells, 3)), 0, 255).astype(np.uint8)
    canvas = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.35:
        kind = TEXTURES[1 + int(rng.integers(len(TEXTURES) - 1))]
        factors = texture_of(kind, side, _between(rng, 6, 30), _between(rng, 0, 1))
        weight = _between(rng, 0.2, 0.7)
        lit = np.asarray(canvas, dtype=np.float32) * (1 - weight + weight * factors[..., None])
        canvas = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(0, 7))):
        _clutter(rng, canvas, None, _between(rng, 0.02, 0.12))
    return canvas


def _clutter(rng: np.random.Generator, canvas: Image.Image, shown: Image.Image | None, scale: float) -> None:
    """Something without a family: a blob or a blade."""
    side = canvas.width
    x, y, turn = side * float(rng.random()), side * float(rng.random()), _between(rng, 0, 2 * math.pi)
    stretch = _between(rng, 1, 5)
    cos, sin = math.cos(turn), math.sin(turn)
    size = side * scale
    points = [
        (x + size * (stretch * u * cos - v * sin), y + size * (stretch * u * sin + v * cos))
        for u, v in blob(rng, corners=9)
    ]
    ImageDraw.Draw(canvas).polygon(points, fill=_colour(rng))
    if shown is not None:
        ImageDraw.Draw(shown).polygon(points, fill=NONE)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.uniform(15, 240, 3))
    return red, green, blue


def _object(
    rng: np.random.Generator, canvas: Image.Image, shown: Image.Image, number: int, *, scale: float, reach: float
) -> None:
    """Draw an object of a family somewhere around the middle, in a pose, colours and proportions of its own."""
    side = canvas.width
    turn, mirror = rng.normal(0, 0.3), 1 if rng.random() < 0.5 else -1
    x, y = side * (0.5 + _between(rng, -reach, reach)), side * (0.5 + _between(rng, -reach, reach))
    wide, high = side * scale * _between(rng, 0.85, 1.15), side * scale * _between(rng, 0.85, 1.15)
    lean, cos, sin = _between(rng, -0.15, 0.15), math.cos(turn), math.sin(turn)
    palette = [_colour(rng) for _ in range(4)]

    def placed(points: Sequence[Point]) -> list[Point]:
        found = []
        for u, v in points:
            a, b = mirror * wide * (u + lean * v), high * v
            found.append((x + a * cos - b * sin, y + a * sin + b * cos))
        return found

    pen, index = ImageDraw.Draw(canvas), ImageDraw.Draw(shown)
    for part in family(number):
        points = placed(part.outline)
        pen.polygon(points, fill=palette[part.colour])
        index.polygon(points, fill=number)
        if part.texture != "plain":
            _texture(rng, canvas, part, points, palette[part.colour], size=scale * side)


def _texture(
    rng: np.random.Generator,
    canvas: Image.Image,
    part: Part,
    points: Sequence[Point],
    colour: tuple[int, int, int],
    *,
    size: float,
) -> None:
    """Fill an outline with a texture of its colour."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    left, top = math.floor(min(xs)), math.floor(min(ys))
    width, height = math.ceil(max(xs)) - left + 1, math.ceil(max(ys)) - top + 1
    tile = max(width, height)
    if tile < 6:
        return
    factors = texture_of(part.texture, tile, size / 6, float(rng.random()))[:height, :width]
    filled = np.clip(np.asarray(colour, dtype=np.float32) * factors[..., None], 0, 255).astype(np.uint8)
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in points], fill=255)
    canvas.paste(Image.fromarray(filled), (left, top), mask)


def _light(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    side = len(pixels)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    across, down = rng.uniform(-0.25, 0.25, 2)
    shade = 1 + across * ramp[None, :, None] + down * ramp[:, None, None]
    gain = rng.uniform(0.7, 1.2, 3).astype(np.float32) * np.float32(rng.uniform(0.8, 1.15))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(NOISE * rng.random())
    levels: np.ndarray = np.clip(pixels * shade * gain + noise, 0, 255).astype(np.uint8)
    return levels
