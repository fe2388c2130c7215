"""What the rule for times judges: a point that two revisions were measured on, in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_PAIRS = 3  # of every point
ALL_PAIRS = 7  # of those that three pairs do not clear


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPoint:
    """Seconds of one point by base and head; ``base[i]`` and ``head[i]`` were measured one after the other."""

    name: str  # unique: "glsim gls fast vit_base_patch16_224 224 batch 4"
    base: Sequence[float]  # seconds: the median of one process each
    head: Sequence[float]
    batch_size: int | None = None  # images, where it is known

    def __post_init__(self) -> None:
        if len(self.base) != len(self.head):
            raise ValueError(f"{self.name}: {len(self.base)} times of the base, {len(self.head)} of the head")
        if not all(math.isfinite(value) and value > 0 for value in (*self.base, *self.head)):
            raise ValueError(f"{self.name}: times must be finite and positive")

    @property
    def log_ratios(self) -> list[float]:
        """log(head / base) of each pair: 0.05 is about 5 % slower."""
        return [math.log(after / before) for before, after in zip(self.base, self.head, strict=True)]
