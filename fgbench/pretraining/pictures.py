"""Many pictures of the coarse world in memory, drawn by several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from fgbench.pretraining.world import Picture, picture

DRAWN = 112  # side of a picture of which the network sees a part, pixels
FEW = 1_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images (n, S, S, 3) of uint8, the families of their main objects (n,), and of all pixels (n, S, S)."""

    pixels: np.ndarray
    families: np.ndarray
    shown: np.ndarray


def draw(count: int, first: int, seed: int, *, side: int = DRAWN, processes: int | None = None) -> Pictures:
    """Draw pictures.

    Args:
        count: Number of pictures.
        first: Index of the first one.
        seed: Of the world's pictures.
        side: S, pixels.
        processes: Number of processes; one per core by default. A few pictures are drawn by this one.

    """
    found = Pictures(
        np.empty((count, side, side, 3), np.uint8), np.empty(count, np.int64), np.empty((count, side, side), np.uint8)
    )
    drawer = partial(picture, seed, side=side)
    if count < FEW:
        return _filled(found, map(drawer, range(first, first + count)))
    # Processes that are forked beside threads of torch may hang; these start anew.
    with ProcessPoolExecutor(processes or os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        return _filled(found, pool.map(drawer, range(first, first + count), chunksize=128))


def _filled(found: Pictures, drawn: Iterable[Picture]) -> Pictures:
    for place, one in enumerate(drawn):
        found.pixels[place], found.families[place], found.shown[place] = one.pixels, one.family, one.shown
    return found
