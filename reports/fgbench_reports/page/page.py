"""Render a page with Jinja2; all text is escaped except for HTML and SVG that fgbench made."""

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

PORTION = 500  # lines; page.js and page.css have the same number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of an item that differ between tables and figures."""

    kind: str  # "table" or "figure"
    body: str  # HTML or SVG
    alt: str = ""
    below: str = ""  # HTML behind the table, with its notes; empty if the block has notes of its own
    width_px: float | None = None  # largest width of a figure
    long: bool = False  # more than PORTION lines, which the script shows step by step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    anchor: str
    title: str
    parts: _Parts
    notes: Sequence[str]
    files: Sequence[Link]


@dataclass(frozen=True, slots=True, kw_only=True)
class _MissingItems:
    """Missing items that one command would add."""

    what: Sequence[str]
    why: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    anchor: str
    title: str
    summary: str
    items: Sequence[_Item]
    missing: Sequence[_MissingItems]


def to_html(page: Page) -> str:
    """The page as one HTML file with inline style and script. Strings of ``page`` are escaped.

    HTML of tables and SVG of figures are not escaped. Raises ValueError if a figure is not SVG.
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
        missing=_missing_items(item for item in section.items if isinstance(item, Missing)),
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


def _missing_items(missing: Iterable[Missing]) -> list[_MissingItems]:
    """Missing items, grouped by command and reason."""
    lines: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        lines.setdefault((one.command, one.why), []).append(one.what)
    return [_MissingItems(what=what, why=why, command=command) for (command, why), what in lines.items()]


def _may_be_followed(link: Link) -> bool:
    """Whether a link may be followed: a path beside the page, or http(s)."""
    try:
        return urlsplit(link.href).scheme in ("", "http", "https")
    except ValueError:
        return False


def _text(name: str) -> str:
    return files("fgbench_reports.page").joinpath(name).read_text(encoding="utf-8")


def _visible(value: object) -> object:
    """Text with control characters made visible; HTML is returned unchanged."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    environment.tests["followed"] = _may_be_followed
    return environment
