"""A page from its parts: Jinja2, with everything escaped that is not made by fgbench itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fgbench.results.escaping import visible
from fgbench_reports.page.content import FigureBlock, Link, Page, Section
from fgbench_reports.page.inlined import Anchors, inline_svg, policy, styles_in, width_px
from fgbench_reports.report import Missing

if TYPE_CHECKING:
    from jinja2 import Environment

PORTION = 500  # lines, as page.js and page.css have it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What tells a table from a figure."""

    kind: str  # "table" or "figure"
    body: str  # HTML of a maker
    alt: str = ""
    below: str = ""  # HTML that a maker has put behind its table: the notes, where the block has none of its own
    width_px: float | None = None  # of a figure, where there is room
    long: bool = False  # has so many lines that the script shows them in portions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    anchor: str
    title: str
    parts: _Parts
    notes: Sequence[str]
    files: Sequence[Link]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gap:
    """What one command would fill."""

    what: Sequence[str]
    why: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    anchor: str
    title: str
    summary: str
    items: Sequence[_Item]
    gaps: Sequence[_Gap]


def to_html(page: Page) -> str:
    """One HTML file: style and script inline, nothing fetched; every name in ``page`` comes out as text.

    Tables and figures are taken as they are. Raises ValueError where a figure is no SVG.
    """
    anchors = Anchors()
    sections = [_section(section, anchors) for section in page.sections if section.items or section.summary]
    script, style = _text("page.js"), _text("page.css")
    figures = [item.parts.body for section in sections for item in section.items if item.parts.kind == "figure"]
    styles = [style, *(text for svg in figures for text in styles_in(svg))]
    template = _environment().from_string(_text("page.html.j2"))
    return template.render(page=page, sections=sections, script=script, style=style, policy=policy(script, styles))


def _section(section: Section, anchors: Anchors) -> _Section:
    anchor = anchors.take(section.name)
    return _Section(
        anchor=anchor,
        title=section.title,
        summary=section.summary,
        items=list(_items(section, anchors)),
        gaps=_gaps(item for item in section.items if isinstance(item, Missing)),
    )


def _items(section: Section, anchors: Anchors) -> Iterator[_Item]:
    for item in section.items:
        if isinstance(item, Missing):
            continue
        anchor = anchors.take(section.name, item.name)
        if isinstance(item, FigureBlock):
            svg = inline_svg(item.svg, anchor)
            parts = _Parts(kind="figure", body=svg, alt=item.alt, width_px=width_px(svg))
        else:
            table, end, notes = item.html.partition("</table>")
            long = table.count("<tr") > 1 + PORTION
            parts = _Parts(kind="table", body=table + end, below="" if item.notes else notes.strip(), long=long)
        yield _Item(anchor=anchor, title=item.title, parts=parts, notes=item.notes, files=item.files)


def _gaps(missing: Iterable[Missing]) -> list[_Gap]:
    """What is missing, a line per command and reason."""
    lines: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        lines.setdefault((one.command, one.why), []).append(one.what)
    return [_Gap(what=what, why=why, command=command) for (command, why), what in lines.items()]


def _leads(link: Link) -> bool:
    """Whether a link may be followed: a path beside the page, or http(s)."""
    try:
        return urlsplit(link.href).scheme in ("", "http", "https")
    except ValueError:
        return False


def _text(name: str) -> str:
    return files("fgbench_reports.page").joinpath(name).read_text(encoding="utf-8")


def _visible(value: object) -> object:
    """What stands in the page as text; HTML of a maker stays as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    environment.tests["followed"] = _leads
    return environment
