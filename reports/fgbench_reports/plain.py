"""What a report made as plain data, which leaves the process that made it, and back. Nothing of its classes stays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fgbench_reports.folder import File, Made, Rendered
from fgbench_reports.page import FigureBlock, Link, Section, TableBlock
from fgbench_reports.report import Figure, Item, Missing, Table
from fgbench_reports.sweep_rows import as_text
from fgbench_reports.tables.column import is_missing

Plain = dict[str, Any]


def to_plain(made: Made) -> Plain:
    """A report's title, summary and items. A figure has no drawing any more, unless the report is rendered."""
    return {
        "name": made.name,
        "title": _words(made.title),
        "summary": _words(made.summary),
        "items": [_item(item) for item in made.items],
        "rendered": None if made.rendered is None else _rendered(made.rendered),
    }


def from_plain(plain: Mapping[str, Any]) -> Made:
    """The same report. Raises KeyError, TypeError or ValueError for what :func:`to_plain` did not make."""
    drawn = plain["rendered"]
    return Made(
        name=plain["name"],
        title=plain["title"],
        summary=plain["summary"],
        items=[_item_again(item) for item in plain["items"]],
        rendered=None if drawn is None else _rendered_again(drawn),
    )


def _item(item: Item) -> Plain:
    if isinstance(item, Missing):
        return {"missing": {"what": _words(item.what), "command": _words(item.command), "why": _words(item.why)}}
    shared = {"name": _words(item.name), "title": _words(item.title), "notes": [_words(note) for note in item.notes]}
    if isinstance(item, Figure):
        return {"figure": {**shared, "alt": _words(item.alt)}}
    table = {
        **shared,
        "headings": [_words(as_text(heading)) for heading in item.frame.columns],
        "values": [[_value(value) for value in line] for line in item.frame.itertuples(index=False, name=None)],
        "printed": [[_words(cell) for cell in line] for line in item.printed.itertuples(index=False, name=None)],
        "names": [_words(name) for name in item.names],
        "marks": [[int(line), _words(heading), _words(mark)] for (line, heading), mark in item.marks.items()],
    }
    return {"table": table}


def _item_again(plain: Mapping[str, Any]) -> Item:
    if "missing" in plain:
        return Missing(**plain["missing"])
    if "figure" in plain:
        return Figure(**plain["figure"])
    import pandas as pd

    table = dict(plain["table"])
    headings, values, printed = table.pop("headings"), table.pop("values"), table.pop("printed")
    table["frame"] = pd.DataFrame(values, columns=headings, dtype=object)
    table["printed"] = pd.DataFrame(printed, columns=headings, dtype=object)
    table["marks"] = {(line, heading): mark for line, heading, mark in table["marks"]}
    return Table(**table)


def _words(text: str) -> str:
    return str.__str__(text)


def _value(value: Any) -> str | int | float | bool | None:
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


def _rendered(drawn: Rendered) -> Plain:
    blocks = [{"kind": type(block).__name__, **asdict(block)} for block in drawn.section.items]
    section = {"name": drawn.section.name, "title": drawn.section.title, "summary": drawn.section.summary}
    files = [
        {"path": file.path, "text": file.content}
        if isinstance(file.content, str)
        else {"path": file.path, "bytes": base64.b64encode(file.content).decode("ascii")}
        for file in drawn.files
    ]
    return {"section": {**section, "items": blocks}, "files": files}


def _rendered_again(plain: Mapping[str, Any]) -> Rendered:
    section = {**plain["section"], "items": [_block_again(block) for block in plain["section"]["items"]]}
    files = [
        File(path=file["path"], content=file["text"] if "text" in file else base64.b64decode(file["bytes"]))
        for file in plain["files"]
    ]
    return Rendered(section=Section(**section), files=files)


def _block_again(plain: Mapping[str, Any]) -> TableBlock | FigureBlock | Missing:
    kind = {"TableBlock": TableBlock, "FigureBlock": FigureBlock, "Missing": Missing}[plain["kind"]]
    fields = {name: value for name, value in plain.items() if name != "kind"}
    if "files" in fields:
        fields["files"] = [Link(**link) for link in fields["files"]]
    return kind(**fields)  # type: ignore[no-any-return]
