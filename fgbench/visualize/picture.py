"""A picture as people see it: any file that Pillow reads, upright, opaque, in eight bits of RGB."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fgbench.errors import FgbenchError

ORIENTATION = 0x0112  # EXIF tag
SIXTEEN_BITS = 65535


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
    """Read a file: the first frame, turned as its EXIF orientation says; a transparent picture lies on white.

    Grey values of 16 bits are scaled to 8. Raises :class:`FgbenchError` where there is no such file, where it is a
    folder, or where Pillow cannot read it or takes it for a decompression bomb.
    """
    where = Path(path)
    try:
        _check_file(where, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read(where, path)
    except FgbenchError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise FgbenchError(f"the picture has more than {limit:,} pixels:", path, "make it smaller") from error
    except UnidentifiedImageError as error:
        raise FgbenchError("not a picture that Pillow reads:", path) from error
    except Exception as error:  # decoders raise whatever they trip over
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:160] or type(error).__name__
        raise FgbenchError(f"the picture cannot be read ({why}):", path, "is the file whole?") from error


def _check_file(where: Path, path: str) -> None:
    if where.is_dir():
        raise FgbenchError("a folder is no picture:", path, f"name its files, such as {path.rstrip('/')}/*.jpg")
    if not where.exists():
        raise FgbenchError("no such picture:", path)


def _read(where: Path, path: str) -> Picture:
    image: Image.Image
    with Image.open(where) as image:
        image.load()
        orientation = _orientation(image)
        upright = ImageOps.exif_transpose(image) if orientation != 1 else image
        return Picture(path=path, image=_opaque(upright), orientation=orientation)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # metadata that nobody can read turns nothing
        return 1
    return found if found in range(1, 9) else 1


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.size and not 0 <= int(values.min()) <= int(values.max()) <= SIXTEEN_BITS:
            raise ValueError("its grey values lie beyond 16 bits")
        return Image.fromarray((values.astype(np.int64) * 255 // SIXTEEN_BITS).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which no one knows what is white")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")
