"""What was seen: records in pixels of the upright picture, and as rows. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Box: TypeAlias = tuple[float, float, float, float]  # y0, x0, y1, x1; ends exclusive

OWN = "own"  # in place of a selector's name: the model's own selection
ROUNDING = 16  # how many units in the last place equal scores may differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorResult:
    """What one selector, or a model itself, makes of one picture."""

    scores: NDArray[np.floating[Any]]  # (rows, columns), as they are
    heat: NDArray[np.float32]  # (a, b) over the part of the picture that was seen; 0 … 1, flat where scores are equal
    best: tuple[int, int]  # row and column of the best patch, the first one among equals
    best_box: Box
    boxes: Sequence[Box]  # crops, or selected patches; none where all scores are equal
    are_crops: bool

    @property
    def is_flat(self) -> bool:
        """Whether all patches score the same, rounding aside: then nothing was selected."""
        return flat(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The class of the highest logit."""

    index: int  # from 0
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One model at one picture."""

    path: str
    size: tuple[int, int]  # of the upright picture: height, width
    orientation: int  # EXIF's
    seen: Box  # what the network was shown
    sights: Mapping[str, SelectorResult]  # by selector, OWN among them
    prediction: Prediction | None = None  # None where nothing was learned that it could rest on


def flat(scores: NDArray[np.floating[Any]]) -> bool:
    """Whether scores are equal but for rounding."""
    spread, largest = float(scores.max() - scores.min()), float(np.abs(scores).max())
    return spread <= ROUNDING * float(np.finfo(scores.dtype).eps) * largest
