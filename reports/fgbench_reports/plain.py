"""What a report made as plain data, which leaves the process that made it, and back. Nothing of its classes stays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypedDict

from fgbench_reports.folder import File, Made, Rendered
from fgbench_reports.page import FigureBlock, Link, Section, TableBlock
from fgbench_reports.report import Figure, Item, Missing, Table
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.column import is_missing


class PlainTable(TypedDict):
    """A table: its fields, with the headings apart from the cells."""

    name: str
    title: str
    notes: list[str]
    headings: list[str]
    values: list[list[str | int | float | bool | None]]
    printed: list[list[str]]
    names: list[str]
    marks: list[tuple[int, str, str]]  # line, heading, mark


class PlainFigure(TypedDict):
    """A figure, without its drawing."""

    name: str
    title: str
    alt: str
    notes: list[str]


class PlainItem(TypedDict, total=False):
    """An item under the name of its kind."""

    missing: dict[str, str]
    figure: PlainFigure
    table: PlainTable


class PlainSection(TypedDict):
    """A section of a page; a block names its kind."""

    name: str
    title: str
    summary: str
    items: list[dict[str, Any]]


class PlainFile(TypedDict, total=False):
    """A file of a folder: text, or bytes in base 64."""

    path: str
    text: str
    bytes: str


class PlainRendered(TypedDict):
    """A rendered report."""

    section: PlainSection
    files: list[PlainFile]


class PlainReport(TypedDict):
    """A report."""

    name: str
    title: str
    summary: str
    items: list[PlainItem]
    rendered: PlainRendered | None


def to_plain(made: Made) -> PlainReport:
    """A report's title, summary and items. A figure has no drawing any more, unless the report is rendered."""
    return {
        "name": made.name,
        "title": _words(made.title),
        "summary": _words(made.summary),
        "items": [_item(item) for item in made.items],
        "rendered": None if made.rendered is None else _rendered(made.rendered),
    }


def from_plain(plain: PlainReport) -> Made:
    """The same report. Raises KeyError, TypeError or ValueError for what :func:`to_plain` did not make."""
    drawn = plain["rendered"]
    return Made(
        name=plain["name"],
        title=plain["title"],
        summary=plain["summary"],
        items=[_item_again(item) for item in plain["items"]],
        rendered=None if drawn is None else _rendered_again(drawn),
    )


def _item(item: Item) -> PlainItem:
    if isinstance(item, Missing):
        return {"missing": {"what": _words(item.what), "command": _words(item.command), "why": _words(item.why)}}
    name, title, notes = _words(item.name), _words(item.title), [_words(note) for note in item.notes]
    if isinstance(item, Figure):
        return {"figure": {"name": name, "title": title, "notes": notes, "alt": _words(item.alt)}}
    table: PlainTable = {
        "name": name,
        "title": title,
        "notes": notes,
        "headings": [_words(as_text(heading)) for heading in item.frame.columns],
        "values": [[_value(value) for value in line] for line in item.frame.itertuples(index=False, name=None)],
        "printed": [[_words(cell) for cell in line] for line in item.printed.itertuples(index=False, name=None)],
        "names": [_words(name) for name in item.names],
        "marks": [(int(line), _words(heading), _words(mark)) for (line, heading), mark in item.marks.items()],
    }
    return {"table": table}


def _item_again(plain: PlainItem) -> Item:
    if "missing" in plain:
        return Missing(**plain["missing"])
    if "figure" in plain:
        return Figure(**plain["figure"])
    import pandas as pd

    table = plain["table"]
    return Table(
        name=table["name"],
        title=table["title"],
        frame=pd.DataFrame(table["values"], columns=table["headings"], dtype=object),
        printed=pd.DataFrame(table["printed"], columns=table["headings"], dtype=object),
        names=table["names"],
        marks={(line, heading): mark for line, heading, mark in table["marks"]},
        notes=table["notes"],
    )


def _words(text: str) -> str:
    return str.__str__(text)


def _value(value: object) -> str | int | float | bool | None:
    """A value of a table as JSON has it; infinity stands as text, and what is no number as it is printed."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and abs(value) != float("inf"):
        return float.__float__(value)
    return str.__str__(value) if isinstance(value, str) else str(value)


def _rendered(drawn: Rendered) -> PlainRendered:
    section: PlainSection = {
        "name": drawn.section.name,
        "title": drawn.section.title,
        "summary": drawn.section.summary,
        "items": [{"kind": type(block).__name__, **asdict(block)} for block in drawn.section.items],
    }
    return {"section": section, "files": [_file(file) for file in drawn.files]}


def _file(file: File) -> PlainFile:
    if isinstance(file.content, str):
        return {"path": file.path, "text": file.content}
    return {"path": file.path, "bytes": base64.b64encode(file.content).decode("ascii")}


def _rendered_again(plain: PlainRendered) -> Rendered:
    section = plain["section"]
    return Rendered(
        section=Section(
            name=section["name"],
            title=section["title"],
            summary=section["summary"],
            items=[_block_again(block) for block in section["items"]],
        ),
        files=[
            File(path=file["path"], content=file["text"] if "text" in file else base64.b64decode(file["bytes"]))
            for file in plain["files"]
        ],
    )


def _block_again(plain: Mapping[str, Any]) -> TableBlock | FigureBlock | Missing:
    kind = {"TableBlock": TableBlock, "FigureBlock": FigureBlock, "Missing": Missing}[plain["kind"]]
    fields = {name: value for name, value in plain.items() if name != "kind"}
    if "files" in fields:
        fields["files"] = [Link(**link) for link in fields["files"]]
    return kind(**fields)  # type: ignore[no-any-return]
