"""The learning rate: tried on a part of the training images, judged on the rest. The test images are not looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgbench.datasets.dataset import Box, DatasetError, Split
from fgbench.results.recipe import search_share

SPLIT_SEED = 0  # the same parts for every model and seed


class Part(Split):
    """Some images of a split."""

    def __init__(self, whole: Split, places: Sequence[int]) -> None:
        self.whole, self.places = whole, list(places)
        self.targets = [whole.targets[place] for place in self.places]

    def name(self, index: int) -> str:
        """The name in the whole."""
        return self.whole.name(self.places[index])

    def open(self, index: int) -> Image.Image:
        """The image of the whole."""
        return self.whole.open(self.places[index])

    def parts(self, index: int) -> list[Box] | None:
        """The boxes of the whole."""
        return self.whole.parts(self.places[index])


def search_parts(train: Split) -> tuple[Part, Part]:
    """Split train-val into a part to train on and one to validate on: 80/20, or 20/80 beyond 50,000 images.

    Every class is split alike, and keeps at least one image to train on. Source: GLSim, appendix C.
    """
    share = search_share(len(train))
    draw = np.random.default_rng(SPLIT_SEED)
    targets = np.asarray(train.targets)
    order = draw.permutation(len(targets))
    first: list[int] = []
    rest: list[int] = []
    for target in np.unique(targets):
        places = order[targets[order] == target].tolist()
        cut = max(1, round(share * len(places)))
        first += places[:cut]
        rest += places[cut:]
    if not rest:
        raise DatasetError(
            f"{len(train)} training images are too few to search a learning rate on;", do="give one with --lr"
        )
    return Part(train, sorted(first)), Part(train, sorted(rest))


def best_lr(results: Sequence[tuple[float, float]]) -> float:
    """The rate (lr, top-1) with the highest accuracy; of equals the smallest, which is the safer one."""
    return min(results, key=lambda result: (-result[1], result[0]))[0]
