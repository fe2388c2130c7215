"""A drawing as a part of a page: SVG that scales, takes the page's colours, and can be asked what its points are.

``currentColor`` is the ink, ``--fg-grid`` the grid, ``--fg-paper`` the inside of hollow marks. The last group,
``fg-points``, has a transparent circle per point with its text in ``data-text`` and ``aria-label``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from fgbench_reports.plots.style import GRID, INK, PAPER, in_style
from fgbench_reports.report import Drawing, Point
from fgbench_reports.sweep_rows import as_text

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
PAGE_COLOURS = {INK: "currentColor", GRID: "var(--fg-grid)", PAPER: "var(--fg-paper)"}
FONTS = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"  # none is much wider than the first
RADIUS = "7"


def to_svg(drawing: Drawing) -> str:
    """A file of its own, on white; letters are paths, so that it looks the same without the font."""
    return _without_trailing_blanks(saved(drawing, "svg", facecolor="white").decode())


def to_png(drawing: Drawing, dpi: float = 200) -> bytes:
    """A picture on white."""
    return saved(drawing, "png", facecolor="white", dpi=dpi)


def saved(drawing: Drawing, kind: str, *, facecolor: str, letters: str = "path", dpi: float | None = None) -> bytes:
    """What matplotlib writes, without a date; letters of an SVG are ``path``, or ``none`` for text."""
    import matplotlib as mpl

    file = io.BytesIO()
    options: dict[str, Any] = {"facecolor": facecolor} | ({} if dpi is None else {"dpi": dpi})
    with in_style(), mpl.rc_context({"svg.fonttype": letters}):
        drawing.canvas.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None, **options)
    return file.getvalue()


def _without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def svg_for_page(drawing: Drawing, *, label: str) -> str:
    """An ``<svg>`` element for a page, which gives its ids a prefix of their own.

    Letters are text, in a font that the page's reader has. Points outside of their axes are left out.

    Args:
        drawing: A figure on its canvas, and its points.
        label: What it is called for those who do not see it.

    """
    root = ElementTree.fromstring(saved(drawing, "svg", facecolor="none", letters="none"))
    _clean(root)
    size = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"class": "fg-figure", "role": "group", "aria-label": _lines(label), "viewBox": size})
    root.attrib["style"] = f"font-family: {FONTS}; stroke-linejoin: round; stroke-linecap: butt"
    root.append(_points(drawing))
    ElementTree.register_namespace("", SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s*\n\s*<", ">\n<", text).strip()


def _clean(root: ElementTree.Element) -> None:
    """Ids that are referred to stay, others go; so do metadata, and styles that would hold for the page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _name(child) in ("metadata", "style"):
                parent.remove(child)
    referred = set(_references(root))
    for element in root.iter():
        element.tag = f"{{{SVG}}}{_name(element)}"
        own = element.attrib.pop("id", None)
        if own is not None and own in referred:
            element.set("id", own)
        link = element.attrib.pop(f"{{{XLINK}}}href", None)
        if link is not None:
            element.set("href", link)
        for name, value in element.attrib.items():
            if name not in ("id", "href"):
                element.set(name, _in_page_colours(value))
        if _name(element) == "path" and "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        for value in element.attrib.values():
            yield from re.findall(r"url\(#([^)]+)\)", value)
        if link := element.attrib.get(f"{{{XLINK}}}href"):
            yield link.removeprefix("#")


def _in_page_colours(value: str) -> str:
    for colour, name in PAGE_COLOURS.items():
        value = value.replace(colour, name)
    return re.sub(
        r"font-family: [^;]*;\s*|font: (\d[\d.]*px) [^;]*",
        lambda found: f"font-size: {found[1]}" if found[1] else "",
        value,
    )


def _points(drawing: Drawing) -> ElementTree.Element:
    group = ElementTree.Element(f"{{{SVG}}}g", {"class": "fg-points"})
    height = drawing.canvas.bbox.height
    for point in drawing.points:
        place = _place(point)
        if place is None:
            continue
        text = _lines(point.text)
        x, y = f"{place[0]:.2f}", f"{height - place[1]:.2f}"
        shape = {"class": "fg-point", "cx": x, "cy": y, "r": RADIUS, "fill": "transparent"}
        told = {"tabindex": "-1", "role": "img", "aria-label": text, "data-text": text}
        ElementTree.SubElement(group, f"{{{SVG}}}circle", shape | told)
    return group


def _place(point: Point) -> tuple[float, float] | None:
    """Pixels from the lower left corner; None outside of the axes."""
    x, y = (float(value) for value in point.axes.transData.transform((point.x, point.y)))
    box = point.axes.bbox
    inside = box.x0 - 0.5 <= x <= box.x1 + 0.5 and box.y0 - 0.5 <= y <= box.y1 + 0.5  # False for what is no number
    return (x, y) if inside else None


def _lines(text: str) -> str:
    return "\n".join(as_text(line) for line in text.split("\n"))


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
