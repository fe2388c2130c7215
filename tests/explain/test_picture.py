"""Files that Pillow can read, and files that it cannot read."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.small_pictures import saved, scene
from PIL import Image

from fgbench.errors import FgbenchError
from fgbench.explain.picture import read_picture

RED = (200, 30, 40)


def block(mode: str, colour) -> Image.Image:
    return Image.new(mode, (12, 8), colour)


def palette() -> Image.Image:
    return block("RGB", RED).quantize(4)


def clear_corner() -> Image.Image:
    image = block("RGBA", (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 4))
    return image


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("a.png", block("RGB", RED), RED),
        ("a.jpg", block("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
        ("a.jpg", block("L", 77), (77, 77, 77)),
        ("a.png", palette(), RED),
        ("a.png", block("1", 1), (255, 255, 255)),
        ("a.png", block("LA", (50, 255)), (50, 50, 50)),
        ("a.png", Image.fromarray(np.full((8, 12), 257 * 99, np.uint16)), (99, 99, 99)),
        ("a.tif", Image.fromarray(np.full((8, 12), 65535, np.int32)), (255, 255, 255)),
        ("a.webp", block("RGB", RED), RED),
        ("a.gif", palette(), RED),
        ("a.bmp", block("RGB", RED), RED),
    ],
)
def test_any_mode_becomes_eight_bits_of_red_green_and_blue(name, image, expected, tmp_path):
    picture = read_picture(str(saved(tmp_path, name, image)))
    assert (picture.image.mode, picture.size, picture.orientation) == ("RGB", (8, 12), 1)
    assert np.abs(np.asarray(picture.image)[6, 10].astype(int) - expected).max() <= 8  # lossy formats


def test_what_is_transparent_lies_on_white(tmp_path):
    for name in ("a.png", "a.webp", "a.gif"):
        pixels = np.asarray(read_picture(str(saved(tmp_path, name, clear_corner()))).image)
        assert tuple(pixels[1, 1]) == (255, 255, 255)
        assert np.abs(pixels[6, 10].astype(int) - RED).max() <= 8


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [block("RGB", RED), block("RGB", (0, 0, 255))]
    path = saved(tmp_path, "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(read_picture(str(path)).image)[0, 0].astype(int) - RED).max() <= 8


def test_a_picture_stands_upright_and_broken_metadata_turns_nothing(tmp_path):
    for orientation, size in ((6, (12, 8)), (3, (8, 12)), (9, (8, 12)), (0, (8, 12))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = read_picture(str(saved(tmp_path, "a.jpg", block("RGB", RED), exif=exif)))
        assert picture.size == size
        assert picture.orientation == (orientation if orientation in (3, 6) else 1)
    broken = saved(tmp_path, "b.jpg", block("RGB", RED), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read_picture(str(broken)).size == (8, 12)


def test_what_is_no_picture_says_so_in_a_line(tmp_path, monkeypatch):
    whole = saved(tmp_path, "whole.jpg", scene(200, 200))
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:4000])
    saved(tmp_path, "float.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    saved(tmp_path, "deep.tif", Image.fromarray(np.full((4, 4), -5, np.int32)))
    for name, message in (
        ("nothing.png", "no such picture: .*nothing.png"),
        (".", r"a folder is no picture: .*; name its files, such as .*/\*.jpg"),
        ("text.png", "not a picture that Pillow reads"),
        ("empty.png", "not a picture that Pillow reads"),
        ("half.jpg", r"cannot be read \(image file is truncated.*; is the file whole"),
        ("float.tif", "floating-point numbers"),
        ("deep.tif", "beyond 16 bits"),
        ("x" * 300 + ".png", "File name too long|no such picture"),
        ("nul\x00.png", "cannot be read|no such picture"),
    ):
        with pytest.raises(FgbenchError, match=message) as raised:
            read_picture(str(tmp_path / name) if name != "." else str(tmp_path))
        assert len(str(raised.value).splitlines()) == 1
    for limit in (30_000, 10_000):  # beyond the limit Pillow warns, beyond twice of it it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(FgbenchError, match=f"more than {limit:,} pixels: .*; make it smaller"):
            read_picture(str(whole))
