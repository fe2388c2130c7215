"""Search of the learning rate: models train on a subset of the training images and are tested on the rest.

The test images are not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fgbench.datasets.dataset import Box, DatasetError, Split
from fgbench.results.recipe import search_share

SPLIT_SEED = 0  # the same subsets for every model and seed


class Subset(Split):
    """Some images of a split.

    Args:
        whole: The split.
        places: Indices of the images in the split.
    """

    def __init__(self, whole: Split, places: Sequence[int]) -> None:
        self.whole, self.places = whole, list(places)
        self.targets = [whole.targets[place] for place in self.places]

    def name(self, index: int) -> str:
        """Name of the image in the whole split."""
        return self.whole.name(self.places[index])

    def open(self, index: int) -> Image.Image:
        """The image in RGB."""
        return self.whole.open(self.places[index])

    def parts(self, index: int) -> list[Box] | None:
        """Boxes of the parts of the image; None where unknown."""
        return self.whole.parts(self.places[index])


def search_subsets(train: Split) -> tuple[Subset, Subset]:
    """Split the training images into two subsets: 80/20, or 20/80 beyond 50,000 images.

    Every class is split alike, and keeps at least one image to train on. Source: GLSim, appendix C.

    Args:
        train: The training split (train and validation).

    Returns:
        The subset to train on, and the subset to test on.

    Raises:
        DatasetError: There are too few images for a second subset.
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
    return Subset(train, sorted(first)), Subset(train, sorted(rest))


def best_lr(results: Sequence[tuple[float, float]]) -> float:
    """The learning rate with the highest accuracy; of equals the smallest, which is the safer one.

    Args:
        results: Learning rate and top-1 in percent of every model that was trained.
    """
    return min(results, key=lambda result: (-result[1], result[0]))[0]
