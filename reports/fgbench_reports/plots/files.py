"""A drawing as a file: SVG that is the same every time, and PNG."""

from __future__ import annotations

import io
from typing import Any

from fgbench_reports.plots.style import in_style
from fgbench_reports.report import Drawing


def to_svg(drawing: Drawing) -> str:
    """A file of its own, on white; letters are paths, so that it looks the same without the font."""
    return _without_trailing_blanks(saved(drawing, "svg", facecolor="white").decode())


def to_png(drawing: Drawing, dpi: float = 200) -> bytes:
    """A picture on white."""
    return saved(drawing, "png", facecolor="white", dpi=dpi)


def saved(drawing: Drawing, kind: str, *, letters: str = "path", **options: Any) -> bytes:
    """What matplotlib writes, without a date; letters of an SVG are ``path``, or ``none`` for text."""
    import matplotlib as mpl

    file = io.BytesIO()
    with in_style(), mpl.rc_context({"svg.fonttype": letters}):
        drawing.canvas.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None, **options)
    return file.getvalue()


def _without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
