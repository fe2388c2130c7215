"""From the files of pictures to the images of a network, part by part, as ``fgbench accuracy`` reads a test."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgbench.datasets.dataset import IMAGENET_MEAN, IMAGENET_STD
from fgbench.datasets.images import read_image
from fgbench.datasets.transforms import centre_transform
from fgbench.errors import FgbenchError
from fgbench.measure.parts import InParts, OnPart
from fgbench.results.recipe import resized_side

ORDER_SEED = 0
DECODE, RESIZE, TRANSFER, MODEL = "decode", "resize", "transfer", "model"


class PicturesInParts:
    """Batches of a folder's pictures in a fixed random order, in one thread: it begins anew behind the last picture.

    Timing may be over before each picture was read: those that come first by name would stand for all.

    Args:
        files: Paths of pictures that can be read.
        batch_size: B, pictures of a batch.
        image_size: S, side of the network's input in pixels.

    """

    def __init__(self, files: Sequence[str], batch_size: int, image_size: int) -> None:
        self.batch_size = batch_size
        self._files = cycle(random.Random(ORDER_SEED).sample([Path(file) for file in files], len(files)))
        self._transform = centre_transform(resized_side(image_size), image_size, IMAGENET_MEAN, IMAGENET_STD)

    def __call__(self, feed: Callable[[Any], object], run: Callable[[], object]) -> InParts:
        """The whole way in parts.

        Args:
            feed: Takes images (B, 3, S, S), float32 on the host.
            run: Runs the model on what was fed.

        """

        def in_parts(on_part: OnPart) -> object:
            files = list(islice(self._files, self.batch_size))
            pictures = on_part(DECODE, lambda: [read_image(file).image for file in files])
            images = on_part(RESIZE, lambda: self._resized(pictures))
            on_part(TRANSFER, lambda: feed(images))
            return on_part(MODEL, run)

        return in_parts

    def _resized(self, pictures: Sequence[Any]) -> Tensor:
        return torch.stack([self._transform(picture) for picture in pictures])


def unreadable(files: list[str]) -> dict[str, str]:
    """Read pictures; by the path of each that cannot be read, why."""
    reasons: dict[str, str] = {}
    for file in files:
        try:
            read_image(Path(file))
        except FgbenchError as error:
            reasons[file] = str(error)
    return reasons
