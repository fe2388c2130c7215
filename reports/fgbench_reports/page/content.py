"""The content of a page: sections of tables, figures and missing items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgbench_reports.report import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file beside the page, or an http(s) address; what is neither is printed and leads nowhere."""

    label: str
    href: str  # relative, percent-encoded where a path needs it


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBlock:
    """A table that is HTML already."""

    name: str
    title: str
    html: str  # of our own makers, names in it escaped: <table class="fg-table">…
    notes: Sequence[str] = ()
    files: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBlock:
    """A figure that is SVG already."""

    name: str
    title: str
    svg: str  # of our own makers, names in it escaped: <svg class="fg-figure">…; an XML prologue is dropped
    alt: str  # what it shows, in words
    notes: Sequence[str] = ()
    files: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one report shows. Without items and summary it is left out."""

    name: str  # of its anchor
    title: str
    summary: str
    items: Sequence[TableBlock | FigureBlock | Missing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page. Every word of it is data, and comes out as text."""

    title: str
    sections: Sequence[Section]
    environments: Sequence[str] = ()  # sentences: measured on …
    conventions: Sequence[str] = ()  # sentences
    rows: Sequence[Link] = ()  # files of raw rows
    sources: Sequence[str] = ()  # where the rows come from, for people
    version: str = ""
    made: str = ""  # a time or a revision; empty where a page is to be the same every time
