"""Classes of synthetic birds: pairs of a marking on the wing and one on the head."""

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
}
PATTERNS = ("striped", "eyed", "dotted", "ringed")  # each has ink in three tenths of the area


@dataclass(frozen=True, slots=True)
class Marking:
    """One small part: its outline, its colour and its pattern of ink."""

    shape: str
    colour: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.pattern} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A class: its two markings."""

    wing: Marking
    head: Marking

    def __str__(self) -> str:
        return f"{self.wing} wing, {self.head} head"


MARKINGS = len(SHAPES) * len(COLOURS) * len(PATTERNS)
MOST_CLASSES = MARKINGS**2


def markings(order: np.random.Generator) -> list[Marking]:
    """All markings once, ordered so that neighbours differ in shape, colour and pattern."""
    shapes, colours, patterns = (_shuffled(order, words) for words in (SHAPES, tuple(COLOURS), PATTERNS))
    listed = []
    for i in range(MARKINGS):
        rest, colour = divmod(i, len(colours))
        shape, pattern = (rest + colour) % len(shapes), (rest + rest // len(shapes) + colour) % len(patterns)
        listed.append(Marking(shapes[shape], colours[colour], patterns[pattern]))
    return listed


def kinds(classes: int, seed: int) -> list[Kind]:
    """The classes: a grid of wing markings by head markings, so that one part does not determine the class."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    wings, heads = markings(order), markings(order)
    columns = math.ceil(math.sqrt(classes))
    return [Kind(wings[i % columns], heads[i // columns]) for i in range(classes)]


def _shuffled(order: np.random.Generator, words: tuple[str, ...]) -> list[str]:
    return [words[i] for i in np.argsort(order.random(len(words)), kind="stable")]
