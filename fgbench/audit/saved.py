"""Answers of earlier audits, as ``fgbench audit --format json`` writes them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import msgspec

from fgbench.errors import FgbenchError
from fgbench.results.reading import parse_json, read_text
from fgbench.results.records import AuditRow

WHAT = "answers are JSON of 'fgbench audit --format json'"


def read_answers(path: Path) -> list[AuditRow]:
    """Read the rows of a file.

    Raises:
        FgbenchError: One line with the file, the row, and what does not fit.

    """
    try:
        rows = parse_json(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise FgbenchError(f"{path} cannot be read: {error}", do=WHAT) from error
    if not isinstance(rows, list):
        raise FgbenchError(f"{path} holds no array of rows", do=WHAT)
    return [_row(path, number, row) for number, row in enumerate(rows, start=1)]


def _row(path: Path, number: int, row: object) -> AuditRow:
    if not isinstance(row, dict) or row.get("kind") != AuditRow.kind:
        raise FgbenchError(f"{path}, row {number}: it is no row of an audit", do=WHAT)
    known = {each.name for each in fields(AuditRow)}
    try:
        return msgspec.convert({name: value for name, value in row.items() if name in known}, AuditRow)
    except msgspec.ValidationError as error:
        raise FgbenchError(f"{path}, row {number}: {str(error)[:1].lower()}{str(error)[1:]}", do=WHAT) from error
