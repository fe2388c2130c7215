"""Texts in pictures: measured, wrapped, and shortened in the middle."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fgbench.results.escaping import log_line, sentence

Measure = Callable[[str], float]  # the width of a text, in inches

CUT = "…"
SLACK = 1.02  # letters are set on whole pixels, which makes lines a little longer at some resolutions


def plain(text: str) -> str:
    """Text in one line that every format of a picture can hold, and a CI may read."""
    return log_line(sentence(text))


@functools.cache
def ruler(size_pt: float, *, bold: bool = False) -> Measure:
    """Measures text in matplotlib's own font at ``size_pt`` points."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size_pt, weight="bold" if bold else "normal")
    renderer: Any = RendererAgg(1, 1, 720)  # type: ignore[no-untyped-call]

    def measure(text: str) -> float:
        with any_script():
            return float(renderer.get_text_width_height_descent(text, font, False)[0]) / 720 * SLACK

    return measure


@contextmanager
def any_script() -> Iterator[None]:
    """Names may be of scripts that the font does not have: they become boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(Glyph|Matplotlib currently does not support)")
        yield


def shortened(text: str, width: float, measure: Measure) -> str:
    """As much of both ends as fits, and ``…`` between them."""
    if measure(text) <= width:
        return text
    return _ends(text, _most(lambda kept: measure(_ends(text, kept)) <= width, 0, len(text) - 1))


def _most(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number up to ``high`` that fits, where ``low`` is taken to."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


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
        while len(word) > 1 and measure(word) > width:
            cut = _most(lambda count, word=word: measure(word[:count]) <= width, 1, len(word) - 1)  # type: ignore[misc]
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line else lines
