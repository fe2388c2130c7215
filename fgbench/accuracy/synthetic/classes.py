"""What tells the classes apart: a marking on the wing and one on the head, shared crosswise between classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHAPES = ("disc", "triangle", "square", "star")
COLOURS = {
    "red": (214, 44, 38),
    "yellow": (242, 208, 40),
    "green": (36, 168, 74),
    "blue": (38, 84, 214),
    "violet": (168, 60, 190),
}
PATTERNS = ("plain", "striped", "eyed", "dotted")


@dataclass(frozen=True, slots=True)
class Marking:
    """One small part: its outline, its colour, and what is inked into it."""

    shape: str
    colour: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.pattern} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A class: nothing but its two markings."""

    wing: Marking
    head: Marking

    def __str__(self) -> str:
        return f"{self.wing} wing, {self.head} head"


MARKINGS = len(SHAPES) * len(COLOURS) * len(PATTERNS)
MOST_CLASSES = MARKINGS**2


def markings(order: np.random.Generator) -> list[Marking]:
    """Every marking once, in an order in which neighbours differ in shape, colour and pattern.

    The numbers of shapes and colours share no divisor, so that counting through both at once meets every pair.
    """
    shapes, colours, patterns = (_shuffled(order, words) for words in (SHAPES, tuple(COLOURS), PATTERNS))
    pairs = len(shapes) * len(colours)
    return [
        Marking(shapes[i % len(shapes)], colours[i % len(colours)], patterns[(i + i // pairs) % len(patterns)])
        for i in range(MARKINGS)
    ]


def kinds(classes: int, seed: int) -> list[Kind]:
    """The classes: a grid of wing markings by head markings, so that neither part alone names a class."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    wings, heads = markings(order), markings(order)
    columns = math.ceil(math.sqrt(classes))
    return [Kind(wings[i % columns], heads[i // columns]) for i in range(classes)]


def _shuffled(order: np.random.Generator, words: tuple[str, ...]) -> list[str]:
    return [words[i] for i in np.argsort(order.random(len(words)), kind="stable")]
