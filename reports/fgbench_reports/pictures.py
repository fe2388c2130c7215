"""Drawing of sheets: pictures with heat maps, boxes and crops, and a caption. No torch."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from fgbench_reports.lettering import any_script, plain, ruler, shortened, wrapped
from fgbench_reports.plots.style import Settings, Style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]
    Heat: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

Box = tuple[float, float, float, float]  # y0, x0, y1, x1 in pixels of the cell's picture, ends exclusive

COLOUR_MAPS = ("cividis", "gray", "inferno", "magma", "plasma", "viridis")  # perceptually uniform, also in grey
COLOUR_MAP, ALPHA = "plasma", 0.55
FORMATS = ("png", "svg", "pdf")
OUTLINES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # Okabe and Ito

# Inches.
CELL, GAP, MARGIN, LABEL = 1.25, 0.05, 0.08, 0.19
HEADING, TITLE, UNDER, LINE, SPACE = 0.19, 0.25, 0.14, 0.125, 0.08
LOWEST, HIGHEST = 0.5 * CELL, 1.5 * CELL  # heights of a row
NARROWEST = 4.6  # width of a sheet, at least: the caption needs it
BAR_WIDTH, BAR_HEIGHT = 0.9, 0.08

POINTS = {"heading": 8.0, "title": 8.0, "small": 6.5, "caption": 7.0}
DPI = 200
PALE = 0.65  # opacity of the white over the area that the network does not see
LIGHTER = 0.2  # share of white in the grey picture below a heat map
MOST_PIXELS = 2**16 - 1  # pixels of a side that matplotlib can fill
SETTINGS: Settings = {
    "svg.hashsalt": "fgbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3 fonts
    "text.parse_math": False,  # names may contain dollar signs
    "text.usetex": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A box that is drawn on a picture."""

    box: Box
    colour: str = "white"
    thin: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A picture with its heat map, boxes and words; without a picture, words alone."""

    pixels: Pixels | None = None  # (h, w, 3)
    size: tuple[float, float] | None = None  # height and width in the unit of the boxes; (h, w) by default
    heat: Heat | None = None  # (a, b) over ``seen``, coloured from its lowest to its highest value
    seen: Box | None = None  # the area that the network sees; the rest is pale, and the picture below heat is grey
    outlines: Sequence[Outline] = ()
    frame: str | None = None  # colour of a frame around the cell
    words: str = ""  # words on the picture, or instead of it
    under: str = ""

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width."""
        if self.size is not None:
            return self.size
        return (1.0, 1.0) if self.pixels is None else self.pixels.shape[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of cells with the height of its first cell."""

    label: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of cells below a title."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The content of a drawing. Words are shown literally; they contain no markup."""

    headings: Sequence[str]
    blocks: Sequence[Block]
    warning: str = ""  # in red above the caption
    caption: Sequence[str] = ()  # paragraphs
    colour_map: str = COLOUR_MAP
    alpha: float = ALPHA  # opacity of the heat
    about: str = ""  # for the file's metadata

    @property
    def has_heat(self) -> bool:
        """Whether a cell has heat, so that a colour bar is needed."""
        return any(cell.heat is not None for block in self.blocks for line in block.lines for cell in line.cells)


def draw(sheet: Sheet, dpi: int = DPI) -> Figure:
    """Draw the sheet on a new canvas with ``dpi`` pixels per inch.

    Raises ValueError if a picture cannot be so large.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style(), any_script():
        width = max(NARROWEST, 2 * MARGIN + LABEL + len(sheet.headings) * (CELL + GAP) - GAP)
        paragraphs = _caption_lines(sheet, width - 2 * MARGIN)
        height = _height(sheet, len(paragraphs))
        if max(width, height) * dpi > MOST_PIXELS:
            lines = sum(len(block.lines) for block in sheet.blocks)
            raise ValueError(f"{lines} lines of {len(sheet.headings)} pictures are larger than one picture can be")
        figure = Figure(figsize=(width, height), dpi=dpi)
        FigureCanvasAgg(figure)
        page = _Page(figure, width, height)
        top = MARGIN
        for column, heading in enumerate(sheet.headings):
            fitting = shortened(plain(heading), CELL, ruler(POINTS["heading"]))
            page.write(_left(column) + CELL / 2, top + HEADING / 2, fitting, POINTS["heading"], align="center")
        top += HEADING
        for block in sheet.blocks:
            top = _draw_block(page, block, sheet, top)
        _draw_caption(page, sheet, paragraphs, top + SPACE - GAP)
        return figure


def encode(figure: Figure, format_: str, about: str = "") -> bytes:
    """The bytes of a file, equal for equal input; ``about`` is written into its metadata."""
    words = plain(about)
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": "fgbench", "Description": words},
        "svg": {"Date": None, "Creator": "fgbench", "Description": words},
        "pdf": {"CreationDate": None, "Creator": "fgbench", "Subject": words},
    }
    file = io.BytesIO()
    with _style(), any_script():
        figure.savefig(file, format=format_, metadata=metadata[format_])
    return file.getvalue()


class _Page:
    """A canvas with positions in inches from its upper left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """New axes without ticks, frame and labels."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set_axis_off()
        return axes

    def write(
        self, left: float, middle: float, text: str, points: float, *, align: str = "left", **how: object
    ) -> None:
        """Write one line of text."""
        style: Style = {"ha": align, "va": "center", "fontsize": points, "color": "black"} | how
        self.figure.text(left / self.width, 1 - middle / self.height, text, parse_math=False, **style)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(rc=mpl.rcParamsDefault), mpl.rc_context(rc=SETTINGS):
        yield


def _left(column: int) -> float:
    return MARGIN + LABEL + column * (CELL + GAP)


def _line_height(line: Line) -> float:
    first = next((cell for cell in line.cells if cell.pixels is not None), None)
    tall, wide = (1.0, 1.0) if first is None else first.extent
    return min(max(CELL * tall / wide, LOWEST), HIGHEST)


def _under(line: Line) -> float:
    return UNDER if any(cell.under for cell in line.cells) else 0.0


def _height(sheet: Sheet, caption_lines: int) -> float:
    height = 2 * MARGIN + HEADING + SPACE - GAP + caption_lines * LINE + (LINE + SPACE / 2) * sheet.has_heat
    for block in sheet.blocks:
        height += (TITLE if block.title else 0) + sum(_line_height(line) + _under(line) + GAP for line in block.lines)
    return height


def _draw_block(page: _Page, block: Block, sheet: Sheet, top: float) -> float:
    if block.title:
        title = shortened(plain(block.title), page.width - 2 * MARGIN, ruler(POINTS["title"], bold=True))
        page.write(MARGIN, top + TITLE / 2, title, POINTS["title"], weight="bold")
        top += TITLE
    for line in block.lines:
        height = _line_height(line)
        label = shortened(plain(line.label), height, ruler(POINTS["small"]))
        page.write(MARGIN + LABEL / 2, top + height / 2, label, POINTS["small"], align="center", rotation=90)
        for column, cell in enumerate(line.cells):
            _draw_cell(page, cell, sheet, (_left(column), top, CELL, height))
        top += height + _under(line) + GAP
    return top


def _draw_cell(page: _Page, cell: Cell, sheet: Sheet, slot: tuple[float, float, float, float]) -> None:
    left, top, width, height = slot
    if cell.under:
        fitting = shortened(plain(cell.under), width, ruler(POINTS["small"]))
        page.write(left + width / 2, top + height + UNDER / 2, fitting, POINTS["small"], align="center")
    if cell.pixels is None:
        _draw_words(page, cell.words, slot, colour="0.45", boxed=False)
        return
    tall, wide = cell.extent
    scale = min(width / wide, height / tall)
    inner = (left + (width - wide * scale) / 2, top + (height - tall * scale) / 2, wide * scale, tall * scale)
    axes = page.axes(*inner)
    pixels = cell.pixels if cell.seen is None else _grey(cell.pixels)
    axes.imshow(pixels, extent=(0, wide, tall, 0), aspect="auto")
    if cell.heat is not None:
        y0, x0, y1, x1 = cell.seen or (0.0, 0.0, tall, wide)
        axes.imshow(_coloured(cell.heat, sheet), extent=(x0, x1, y1, y0), aspect="auto")
    axes.set_xlim(0, wide)
    axes.set_ylim(tall, 0)
    if cell.seen is not None:
        _pale(axes, cell.seen, (tall, wide))
    for outline in cell.outlines:
        _draw_outline(axes, outline)
    if cell.frame is not None:
        _draw_outline(axes, Outline(box=(0.0, 0.0, tall, wide), colour=cell.frame))
    if cell.words:
        _draw_words(page, cell.words, inner, colour="black", boxed=True)


def _grey(pixels: Pixels) -> Pixels:
    """A grey, lighter copy of a picture, so that the colours of a heat map over it are visible in dark areas."""
    import numpy as np

    brightness = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    lighter = (brightness * (1 - LIGHTER) + 255 * LIGHTER).round().astype(np.uint8)
    return np.repeat(lighter[..., None], 3, axis=-1)


def _coloured(heat: Heat, sheet: Sheet) -> Pixels:
    """Heat (a, b) → colours (a, b, 4) with opacity ``alpha``; matplotlib's own ``alpha`` acts twice in SVG and PDF."""
    import matplotlib as mpl
    import numpy as np

    low, high = float(heat.min()), float(heat.max())
    share = (heat - low) / (high - low if high > low else 1.0)
    colours = mpl.colormaps[sheet.colour_map](share, alpha=sheet.alpha)
    return np.asarray((colours * 255).round(), dtype=np.uint8)


def _pale(axes: Axes, seen: Box, size: tuple[float, float]) -> None:
    """Draw white outside of a box, as one shape with a hole: several shapes would have visible seams."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    y0, x0, y1, x1 = seen
    tall, wide = size
    if (y0, x0, y1, x1) == (0, 0, tall, wide):
        return
    around = [(0, 0), (wide, 0), (wide, tall), (0, tall), (0, 0)]
    hole = [(x0, y0), (x0, y1), (x1, y1), (x1, y0), (x0, y0)]  # in the opposite direction, as a hole must be
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    shape = Path([*around, *hole], [*codes, *codes])
    axes.add_patch(PathPatch(shape, facecolor="white", alpha=PALE, linewidth=0))


def _draw_outline(axes: Axes, outline: Outline) -> None:
    """Draw a coloured line over a wider dark one, visible on light and dark pictures."""
    from matplotlib.patches import Rectangle

    y0, x0, y1, x1 = outline.box
    line = 0.7 if outline.thin else 1.3
    dashes = (0, (3, 2)) if outline.dashed else "solid"
    for colour, width, style in (("black", line + 0.8, "solid"), (outline.colour, line, dashes)):
        rectangle = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width, clip_on=False)
        rectangle.set_linestyle(style)  # type: ignore[arg-type]
        axes.add_patch(rectangle)


def _draw_words(page: _Page, words: str, slot: tuple[float, float, float, float], *, colour: str, boxed: bool) -> None:
    left, top, width, height = slot
    measure = ruler(POINTS["small"])
    most = max(1, int(height / LINE))
    lines = wrapped(plain(words), 0.94 * width, measure)
    if len(lines) > most:
        lines = [*lines[: most - 1], shortened(" ".join(lines[most - 1 :]), 0.94 * width, measure)]
    style: Style = {"color": colour, "linespacing": 1.1}
    if boxed:
        style["bbox"] = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5}
    page.write(left + width / 2, top + height / 2, "\n".join(lines), POINTS["small"], align="center", **style)


def _caption_lines(sheet: Sheet, width: float) -> list[tuple[str, bool]]:
    """Lines of the caption; True for lines of the warning."""
    loud, soft = ruler(POINTS["caption"], bold=True), ruler(POINTS["caption"])
    lines = [(line, True) for line in wrapped(plain(sheet.warning), width, loud)]
    return lines + [(line, False) for words in sheet.caption for line in wrapped(plain(words), width, soft)]


def _draw_caption(page: _Page, sheet: Sheet, lines: Sequence[tuple[str, bool]], top: float) -> None:
    if sheet.has_heat:
        _draw_colour_bar(page, sheet, top)
        top += LINE + SPACE / 2
    for text, loud in lines:
        how: Style = {"weight": "bold", "color": "#b00020"} if loud else {}
        page.write(MARGIN, top + LINE / 2, text, POINTS["caption"], **how)
        top += LINE


def _draw_colour_bar(page: _Page, sheet: Sheet, top: float) -> None:
    import numpy as np

    lowest, highest = "lowest", "highest score of each map"
    start = MARGIN + ruler(POINTS["caption"])(lowest) + GAP
    axes = page.axes(start, top + (LINE - BAR_HEIGHT) / 2, BAR_WIDTH, BAR_HEIGHT)
    axes.imshow(_coloured(np.linspace(0, 1, 256)[None], sheet), aspect="auto")
    page.write(MARGIN, top + LINE / 2, lowest, POINTS["caption"])
    page.write(start + BAR_WIDTH + GAP, top + LINE / 2, highest, POINTS["caption"])
