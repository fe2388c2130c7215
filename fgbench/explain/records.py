"""Results of explaining pictures: scores, heat and boxes by selector, in pixels of the upright picture. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fgbench.datasets.dataset import Box

Tile: TypeAlias = NDArray[np.uint8]  # (h, w, 3), pixels to show

OWN = "own"  # in place of a selector's name: the model's own selection
ROUNDING = 16  # how many units in the last place equal scores may differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorResult:
    """Scores of one selector, or of the model itself, for one picture, and what follows from them."""

    scores: NDArray[np.floating[Any]]  # (rows, columns), unscaled
    heat: NDArray[np.float32]  # (a, b) over the part of the picture that was seen; 0 … 1, 0 where scores are equal
    best: tuple[int, int]  # row and column of the best patch, the first one among equals
    best_box: Box
    boxes: Sequence[Box]  # crops, or selected patches; none where all scores are equal
    are_crops: bool
    crops: Sequence[Tile] = ()  # of the first boxes, cut out of the picture itself; none where boxes are patches

    @property
    def is_flat(self) -> bool:
        """Whether all patches score the same, rounding aside: then nothing was selected."""
        return is_flat(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The class of the highest logit."""

    index: int  # from 0
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """Results of one model for one picture."""

    path: str
    size: tuple[int, int]  # of the upright picture: height, width
    orientation: int  # EXIF's
    seen_box: Box  # the part of the picture that the network was given
    tile: Tile  # the whole picture
    selectors: Mapping[str, SelectorResult]  # by selector, OWN among them
    prediction: Prediction | None = None  # None where it would rest on weights that were not learned


def is_flat(scores: NDArray[np.floating[Any]]) -> bool:
    """Whether scores are equal but for rounding."""
    spread, largest = float(scores.max() - scores.min()), float(np.abs(scores).max())
    return spread <= ROUNDING * float(np.finfo(scores.dtype).eps) * largest
