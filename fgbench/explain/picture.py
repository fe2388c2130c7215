"""A picture as people see it: any file that Pillow reads, upright, opaque, in eight bits of RGB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fgbench.datasets.images import read_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that was read. Its pixels are those of the upright picture."""

    path: str  # as it was typed
    image: Image.Image  # RGB
    orientation: int = 1  # EXIF's, 1 to 8: how the stored picture was turned to stand upright

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.height, self.image.width


def read_picture(path: str) -> Picture:
    """Read a file as every command reads it, by :func:`fgbench.datasets.images.read_image`.

    Raises :class:`FgbenchError`.
    """
    read = read_image(Path(path), path)
    return Picture(path=path, image=read.image, orientation=read.orientation)
