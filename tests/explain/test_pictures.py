"""Sheets from fixed arrays, compared with pictures that a person has checked and with the figure's content."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.testing.compare import compare_images
from PIL import Image

from fgbench_reports.lettering import plain, ruler, shortened, wrapped
from fgbench_reports.pictures import COLOUR_MAPS, DPI, FORMATS, Block, Cell, Line, Outline, Sheet, draw, encode

BASELINE = Path(__file__).parent / "baseline" / "sheet.png"
HOSTILE = [
    "<script>alert(1)</script>",
    r"$\frac{a}{b}$ \textbf{x} 50 % _^{",
    "a $ lonely dollar",
    "=1+1",
    "line\nbreak\ttab",
    "nul\x00 bell\x07 esc\x1b[31m",
    "bytes \udcff that are no text",
    "--> ]]> &amp; \" '",
    "漢字 🐦 العربية",
    "x" * 300,
    "",
]


def ramp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, np.full_like(x, 120)], axis=-1).astype(np.uint8)


def heat(height: int = 24, width: int = 24) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.exp(-((y - 6) ** 2 + (x - 15) ** 2) / 30).astype(np.float32)


def fixed() -> Sheet:
    wide, tall, seen = ramp(60, 90), ramp(80, 50), (10.0, 10.0, 50.0, 80.0)
    crop = Outline(box=(15.0, 40.0, 35.0, 70.0))
    first = [
        Cell(pixels=wide, outlines=[Outline(box=seen, thin=True, dashed=True)], under="class 3 (57 %)"),
        Cell(pixels=wide, heat=heat(), seen=seen, outlines=[crop]),
        Cell(pixels=wide[15:35, 40:70], frame="#e69f00"),
        Cell(words="left out"),
    ]
    second = [
        Cell(pixels=tall, size=(160.0, 100.0)),
        Cell(pixels=tall, size=(160.0, 100.0), heat=heat(), seen=(20.0, 0.0, 140.0, 100.0)),
        Cell(pixels=tall, seen=(0.0, 0.0, 80.0, 50.0), words="all patches score alike"),
        Cell(),
    ]
    return Sheet(
        headings=["picture", "psm", "crop", "maws"],
        blocks=[
            Block(title="vit on a backbone", lines=[Line(label="wide.jpg", cells=first)]),
            Block(title="", lines=[Line(label="tall.png", cells=second)]),
        ],
        warning="RANDOM WEIGHTS: nothing was learned.",
        caption=[
            "A paragraph that is long enough to be wrapped at the end of its first line, as it has many words.",
            "Two.",
        ],
    )


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_a_sheet_looks_as_it_did_when_somebody_looked(tmp_path):
    made = tmp_path / "sheet.png"
    made.write_bytes(encode(draw(fixed(), 80), "png"))
    if os.environ.get("FGBENCH_UPDATE_SNAPSHOTS"):
        BASELINE.write_bytes(made.read_bytes())
    assert compare_images(str(BASELINE), str(made), tol=8) is None  # other FreeTypes set letters a little differently


def test_the_comparison_would_notice_a_box_that_moved(tmp_path):
    made, sheet = tmp_path / "sheet.png", fixed()
    line = sheet.blocks[0].lines[0]
    moved = replace(line.cells[1], seen=(20.0, 20.0, 60.0, 90.0))
    blocks = [replace(sheet.blocks[0], lines=[replace(line, cells=[line.cells[0], moved, *line.cells[2:]])])]
    made.write_bytes(encode(draw(replace(sheet, blocks=[*blocks, sheet.blocks[1]]), 80), "png"))
    assert compare_images(str(BASELINE), str(made), tol=8) is not None


def test_every_format_opens_says_what_it_is_and_is_the_same_every_time():
    about = "RANDOM WEIGHTS <b> & $x$ 漢\x00"
    made = {name: encode(draw(fixed(), 60), name, about) for name in FORMATS}
    assert made == {name: encode(draw(fixed(), 60), name, about) for name in FORMATS}
    with Image.open(io.BytesIO(made["png"])) as image:
        assert image.size == tuple(round(side * 60) for side in draw(fixed()).get_size_inches())
        assert image.info["Description"] == plain(about)
    root = ElementTree.fromstring(made["svg"])
    assert plain(about) in [node.text for node in root.iter() if node.tag.endswith("description")]
    assert made["pdf"].startswith(b"%PDF-")
    assert made["pdf"].rstrip().endswith(b"%%EOF")
    assert b"/Subject" in made["pdf"]
    assert b"/Type3" not in made["pdf"]


def test_names_come_out_as_text_in_every_place_and_format():
    def cells(name: str) -> list[Cell]:
        return [Cell(pixels=ramp(20, 30), under=name, words=name), Cell(words=name)]

    blocks = [Block(title=name, lines=[Line(label=name, cells=cells(name))]) for name in HOSTILE]
    everything = " ".join(HOSTILE)
    sheet = Sheet(headings=HOSTILE, blocks=blocks, warning=everything, caption=HOSTILE)
    figure = draw(sheet, 50)
    shown = words(figure)
    for name in HOSTILE:
        assert shown.count(plain(name)) >= 2 or len(name) > 20 or not name, "its title and its heading"
    for name in HOSTILE[:2]:
        assert "".join(name.split()) in "".join("".join(shown).split())
    assert all(char == "\n" or char.isprintable() for text in shown for char in text)
    assert not any(text.get_parse_math() or text.get_usetex() for text in figure.texts)
    made = {format_: encode(figure, format_, everything) for format_ in FORMATS}
    root = ElementTree.fromstring(made["svg"])
    assert not [node for node in root.iter() if node.tag.endswith("}script")]
    assert plain(everything) in [node.text for node in root.iter()]
    with Image.open(io.BytesIO(made["png"])) as image:
        assert image.info["Description"] == plain(everything)


def test_words_stay_inside_of_the_figure():
    long = "a_file_name_without_any_blank_" * 9
    cells = [Cell(pixels=ramp(20, 30), under=long), Cell(words=long)]
    sheet = Sheet(
        headings=[long, long],
        blocks=[Block(title=long, lines=[Line(label=long, cells=cells)])],
        warning=long,
        caption=[long, "W" * 400, "many words " * 60],
    )
    figure = draw(sheet, 100)
    renderer = figure.canvas.get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.height + 1, text


def test_a_cell_keeps_the_aspect_ratio_of_its_picture():
    shapes = [(20, 30), (90, 20), (5, 200)]
    lines = [Line(label="", cells=[Cell(pixels=ramp(*shape)), Cell(pixels=ramp(40, 40))]) for shape in shapes]
    figure = draw(Sheet(headings=["a", "b"], blocks=[Block(title="", lines=lines)]))
    drawn = [axes.get_window_extent() for axes in figure.axes]
    for shape, window in zip(shapes, drawn[::2], strict=True):
        assert window.height / window.width == pytest.approx(shape[0] / shape[1], rel=1e-6)
    for window in drawn[1::2]:
        assert window.height == pytest.approx(window.width)


def test_without_heat_there_is_no_colour_bar_and_without_a_size_that_can_be_drawn_no_sheet():
    plain_sheet = Sheet(headings=["a"], blocks=[Block(title="", lines=[Line(label="", cells=[Cell(words="no")])])])
    assert "lowest" not in words(draw(plain_sheet))
    assert "lowest" in words(draw(fixed()))
    many = [Line(label="", cells=[Cell(pixels=ramp(9, 9))])] * 300
    with pytest.raises(ValueError, match="300 lines of 1 pictures are larger"):
        draw(replace(plain_sheet, blocks=[Block(title="", lines=many)]), 4 * DPI)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_colour_maps_grow_brighter_from_end_to_end(name):
    """So that heat is read the right way round when it is printed in grey."""
    import matplotlib as mpl

    colours = mpl.colormaps[name](np.linspace(0, 1, 64))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_text_is_cut_in_the_middle_and_wrapped_where_it_must_be():
    measure = len
    assert shortened("abcdefghij", 10, measure) == "abcdefghij"
    assert shortened("abcdefghij", 5, measure) == "ab…ij"
    assert shortened("abcdefghij", 1, measure) == "…"
    assert wrapped("one two three", 7, measure) == ["one two", "three"]
    assert wrapped("abcdefghijk xy", 4, measure) == ["abcd", "efgh", "ijk", "xy"]
    assert wrapped("  ", 4, measure) == []
    assert ruler(7.0)("wide words") < ruler(7.0, bold=True)("wide words")
    assert plain("nul\x00 bell\x07 esc\x1b[31m") == r"nul\x00 bell\x07 esc\x1b[31m"


def test_heat_has_the_same_colours_in_every_format():
    """A vector format holds pictures of its own, put together by other code than a PNG is."""
    cell = Cell(pixels=ramp(64, 64), heat=np.full((8, 8), 1.0) * np.linspace(0, 1, 8), seen=(0.0, 0.0, 64.0, 64.0))
    sheet = Sheet(headings=["a"], blocks=[Block(title="", lines=[Line(label="", cells=[cell])])])
    figure = draw(sheet, 100)
    window = figure.axes[0].get_window_extent()
    with Image.open(io.BytesIO(encode(figure, "png"))) as image:
        box = (window.x0, image.height - window.y1, window.x1, image.height - window.y0)
        expected = np.asarray(image.convert("RGB").crop([round(side) for side in box]), dtype=float)
    root = ElementTree.fromstring(encode(figure, "svg"))
    held = next(
        value for node in root.iter() for key, value in node.items() if key.endswith("href") and "base64" in value
    )
    with Image.open(io.BytesIO(base64.b64decode(held.partition(",")[2]))) as image:
        flipped = image.convert("RGB").resize(expected.shape[1::-1])
        made = np.asarray(flipped, dtype=float)
    either_way = min(np.abs(made - expected).mean(), np.abs(made[::-1] - expected).mean())  # stored bottom up
    assert either_way < 6
