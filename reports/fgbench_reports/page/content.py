"""The content of a page: sections of tables, figures and missing items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench_reports.report import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file beside the page, or an http(s) address. Any other address is shown as text without a link."""

    label: str
    href: str  # relative path, percent-encoded, or address


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBlock:
    """A table in HTML."""

    name: str
    title: str
    html: str  # <table class="fg-table">… by fgbench, with names escaped
    notes: Sequence[str] = ()
    files: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBlock:
    """A figure in SVG."""

    name: str
    title: str
    svg: str  # <svg class="fg-figure">… by fgbench, with names escaped; an XML prologue is removed
    alt: str  # description of the figure in words
    notes: Sequence[str] = ()
    files: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The content of one report. A section without items and summary is left out."""

    name: str  # for the anchor
    title: str
    summary: str
    items: Sequence[TableBlock | FigureBlock | Missing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page. All of its strings are escaped and shown as text."""

    title: str
    sections: Sequence[Section]
    environments: Sequence[str] = ()  # sentences: measured on …
    conventions: Sequence[str] = ()  # sentences
    rows: Sequence[Link] = ()  # files of raw rows
    sources: Sequence[str] = ()  # sentences on the origin of the rows
    version: str = ""
    made: str = ""  # a time or a revision; empty for a page that is the same every time
