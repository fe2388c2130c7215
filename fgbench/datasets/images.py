"""Reader of images: any image that Pillow decodes becomes an upright, opaque image of eight bits in RGB.

Every command reads its images here, from files and from memory, by the same rules:

- Of several frames or pages the first one is read.
- The image is turned as its EXIF orientation says.
- Transparent pixels are laid on white.
- Grey values of more than 8 bits are scaled from the whole range of their format, 0…65,535 (0…4,095 in a TIFF of 12
  bits), not from the smallest to the largest value of the image: two images keep their relative brightness, and a
  constant image stays constant. Images without such a range are refused: floating-point numbers, values beyond 16
  bits, signed values of 8 or 16 bits, and values that are all below 256, which would become one
  shade. Colours of 16 bits that are all below 256 are refused for the same reason.
- A TIFF whose first page is marked as a smaller copy of another one, as in the raw files of cameras, is refused.
- Colours are converted by Pillow's formulas; ICC profiles are not applied, as timm and torchvision do not.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fgbench.errors import FgbenchError
from fgbench.results.reading import opened

Box: TypeAlias = tuple[float, float, float, float]  # y0, x0, y1, x1 in pixels, ends exclusive

ORIENTATION = 0x0112  # EXIF tag
WIDTH, HEIGHT = 256, 257  # TIFF tags, like the next line
SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 254, 258, 262, 339
WHITE_IS_ZERO, SIGNED = 0, 2  # values of PHOTOMETRIC and SAMPLE_FORMAT
SMALLER_COPY = 1  # a bit of SUBFILE_TYPE
BYTE, SIXTEEN_BITS = 255, 65535

# Of EXIF's orientations: whether the upright image is mirrored along y, along x, and then transposed, to be stored.
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (False, True, True),
    7: (True, True, True),
    8: (True, False, True),
}
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image that was read. Its pixels are those of the upright image."""

    image: Image.Image  # RGB
    orientation: int = 1  # EXIF's, 1 to 8: how the stored image was turned to stand upright


class _NoRangeError(ValueError):
    """Pixels have no known range from black to white."""


class _CopyError(ValueError):
    """The file begins with a small copy of the picture."""


def read_image(source: Path | IO[bytes], name: str | None = None) -> ReadImage:
    """Read an image from a file or from memory.

    Args:
        source: The file, or a stream of its bytes.
        name: Name of the image in messages; None for its path.

    Raises:
        FgbenchError: There is no such file, it is a folder, Pillow cannot read it or takes it for a decompression bomb,
            or its values have no range.
    """
    what = name if name is not None else str(source) if isinstance(source, Path) else "an image in memory"
    try:
        # Pillow maps a file that it opens itself into memory, and corrupts grey TIFFs with an orientation (Pillow 13).
        with opened(source) if isinstance(source, Path) else nullcontext(source) as file, quiet():
            return _read(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FgbenchError("no such picture:", what, "give the path of a picture that is there") from error
    except IsADirectoryError as error:
        do = f"name its files, such as {what.rstrip('/')}/*.jpg"
        raise FgbenchError("a folder is no picture:", what, do) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise FgbenchError(f"the picture has more than {limit:,} pixels:", what, "make it smaller") from error
    except UnidentifiedImageError as error:
        raise FgbenchError("not a picture that Pillow reads:", what) from error
    except _NoRangeError as error:
        do = "save it with 8 bits, or with values from 0 to 65,535"
        raise FgbenchError(f"the picture cannot be read ({error}):", what, do) from error
    except _CopyError as error:
        do = "convert it, as raw files of cameras have to be"
        raise FgbenchError(f"the picture cannot be read ({error}):", what, do) from error
    except Exception as error:  # decoders raise errors of any type
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:160] or type(error).__name__
        do = "" if isinstance(error, OSError) and error.errno else "is the file whole?"
        raise FgbenchError(f"the picture cannot be read ({why}):", what, do) from error


def stored_as(path: Path) -> tuple[tuple[int, int], int]:
    """((height, width) of the pixels in a file, EXIF orientation), from its header; the pixels are not decoded."""
    with quiet(), opened(path) as file, Image.open(file) as image:
        tags: Any = getattr(image, "tag_v2", {})  # of a TIFF, whose size Pillow gives upright
        return (tags.get(HEIGHT, image.height), tags.get(WIDTH, image.width)), _orientation(image)


def as_upright(box: Box, stored: tuple[int, int], orientation: int) -> Box:
    """A box of a stored image of ``stored`` (height, width) pixels, in pixels of the upright image."""
    y0, x0, y1, x1 = box
    height, width = stored
    mirror_y, mirror_x, transposed = TURNS[orientation]
    if transposed:
        (y0, x0, y1, x1), (height, width) = (x0, y0, x1, y1), (width, height)
    if mirror_y:
        y0, y1 = height - y1, height - y0
    if mirror_x:
        x0, x1 = width - x1, width - x0
    return y0, x0, y1, x1


def as_stored(box: Box, upright: tuple[int, int], orientation: int) -> Box:
    """A box of an upright image of ``upright`` (height, width) pixels, in pixels of the file as it is stored."""
    y0, x0, y1, x1 = box
    height, width = upright
    mirror_y, mirror_x, transposed = TURNS[orientation]
    if mirror_y:
        y0, y1 = height - y1, height - y0
    if mirror_x:
        x0, x1 = width - x1, width - x0
    return (x0, y0, x1, y1) if transposed else (y0, x0, y1, x1)


class quiet(warnings.catch_warnings):  # noqa: N801  # used as a verb
    """Context that ignores warnings about damaged metadata, and refuses images with too many pixels."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return entered


def _read(file: IO[bytes]) -> ReadImage:
    image: Image.Image
    start = file.tell()
    with Image.open(file) as image:
        _check_kind(image)
        tiles = list(getattr(image, "tile", ()))
        is_deep = any(str(tile[3]).startswith("RGB;16") for tile in tiles)
        image.load()
        _check_depth(image, tiles, file, start)
        orientation = _orientation(image)
        clear = image.info.get("transparency")
        if is_deep and isinstance(clear, tuple):  # Pillow keeps 16 bits of it, and 8 bits of the pixels
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        opaque = _opaque(image)
    method = UPRIGHT.get(orientation)
    return ReadImage(opaque if method is None else opaque.transpose(method), orientation)


def _check_kind(image: Image.Image) -> None:
    """Refuse files that Pillow would decode to other values, or to another picture."""
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    if tags.get(SUBFILE_TYPE, 0) & SMALLER_COPY:
        raise _CopyError("its first page is a smaller copy of another one")
    is_signed = SIGNED in tags.get(SAMPLE_FORMAT, ()) and max(tags.get(BITS_PER_SAMPLE, (1,))) <= 16
    if is_signed or (image.format == "FITS" and image.mode == "I;16"):
        raise _NoRangeError("its grey values are signed, so that the value of black is unknown")


def _check_depth(image: Image.Image, tiles: list[Any], file: IO[bytes], start: int) -> None:
    """Refuse colours of 16 bits that are all below 256: Pillow keeps the higher 8 bits, which would all be 0."""
    low = [_low_bytes(tile[3]) for tile in tiles]
    if not low or None in low or any(top for _, top in image.getextrema()[:3]):  # type: ignore[misc]
        return
    file.seek(start)
    lower: Any
    with Image.open(file) as lower:
        lower.tile = [
            tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)  # a tuple before Pillow 11
            for tile, args in zip(tiles, low, strict=True)
        ]
        lower.load()
        largest = max(top for _, top in lower.getextrema()[:3])
    if largest:
        raise _NoRangeError(f"its colours of 16 bits end at {largest}, and would all be black")


def _low_bytes(args: Any) -> Any:
    """A decoder's arguments for the lower bytes in place of the higher ones; None where it decodes no deep colours."""
    mode, *others = args if isinstance(args, tuple) else (args,)
    name, _, order = str(mode).partition(";16")
    if name not in ("RGB", "RGBA", "RGBX") or order not in ("B", "L", "N"):
        return None
    other = f"{name};16{'L' if order == 'B' or (order == 'N' and sys.byteorder == 'big') else 'B'}"
    return (other, *others) if isinstance(args, tuple) else other


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:  # unreadable metadata: the image is not turned
        return 1


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.mode == "F":
        raise _NoRangeError("its pixels are floating-point numbers, so that the value of white is unknown")
    if image.mode == "La":  # Pillow can convert this mode to LA only
        image = image.convert("LA")
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or palette.endswith("A") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Grey values (h, w) of more than 8 bits, scaled to 8 from the whole range of their format."""
    values = np.asarray(image).astype(np.int64)
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    bits = max(tags.get(BITS_PER_SAMPLE, (16,)))
    top = 2**bits - 1 if 8 < bits < 16 else SIXTEEN_BITS
    largest = int(values.max())
    if int(values.min()) < 0 or largest > top:
        raise _NoRangeError(f"its grey values lie beyond {bits if bits < 16 else 16} bits")
    if 0 < largest <= BYTE and top == SIXTEEN_BITS:
        raise _NoRangeError(f"its grey values of 16 bits or more end at {largest}, and would all be one shade")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts 8 bits, and leaves 16 as they are
        values = top - values
    scaled = (values * BYTE + top // 2) // top
    if isinstance(clear := image.info.get("transparency"), int):  # the one grey value of a PNG that is transparent
        scaled[values == clear] = BYTE
    return scaled.astype(np.uint8)
