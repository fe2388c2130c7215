"""Predictions of a split: top-1, top-5, accuracy by class, and classes that are taken for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbench.errors import FgbenchError

TOP = 5  # classes that are kept of every image


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The best classes of every image that could be read, in the order of the split."""

    ranked: NDArray[np.int64]  # (n, up to 5) class ids, the best first
    targets: NDArray[np.int64]  # (n,)
    indices: NDArray[np.int64]  # (n,) of the images in the split
    unreadable: frozenset[int] = frozenset()  # indices of images that were left out
    seconds: float = 0.0  # reading and forward passes, on the slowest process

    @property
    def images(self) -> int:
        """Number of images that were predicted."""
        return len(self.targets)

    @property
    def top1_percent(self) -> float:
        """Share of images whose best class is the right one, percent."""
        return self.top_percent(1)

    @property
    def top5_percent(self) -> float | None:
        """Share of images whose class is among the best five, percent; None with fewer than five classes."""
        return self.top_percent(TOP) if self.ranked.shape[1] >= TOP else None

    def top_percent(self, k: int) -> float:
        """Share of images whose class is among the best ``k``, percent."""
        return 100 * float((self.ranked[:, :k] == self.targets[:, None]).any(axis=1).mean())

    def per_class(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Number of images and top-1 of every class; top-1 is None for a class without images."""
        right = self.ranked[:, 0] == self.targets
        images = np.bincount(self.targets, minlength=len(class_names))
        correct = np.bincount(self.targets[right], minlength=len(class_names))
        return [
            {"class": name, "images": int(n), "top1_percent": 100 * float(k) / int(n) if n else None}
            for name, n, k in zip(class_names, images, correct, strict=True)
        ]

    def confusions(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Pairs of a class and another that it is taken for, the most frequent first; ties by class id."""
        wrong = self.ranked[:, 0] != self.targets
        pairs, counts = np.unique(
            np.stack([self.targets[wrong], self.ranked[wrong, 0]], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        return [
            {"class": class_names[pairs[i, 0]], "taken_for": class_names[pairs[i, 1]], "images": int(counts[i])}
            for i in order
        ]


def merge(shards: Sequence[Predictions], images: int) -> Predictions:
    """Join the predictions of several processes.

    Args:
        shards: Predictions by process.
        images: Number of images in the split.

    Raises:
        FgbenchError: An image is missing, or there twice; images that cannot be read count.
    """
    indices = np.concatenate([shard.indices for shard in shards])
    order = np.argsort(indices, kind="stable")
    unreadable = frozenset().union(*(shard.unreadable for shard in shards))
    seen = np.sort(np.concatenate([indices, np.array(sorted(unreadable), dtype=np.int64)]))
    if not np.array_equal(seen, np.arange(images)):
        raise FgbenchError(f"each of {images} images must be tested exactly once; those that came back:", len(seen))
    full = [shard for shard in shards if shard.images]
    return Predictions(
        ranked=np.concatenate([shard.ranked for shard in full])[order],
        targets=np.concatenate([shard.targets for shard in full])[order],
        indices=indices[order],
        unreadable=unreadable,
        seconds=max(shard.seconds for shard in shards),
    )
