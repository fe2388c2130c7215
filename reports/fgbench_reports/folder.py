"""A folder of reports: a page, every table in every format, every figure as SVG and PNG, the rows behind them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fgbench_reports.conventions import conventions, environments
from fgbench_reports.data import KINDS
from fgbench_reports.page import FigureBlock, Link, Page, Section, TableBlock
from fgbench_reports.page import to_html as page_to_html
from fgbench_reports.report import Data, Figure, Item, Missing, Table
from fgbench_reports.tables import formats
from fgbench_reports.tables.numbers import how_many
from fgbench_reports.tables.render import to_json

PAGE = "index.html"
TITLE = "fgbench report"
MAX_LINES = 3000  # of a table, but for its CSV
PASTED = {"md": formats.to_markdown, "tex": formats.to_latex}
LABELS = ("CSV", "Markdown", "LaTeX", "HTML")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one report made of the data."""

    name: str
    title: str
    summary: str
    items: Sequence[Item]
    rendered: Rendered | None = None  # where that was done together


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the folder."""

    path: str  # in the folder, with slashes
    content: str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One report as a section of the page, and its files."""

    section: Section
    files: Sequence[File]


def rendered(made: Made) -> Rendered:
    """Draw a report's figures and write its tables."""
    blocks: list[TableBlock | FigureBlock | Missing] = []
    files: list[File] = []
    for stem, item in zip(_stems(made), made.items, strict=True):
        if isinstance(item, Missing):
            blocks.append(item)
            continue
        block, written = _table(stem, item) if isinstance(item, Table) else _figure(stem, item)
        blocks.append(block)
        files += written
    return Rendered(section=Section(name=made.name, title=made.title, summary=made.summary, items=blocks), files=files)


def folder(parts: Sequence[Rendered], data: Data, *, version: str, made: str) -> Iterator[File]:
    """Every file of the folder; the page comes last, when all that it links to is there."""
    for part in parts:
        yield from part.files
    rows = []
    for kind in KINDS:
        if found := data.of_kind(kind):
            path = f"rows/{kind}.json"
            yield File(path=path, content=to_json(found))
            rows.append(Link(label=f"{kind}: {how_many(len(found), 'row')}", href=path))
    page = Page(
        title=TITLE,
        sections=[part.section for part in parts],
        environments=environments(data),
        conventions=conventions(data),
        rows=rows,
        sources=data.sources,
        version=version,
        made=made,
    )
    yield File(path=PAGE, content=page_to_html(page))


def _stems(made: Made) -> list[str]:
    """The name of each item's files: its own, behind the report's where it does not begin with that."""
    named = [getattr(item, "name", "") for item in made.items]
    return [name if re.match(rf"{re.escape(made.name)}(?![a-z0-9])", name) else f"{made.name}-{name}" for name in named]


def _table(stem: str, table: Table) -> tuple[TableBlock, list[File]]:
    shown = shortened(table, MAX_LINES)  # a document has no room for thousands of lines; the CSV has all
    html = formats.to_html(shown)
    files = [File(path=f"tables/{stem}.csv", content=formats.to_csv(table))]
    files += [File(path=f"tables/{stem}.{suffix}", content=write(shown)) for suffix, write in PASTED.items()]
    files += [File(path=f"tables/{stem}.html", content=html)]
    links = [Link(label=label, href=file.path) for label, file in zip(LABELS, files, strict=True)]
    return TableBlock(name=stem, title=table.title, html=html, notes=shown.notes, files=links), files


def shortened(table: Table, lines: int) -> Table:
    """A table with so many lines at most, and a note that says so."""
    if len(table.frame) <= lines:
        return table
    note = f"These are the first {lines:,} of {len(table.frame):,} lines; the CSV has all."
    return replace(
        table,
        frame=table.frame.head(lines),
        printed=table.printed.head(lines),
        marks={place: mark for place, mark in table.marks.items() if place[0] < lines},
        notes=[note, *table.notes],
    )


def _figure(stem: str, figure: Figure) -> tuple[FigureBlock, list[File]]:
    from fgbench_reports.plots.formats import svg_for_page, to_png, to_svg

    drawing = figure.draw()
    files = [
        File(path=f"figures/{stem}.svg", content=to_svg(drawing)),
        File(path=f"figures/{stem}.png", content=to_png(drawing)),
    ]
    links = [Link(label=label, href=file.path) for label, file in zip(("SVG", "PNG"), files, strict=True)]
    svg = svg_for_page(drawing, label=figure.title)
    block = FigureBlock(name=stem, title=figure.title, svg=svg, alt=figure.alt, notes=figure.notes, files=links)
    return block, files


def tables_of(made: Sequence[Made]) -> list[Table]:
    """The tables of reports, in their order."""
    return [item for each in made for item in each.items if isinstance(item, Table)]


def missing_of(made: Sequence[Made]) -> list[Missing]:
    """What is missing, each once."""
    found = [item for each in made for item in each.items if isinstance(item, Missing)]
    return list(dict.fromkeys(found))


def figures_of(made: Sequence[Made]) -> Collection[Any]:
    """The figures of reports."""
    return [item for each in made for item in each.items if isinstance(item, Figure)]
