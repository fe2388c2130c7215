"""The part of a picture that a network sees, and the way from its pixels back to the picture's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from fgbench.datasets.dataset import Box
from fgbench.datasets.images import TURNS
from fgbench.results.recipe import resized_side


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGeometry:
    """The centre of ``size`` pixels of a picture that is resized to a square of ``resized`` pixels.

    The picture is squeezed to a square, so that a pixel of the network is as wide as ``width / resized`` of the
    picture's and as high as ``height / resized``; what maps back undoes that.
    """

    picture: tuple[int, int]  # height and width, pixels
    resized: int
    size: int

    @property
    def seen(self) -> Box:
        """What the network sees, in pixels of the picture."""
        return self.to_picture([(0, 0, self.size, self.size)])[0]

    def to_picture(self, boxes: Iterable[tuple[float, ...]]) -> list[Box]:
        """Boxes in pixels of the network's input → the same in pixels of the picture. A pixel's edges are mapped."""
        height, width = self.picture
        offset = round((self.resized - self.size) / 2)  # torchvision's CenterCrop: a half goes to the even neighbour
        down, across = height / self.resized, width / self.resized
        return [
            ((y0 + offset) * down, (x0 + offset) * across, (y1 + offset) * down, (x1 + offset) * across)
            for y0, x0, y1, x1 in boxes
        ]


def view_of(picture: tuple[int, int], size: int, kind: str) -> InputGeometry:
    """How a picture is seen: ``centre``, as models are trained and tested (GLSim, section 4), or ``whole``."""
    return InputGeometry(picture=picture, resized=resized_side(size) if kind == "centre" else size, size=size)


def network_input(image: Image.Image, view: InputGeometry, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """A picture in RGB → (1, 3, S, S) as the network takes it."""
    steps: list[Any] = [
        v2.Resize((view.resized, view.resized), interpolation=v2.InterpolationMode.BICUBIC),
        v2.CenterCrop(view.size),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean, std),
    ]
    made: Tensor = v2.Compose(steps)(image)
    return made.unsqueeze(0)


def as_stored(box: Box, upright: tuple[int, int], orientation: int) -> Box:
    """A box of the upright picture of ``upright`` (height, width) pixels, in pixels of the file as it is stored."""
    y0, x0, y1, x1 = box
    height, width = upright
    mirror_y, mirror_x, transposed = TURNS[orientation]
    if mirror_y:
        y0, y1 = height - y1, height - y0
    if mirror_x:
        x0, x1 = width - x1, width - x0
    return (x0, y0, x1, y1) if transposed else (y0, x0, y1, x1)
