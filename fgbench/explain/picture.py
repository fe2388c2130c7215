"""Pictures: read upright and in RGB, as a network takes them, and cut into small arrays that are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fgbench.datasets.images import read_image
from fgbench.datasets.transforms import centre_transform
from fgbench.explain.boxes import InputGeometry
from fgbench.explain.records import Tile

TILE_SIDE = 512  # longer side of a tile, pixels
MOST_CROPS = 6  # tiles of one selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that was read. Its pixels are those of the upright picture."""

    path: str  # as it was typed
    image: Image.Image  # RGB
    orientation: int = 1  # EXIF's, 1 to 8: how the stored picture was turned to stand upright

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.image.height, self.image.width

    def network_input(self, geometry: InputGeometry, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """The picture as a network takes it.

        Args:
            geometry: Which pixels the network sees.
            mean: Mean by colour, red, green and blue, that is subtracted.
            std: Standard deviation by colour that is divided by.

        Returns:
            (1, 3, S, S), S the size of the geometry.
        """
        return centre_transform(geometry.resized, geometry.size, mean, std)(self.image).unsqueeze(0)

    def tile(self, box: Sequence[float] | None = None) -> Tile:
        """Pixels (h, w, 3) of a box, or of the whole picture, made smaller where a side is above 512 pixels.

        Args:
            box: y0, x0, y1, x1 in pixels of the picture, fractions included; what lies outside is cut off.
        """
        y0, x0, y1, x1 = (0.0, 0.0, *self.size) if box is None else box
        scale = min(1.0, TILE_SIDE / max(y1 - y0, x1 - x0))
        side = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
        inside = (max(x0, 0), max(y0, 0), min(x1, self.image.width), min(y1, self.image.height))
        return np.asarray(self.image.resize(side, Image.Resampling.LANCZOS, box=inside))

    def tiles(self, boxes: Sequence[Sequence[float]]) -> list[Tile]:
        """Tiles of the first six boxes."""
        return [self.tile(box) for box in boxes[:MOST_CROPS]]


def read_picture(path: str) -> Picture:
    """Read a picture as every command reads it, see :func:`fgbench.datasets.images.read_image`.

    Raises:
        FgbenchError: There is no such file, or it is no picture that can be read.
    """
    read = read_image(Path(path), path)
    return Picture(path=path, image=read.image, orientation=read.orientation)
