"""Words that have to fit into a picture, whatever they hold: measured, wrapped, cut in the middle."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Measure = Callable[[str], float]  # the width of a text, in inches

CUT = "…"


def plain(text: str) -> str:
    """Text in one line that every format can hold: what cannot be printed becomes ``�``."""
    return "".join(
        " " if char.isspace() else char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


@functools.cache
def ruler(size_pt: float, *, bold: bool = False) -> Measure:
    """Measures text in matplotlib's own font at ``size_pt`` points."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size_pt, weight="bold" if bold else "normal")
    renderer: Any = RendererAgg(1, 1, 720)  # type: ignore[no-untyped-call]

    def measure(text: str) -> float:
        with any_script():
            return float(renderer.get_text_width_height_descent(text, font, False)[0]) / 720

    return measure


@contextmanager
def any_script() -> Iterator[None]:
    """Names may be of scripts that the font does not have: they become boxes, and that is no news."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(Glyph|Matplotlib currently does not support)")
        yield


def shortened(text: str, width: float, measure: Measure) -> str:
    """As much of both ends as fits, and ``…`` between them."""
    if measure(text) <= width:
        return text
    low, high = 0, len(text) - 1  # characters that are kept: ``low`` of them fit
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure(_ends(text, kept)) <= width else (low, kept - 1)
    return _ends(text, low)


def _ends(text: str, kept: int) -> str:
    first = (kept + 1) // 2
    return text[:first] + CUT + text[len(text) - (kept - first) :]


def wrapped(text: str, width: float, measure: Measure) -> list[str]:
    """Lines that fit; a word that is wider than a line is broken where it must be."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if measure(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while measure(word) > width and len(word) > 1:
            fits = next((n for n in range(len(word) - 1, 1, -1) if measure(word[:n]) <= width), 1)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines
