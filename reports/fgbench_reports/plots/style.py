"""The look of figures: the same on every machine, at the width of a paper's column, in colours that a page can change.

Lengths are points, 72 to an inch, and a figure has 72 pixels to an inch: a pixel of its canvas is a point.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from fgbench_reports.lettering import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SINGLE, DOUBLE = 252.0, 504.0  # one column of a paper, and both
TEXT = 7.0  # the smallest letters
HEADING_LINE = 9.4  # from line to line of a heading
# Not quite black, grey and white: an SVG inside of a page has the page's own colours in their places.
INK, GRID, PAPER = "#161718", "#dcdde0", "#fdfeff"
MISSING_GLYPH = r"Glyph \d+ .* missing from font"
Style = dict[str, Any]  # arguments of Axes.plot and Line2D, by name
Settings = dict[Any, Any]  # of matplotlib, by name: the stubs of each version know other names
SETTINGS: Settings = {
    **{"svg.hashsalt": "fgbench", "svg.fonttype": "path", "figure.dpi": 72.0, "savefig.dpi": 72.0},
    # Names are data: a $ or _ in them is a letter.
    **{"text.parse_math": False, "axes.formatter.use_mathtext": False},
    **{"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": TEXT},
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "axes.titlesize"), TEXT),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **{"axes.labelsize": TEXT + 0.5, "axes.labelpad": 3.0, "axes.titlelocation": "left", "axes.titlepad": 5.0},
    **{"figure.facecolor": "white", "axes.facecolor": "none", "axes.linewidth": 0.6, "axes.axisbelow": True},
    **{"axes.spines.top": False, "axes.spines.right": False},
    **{"axes.grid": True, "axes.grid.which": "major", "grid.color": GRID, "grid.linewidth": 0.5},
    **{"xtick.major.size": 2.5, "ytick.major.size": 2.5, "xtick.major.width": 0.6, "ytick.major.width": 0.6},
    **{"xtick.minor.size": 0.0, "ytick.minor.size": 0.0, "xtick.major.pad": 2.5, "ytick.major.pad": 2.5},
    **{"lines.linewidth": 1.1, "lines.markersize": 4.5, "lines.markeredgewidth": 0.9},
    **{"legend.frameon": False, "legend.handlelength": 2.6, "legend.handletextpad": 0.5},
    **{"legend.columnspacing": 1.2, "legend.labelspacing": 0.35, "legend.borderpad": 0.0, "legend.borderaxespad": 0.0},
}


@contextmanager
def in_style(settings: Settings = SETTINGS) -> Iterator[None]:
    """Draw and save in here: from matplotlib's defaults, whatever a user has set, and seaborn's clean ones."""
    import matplotlib as mpl
    import seaborn as sns

    with warnings.catch_warnings(), mpl.rc_context(rc=mpl.rcParamsDefault), sns.axes_style("whitegrid"):
        # A name in letters that the font lacks is drawn as boxes; its tooltip, its page and its tables have it.
        warnings.filterwarnings("ignore", message=MISSING_GLYPH)
        with mpl.rc_context(rc=settings):
            yield


def frame(
    *,
    width: float = SINGLE,
    height: float = 150.0,
    panels: int = 1,
    left: float = 40.0,
    right: float = 8.0,
    below: float = 0.0,
    heading: str = "",
    titled: bool = False,
) -> tuple[Canvas, list[Axes]]:
    """A canvas and the axes of panels side by side, each ``height`` high; ``below`` them is room for a legend.

    ``titled`` panels have room for a title of their own.

    The layout is arithmetic, without a search: it is the same for all figures of a kind, and costs no time.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = heading_lines(heading, width - 10)
    top, bottom = 8.0 + (2.6 + HEADING_LINE * len(lines) if lines else 0.0) + (12.0 if titled else 0.0), 28.0 + below
    whole = top + height + bottom
    canvas = Figure(figsize=(width / 72, whole / 72))
    FigureCanvasAgg(canvas)
    gap = left + 6.0
    each = (width - left - right - gap * (panels - 1)) / panels
    places = [(left + index * (each + gap), bottom, each, height) for index in range(panels)]
    axes = [canvas.add_axes((x / width, y / whole, w / width, h / whole)) for x, y, w, h in places]
    for index, line in enumerate(lines):
        place = 1 - (6 + HEADING_LINE * index) / whole
        canvas.text(6 / width, place, line, va="top", fontsize=TEXT + 0.5)
    return canvas, axes


def heading_lines(heading: str, width: float) -> list[str]:
    """A heading in lines of so many points, broken between its parts or their words; a word that is too long is cut."""
    lines: list[str] = []
    for part in heading.split(" · ") if heading else ():
        longer = f"{lines[-1]} · {part}" if lines else part
        if lines and text_width(longer, TEXT + 0.5) <= width:
            lines[-1] = longer
        else:
            lines += wrapped(part, width, TEXT + 0.5)
    return lines


def wrapped(text: str, width: float, size: float = TEXT) -> list[str]:
    """A sentence in lines of so many points, broken between its words; a word that is too long is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fitting(word, width, size))
    return lines


@cache
def text_width(text: str, size: float = TEXT) -> float:
    """The width of a line of text, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=MISSING_GLYPH)
        properties = FontProperties(family="DejaVu Sans", size=size)
        return float(text_to_path.get_text_width_height_descent(text, properties, ismath=False)[0])


def fitting(text: str, width: float, size: float = TEXT + 0.5) -> str:
    """A line of text, cut in the middle where it is too long for so many points: names differ at their ends."""
    return shortened(text, width, lambda some: text_width(some, size))


def import_seaborn_alone() -> None:
    """Import seaborn without scipy, which takes longer than all the rest; for a process that only makes reports.

    Seaborn estimates densities and clusters with scipy where it is there, and no figure here has either.
    """
    if "seaborn" in sys.modules or "scipy" in sys.modules:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import seaborn  # noqa: F401
    finally:
        del sys.modules["scipy"]


@cache
def palette() -> tuple[str, ...]:
    """Seaborn's palette for colour-blind eyes: blue, orange, green, red, pink, brown, light pink, grey, yellow, sky."""
    import seaborn as sns

    return tuple(sns.color_palette("colorblind").as_hex())
