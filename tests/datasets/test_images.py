"""The reader of images: every mode and depth against independent arithmetic, the same in every command."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fgbench.datasets.dataset import FileSplit, decode
from fgbench.datasets.images import TURNS, as_stored, as_upright, read_image, stored_as
from fgbench.errors import FgbenchError
from fgbench.explain.picture import read_picture

RAMP = np.arange(256, dtype=np.int64).reshape(16, 16)  # every shade of 8 bits
WIDE = (RAMP * 257).astype(np.uint16)  # the same of 16


def saved(folder: Path, name: str, image: Image.Image, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def pixels(path: Path) -> np.ndarray:
    """Pixels (h, w, 3) of a file, after a look whether all commands read the same."""
    read = read_image(path).image
    split = FileSplit(path.parent, [path.name], [0])
    others = (read_picture(str(path)).image, decode(path), decode(io.BytesIO(path.read_bytes())), split.open(0))
    for other in others:
        assert (other.mode, other.size, other.tobytes()) == ("RGB", read.size, read.tobytes())
    return np.asarray(read).astype(int)


def refused(path: Path) -> str:
    with pytest.raises(FgbenchError) as raised:
        read_image(path)
    with pytest.raises(FgbenchError):
        decode(io.BytesIO(path.read_bytes()))
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def tiff(
    values: np.ndarray,
    *,
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    order: str = "<",
    subfile: int | None = None,
) -> bytes:
    """An uncompressed TIFF, written by hand: Pillow writes neither signed values nor those of which white is 0."""
    height, width = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if bits == 12:  # two values in three bytes
        flat = values.ravel()
        data = bytes(
            byte
            for a, b in zip(flat[::2].tolist(), flat[1::2].tolist(), strict=True)
            for byte in (a >> 4, (a & 15) << 4 | b >> 8, b & 255)
        )
    entries = [
        *(() if subfile is None else ((254, 4, subfile),)),
        *((256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)),
        *((277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, sample_format)),
    ]
    start = 8 + 2 + 12 * len(entries) + 4
    little = "little" if order == "<" else "big"
    out = (b"II*\0" if order == "<" else b"MM\0*") + (8).to_bytes(4, little) + len(entries).to_bytes(2, little)
    for tag, kind, value in entries:
        shown = (start if tag == 273 else value).to_bytes(4 if kind == 4 else 2, little)
        out += tag.to_bytes(2, little) + kind.to_bytes(2, little) + (1).to_bytes(4, little) + shown.ljust(4, b"\0")
    return out + bytes(4) + data


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("grey.png", Image.fromarray(WIDE)),
        ("grey.tif", Image.fromarray(WIDE)),
        ("grey.jp2", Image.fromarray(WIDE)),
        ("grey.pgm", Image.fromarray(WIDE)),
        ("whole.tif", Image.fromarray(WIDE.astype(np.int32))),
        ("eight.png", Image.fromarray(RAMP.astype(np.uint8))),
    ],
)
def test_a_ramp_of_sixteen_bits_is_the_ramp_of_eight(name, image, tmp_path):
    read = pixels(saved(tmp_path, name, image))
    assert np.abs(read - RAMP[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("order", "values", "bits", "photometric", "expected"),
    [
        ("<", WIDE, 16, 1, RAMP),
        (">", WIDE, 16, 1, RAMP),
        ("<", WIDE, 16, 0, 255 - RAMP),  # white is 0
        ("<", WIDE.astype(np.uint32), 32, 1, RAMP),
        ("<", (RAMP * 4095 // 255).astype(np.uint16), 12, 1, RAMP),
    ],
)
def test_a_tiff_keeps_its_range(order, values, bits, photometric, expected, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(values, bits=bits, photometric=photometric, order=order))
    assert np.abs(pixels(tmp_path / "a.tif") - expected[..., None]).max() <= 1


@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=12))
def test_brightness_is_that_of_the_format_and_not_of_the_image(values):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[*values, 65535]], np.uint16)).save(buffer, "PNG")
    read = np.asarray(decode(buffer))[0, :-1, 0].astype(float)
    assert np.abs(read - np.array(values) / 65535 * 255).max() <= 0.5


@pytest.mark.parametrize("shade", [0, 1000, 65535])
def test_an_image_of_one_shade_keeps_it(shade, tmp_path):
    for kind in (np.uint16, np.int32):
        read = pixels(saved(tmp_path, "a.tif", Image.fromarray(np.full((3, 5), shade, kind))))
        assert np.unique(read).tolist() == [round(shade / 257)]
    assert pixels(saved(tmp_path, "b.png", Image.new("L", (4, 4)))).max() == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16), "floating-point numbers"),
        (np.full((4, 4), np.nan, np.float32), "floating-point numbers"),
        (np.array([[0, np.inf]], np.float32), "floating-point numbers"),
        (np.array([[-1, 5]], np.int32), "beyond 16 bits"),
        (np.array([[0, 65536]], np.int32), "beyond 16 bits"),
        (np.array([[0, 2**31 - 1]], np.int32), "beyond 16 bits"),
        (RAMP.astype(np.int32), "end at 255, and would all be one shade"),
        (RAMP.astype(np.uint16), "end at 255, and would all be one shade"),
        (np.full((2, 2), 7, np.int32), "end at 7"),
    ],
)
def test_what_has_no_range_is_refused(values, said, tmp_path):
    message = refused(saved(tmp_path, "a.tif", Image.fromarray(values)))
    assert said in message
    assert message.endswith("save it with 8 bits, or with values from 0 to 65,535")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("values", "bits"), [((RAMP - 128).astype(np.int8), 8), (RAMP.astype(np.int8), 8), (WIDE.view(np.int16) // 2, 16)]
)
def test_signed_values_have_no_black(values, bits, order, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(values, bits=bits, sample_format=2, order=order))
    assert "signed" in refused(tmp_path / "a.tif")


def test_astronomers_sixteen_bits_are_signed(tmp_path):
    cards = ("SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 16", "NAXIS2  = 16", "END")
    head = "".join(card.replace("= ", "= ".ljust(12)).ljust(80) for card in cards).ljust(2880)
    (tmp_path / "a.fits").write_bytes(head.encode() + (RAMP - 128).astype(">i2").tobytes().ljust(2880, b"\0"))
    assert "signed" in refused(tmp_path / "a.fits")


def test_the_thumbnail_of_a_raw_file_is_not_the_picture(tmp_path):
    plain = tiff(RAMP.astype(np.uint8), bits=8)
    (tmp_path / "a.dng").write_bytes(tiff(RAMP.astype(np.uint8), bits=8, subfile=1))
    assert "a smaller copy of another one): " in refused(tmp_path / "a.dng")
    for page in (0, 2):  # a picture, and a page of several
        (tmp_path / "a.tif").write_bytes(tiff(RAMP.astype(np.uint8), bits=8, subfile=page))
        assert (pixels(tmp_path / "a.tif")[..., 0] == RAMP).all()
    (tmp_path / "a.tif").write_bytes(plain)
    assert (pixels(tmp_path / "a.tif")[..., 0] == RAMP).all()


def fourth_of_a_palette() -> Image.Image:
    image = Image.new("P", (8, 8), 3)
    image.putpalette([0] * 9 + [200, 0, 0])
    return image


@pytest.mark.parametrize(
    ("name", "image", "options", "expected"),
    [
        ("a.png", Image.new("1", (8, 8), 1), {}, (255, 255, 255)),
        ("a.png", Image.new("LA", (8, 8), (50, 0)), {}, (255, 255, 255)),
        ("a.png", Image.new("LA", (8, 8), (50, 255)), {}, (50, 50, 50)),
        ("a.png", Image.new("RGBA", (8, 8), (200, 0, 0, 51)), {}, (244, 204, 204)),  # a fifth of it, on white
        ("a.png", fourth_of_a_palette(), {"transparency": 3}, (255, 255, 255)),
        ("a.png", fourth_of_a_palette(), {}, (200, 0, 0)),
        ("a.gif", fourth_of_a_palette(), {"transparency": 3}, (255, 255, 255)),
        ("a.png", Image.new("L", (8, 8), 9), {"transparency": 9}, (255, 255, 255)),
        ("a.png", Image.new("RGB", (8, 8), (9, 8, 7)), {"transparency": (9, 8, 7)}, (255, 255, 255)),
        ("a.png", Image.new("I;16", (8, 8), 25700), {"transparency": 25700}, (255, 255, 255)),
        ("a.png", Image.new("I;16", (8, 8), 25700), {"transparency": 5}, (100, 100, 100)),
        ("a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {}, (255, 0, 0)),
        ("a.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), {}, (255, 0, 0)),
        ("a.tif", Image.new("YCbCr", (8, 8), (128, 128, 128)), {}, (128, 128, 128)),
        ("a.tif", Image.new("LAB", (8, 8), (255, 128, 128)), {}, (255, 255, 255)),
        ("a.webp", Image.new("RGBA", (8, 8), (0, 0, 0, 0)), {"lossless": True}, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb_on_white(name, image, options, expected, tmp_path):
    read = pixels(saved(tmp_path, name, image, **options))
    assert np.abs(read - np.array(expected)).max() <= 3


def test_photoshops_inverted_cmyk_is_no_negative():
    inverted = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 0, 0, 40)).save(inverted, "JPEG", quality=95)
    assert b"Adobe" in inverted.getvalue()  # its mark: inks are stored as 255 less themselves
    assert np.abs(np.asarray(decode(inverted)).astype(int) - 215).max() <= 2


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif", "a.webp"])
def test_the_first_frame_is_read(name, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    read = pixels(saved(tmp_path, name, frames[0], save_all=True, append_images=frames[1:]))
    assert np.abs(read - np.array((250, 0, 0))).max() <= 8


def deep_png(values: np.ndarray, clear: tuple[int, int, int] | None = None) -> bytes:
    """A PNG of 16 bits per colour (h, w, 3), written by hand; ``clear`` is transparent."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))]
    chunks += [] if clear is None else [(b"tRNS", struct.pack(">3H", *clear))]
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    checked = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(checked)


def test_sixteen_bits_of_colour_lose_their_lower_half(tmp_path):
    (tmp_path / "a.png").write_bytes(deep_png(WIDE[..., None].repeat(3, axis=2)))
    assert np.abs(pixels(tmp_path / "a.png") - RAMP[..., None]).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.tif", "packed.tif"])
def test_colours_of_sixteen_bits_that_end_below_256_would_all_be_black(name, tmp_path):
    def write(largest: int) -> None:
        values = np.minimum(np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 7, largest)
        (tmp_path / "a.png").write_bytes(deep_png(values))
        if name != "a.png":
            deep_tiff(values, tmp_path / name, "tiff_lzw" if name == "packed.tif" else None)

    write(200)
    assert "colours of 16 bits end at 200, and would all be black" in refused(tmp_path / name)
    write(0)
    assert pixels(tmp_path / name).max() == 0  # a black picture is one
    write(300)
    assert pixels(tmp_path / name).max() == 1


def deep_tiff(values: np.ndarray, path: Path, compression: str | None) -> None:
    """A TIFF of 16 bits per colour (h, w, 3): one of 8 bits of three times the width, whose tags are changed."""
    height, width, _ = values.shape
    wide = Image.frombytes("RGB", (width * 2, height), values.astype("<u2").tobytes())
    wide.save(path, compression=compression)
    held = path.read_bytes()
    for kind, form in ((3, "<HHIH"), (4, "<HHII")):  # ImageWidth in 16 or 32 bits
        held = held.replace(struct.pack(form, 256, kind, 1, width * 2), struct.pack(form, 256, kind, 1, width))
    path.write_bytes(held.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 16, 16, 16)))


def test_the_clear_colour_of_sixteen_bits_is_the_one_that_lies_on_white(tmp_path):
    clear, other = (0x1234, 0x5678, 0x9ABC), (0x3412, 0x7856, 0xBC9A)  # the halves of each value exchanged
    (tmp_path / "a.png").write_bytes(deep_png(np.array([[clear, other]]), clear))
    assert pixels(tmp_path / "a.png").tolist() == [[[255, 255, 255], [0x34, 0x78, 0xBC]]]


def marked(orientation: int) -> tuple[Image.Image, Image.Exif]:
    """A picture whose pixels all differ, with its orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)), exif


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg"])
def test_a_picture_stands_upright_in_every_command(name, orientation, tmp_path):
    image, exif = marked(orientation)
    path = saved(tmp_path, name, image, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).astype(int)
    assert np.array_equal(pixels(path), expected)
    assert expected.shape[:2] == ((6, 10) if orientation < 5 else (10, 6))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_tiff_that_pillow_could_map_into_memory_stands_upright(orientation, mode, frames, tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(4, 6) + 100
    image = Image.fromarray(values) if mode != "I;16" else Image.fromarray(values.astype(np.uint16) * 257)
    image = image.convert(mode) if mode == "RGBA" else image
    path = saved(
        tmp_path, "a.tif", image, save_all=True, append_images=[image] * (frames - 1), tiffinfo={274: orientation}
    )
    turned = {3: values[::-1, ::-1], 6: np.rot90(values, -1), 7: values[::-1, ::-1].T}[orientation]
    assert np.array_equal(pixels(path)[..., 0], turned)
    assert stored_as(path) == ((4, 6), orientation)


@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_boxes_of_the_stored_pixels_are_turned_with_the_picture(orientation, tmp_path):
    box = (1.0, 2.0, 4.0, 8.0)
    image, exif = marked(orientation)
    pixel_values = np.asarray(image)[1:4, 2:8]
    path = saved(tmp_path, "a.png", image, exif=exif)
    split = FileSplit(tmp_path, ["a.png"], [0], {"a.png": [box]})
    ((y0, x0, y1, x1),) = split.parts(0)
    inside = np.asarray(split.open(0))[int(y0) : int(y1), int(x0) : int(x1)]
    assert sorted(map(tuple, inside.reshape(-1, 3).tolist())) == sorted(
        map(tuple, pixel_values.reshape(-1, 3).tolist())
    )
    stored, found = stored_as(path)
    assert (stored, found) == ((6, 10), orientation)
    upright = as_upright(box, stored, orientation)
    assert as_stored(upright, split.open(0).size[::-1], orientation) == box


def test_thin_and_tiny_pictures_are_pictures(tmp_path):
    for size in ((1, 1), (1, 3000), (3000, 1)):
        assert read_image(saved(tmp_path, "a.png", Image.new("RGB", size))).image.size == size


def test_too_many_pixels_are_a_line_and_no_warning(tmp_path, monkeypatch):
    path = saved(tmp_path, "a.png", Image.new("L", (40, 40)))
    for limit in (1000, 100):  # beyond the limit Pillow warns, beyond twice of it it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings(record=True) as said:
            assert f"more than {limit:,} pixels" in refused(path)
        assert said == []


def test_damaged_files_say_so_by_name(tmp_path):
    whole = saved(tmp_path, "a.jpg", Image.fromarray(np.arange(120 * 90, dtype=np.uint8).reshape(120, 90)))
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:800])
    (tmp_path / "empty.png").write_bytes(b"")
    assert "truncated" in refused(tmp_path / "half.jpg")
    assert "not a picture that Pillow reads: " in refused(tmp_path / "empty.png")
    with pytest.raises(FgbenchError, match="an image in memory"):
        decode(io.BytesIO(b"no image"))
