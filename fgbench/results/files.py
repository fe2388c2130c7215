"""The files that rows are kept in: exports as JSON or CSV, kept files of the gallery, stores. No torch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.decoding import RowError, is_finite, kind_of, read_row
from fgbench.results.reading import TOO_DEEP, opened, parse_json, read_text
from fgbench.results.records import RECORDS, SCHEMA_VERSION, Record
from fgbench.results.store import Store

Found = list[Record]  # in the order of the file

SECTIONS = {
    "accuracy": "accuracy",
    "quality": "selection_quality",
    "flops": "flops",
    "throughput": "throughput",
    "selections": "selection",
    "backends": "backend",
}
ROOFED = ("selection", "backend")  # kinds that are read beside the rates of products and copies
STORED = ("flops", "throughput", "accuracy", "selection_quality", "selection", "backend")
GROUPED = ("selection_quality", "backend")  # kinds of which a stored point holds several rows
SQLITE = b"SQLite format 3\0"
LARGEST_BYTES = 10**9
LONGEST_CELL = 2**31 - 1  # the raw times of a point are one cell
WAIT_S = 5.0  # for a store that somebody keeps locked
AGAIN = "export it once more"
WHAT = "rows are JSON or CSV of fgbench flops, throughput and accuracy, kept files of the gallery, and stores"


def rows_of(path: Path, on_problem: OnProblem) -> Found:
    """The rows of a file, whatever it is. Raises :class:`FgbenchError`, and leaves the file alone."""
    head = _head(path)
    if head.startswith(SQLITE):
        return rows_of_store(path)
    text = _text(path, head)
    begin = text.lstrip()[:1]
    if begin in ("[", "{"):
        found = _exported(path, _parsed(path, text)) if begin == "[" else _kept(path, _parsed(path, text))
    else:
        found = _lines(path, text)
    if not found:
        on_problem(LeftOutNotice("there are no rows in", str(path)))
    return found


def rows_of_store(path: Path) -> Found:
    """The newest row of every point in a store, or its newest rows: some kinds have several a point."""
    found: Found = []
    with Store(path, wait_s=WAIT_S, read_only=True) as store:
        for kind in STORED:
            points: Iterable[Mapping[str, Any]] = store.rows(kind)
            if kind in GROUPED:
                points = [row for point in points for row in _rows_of_point(path, kind, point)]
            found += _checked(path, kind, points, f"row {{}} of kind {kind}")
    return found


def _rows_of_point(path: Path, kind: str, point: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = point.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refused(path, f"a point of kind {kind} holds no rows; {WHAT}")
    return [{**row, "environment": point["environment"]} for row in rows]


def refused(path: Path, why: str) -> FgbenchError:
    """The error that says why no rows can be had from a file; to be raised."""
    return FgbenchError("cannot read rows from", str(path), why)


def _head(path: Path) -> bytes:
    try:
        with opened(path) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_BYTES:
                raise refused(path, "it is larger than a gigabyte; rows are not")
            head = file.read(4096)
    except FileNotFoundError:
        raise refused(path, "there is no such file") from None
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error
    if not head:
        raise refused(path, f"it is empty; {AGAIN}")
    return head


def _text(path: Path, head: bytes) -> str:
    try:
        if b"\0" in head:
            raise refused(path, f"it is no text; {WHAT}")
        return read_text(path, LARGEST_BYTES, encoding="utf-8-sig")  # Excel writes a mark before the first letter
    except UnicodeDecodeError:
        raise refused(path, f"it is no UTF-8 text; {WHAT}") from None
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error


def _parsed(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        if str(error) == TOO_DEEP:
            raise refused(path, f"{TOO_DEEP}; {WHAT}") from None
        raise refused(path, f"it is no whole JSON: {error}; {AGAIN}") from error


def _exported(path: Path, rows: list[Any]) -> Found:
    """A JSON array of rows of any kinds."""
    found: Found = []
    for number, row in enumerate(rows, 1):
        kind = _kind(path, row, number)
        found += _checked(path, kind, [row], f"row {number}")
    return found


def _lines(path: Path, text: str) -> Found:
    """A CSV file of rows of any kinds."""
    lines = _csv(path, text)
    header = next(lines, [])
    if not {"kind", *(record.mark for record in RECORDS.values())} & set(header):
        raise refused(path, f"its first line names no column of theirs; {WHAT}")
    if not text.endswith(("\n", "\r")):
        raise refused(path, f"its last line has no end, it may be cut off; {AGAIN}")
    found: Found = []
    for number, cells in enumerate(filter(None, lines), 1):
        if len(cells) != len(header):
            cut = f"row {number} has {len(cells)} cells and the header {len(header)}, it may be cut off"
            raise refused(path, f"{cut}; {AGAIN}")
        row = dict(zip(header, cells, strict=True))
        kind = _kind(path, {name: cell for name, cell in row.items() if cell}, number)
        found += _checked(path, kind, [row], f"row {number}", strict=False)
    return found


def _csv(path: Path, text: str) -> Iterator[list[str]]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise refused(path, f"it is no whole CSV: {error}; {AGAIN}") from error
    finally:
        csv.field_size_limit(before)


def _kept(path: Path, kept: dict[str, Any]) -> Found:
    """A file of rows by section, with the environment of those that have none."""
    version = kept.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not set(SECTIONS) & set(kept):
        raise refused(path, f"it is a JSON object without 'schema_version' and rows; {WHAT}")
    if version > SCHEMA_VERSION:
        raise refused(path, f"its schema_version is {version}, this fgbench knows {SCHEMA_VERSION}; update fgbench")
    environment, roof = kept.get("environment") or {}, kept.get("roof")
    if not isinstance(environment, dict) or not isinstance(roof, (dict, type(None))):
        raise refused(path, f"its fields 'environment' and 'roof' must be objects; {AGAIN}")
    if not is_finite([environment, roof]):
        raise refused(path, f"its fields 'environment' and 'roof' must hold finite numbers; {AGAIN}")
    found: Found = []
    for section, kind in SECTIONS.items():
        rows = kept.get(section) or []
        if not isinstance(rows, list):
            raise refused(path, f"its section {section!r} must be a list of rows; {AGAIN}")
        around = {**environment, "roof": roof} if roof and kind in ROOFED else environment
        found += _checked(path, kind, rows, f"row {{}} of {section!r}", around)
    return found


def _kind(path: Path, row: Any, number: int) -> str:
    """The kind of a row of a file of any kinds."""
    try:
        kind = kind_of(row) if isinstance(row, dict) else None
    except RowError as error:
        raise refused(path, f"row {number}: {error}; {error.do}") from None
    if kind is None:
        known = ", ".join(record.mark for record in RECORDS.values())
        raise refused(path, f"row {number} is of no kind that is known: it has none of the fields {known}; {WHAT}")
    return kind


def _checked(
    path: Path,
    kind: str,
    rows: Iterable[Any],
    place: str,
    environment: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        try:
            yield read_row(kind, row, environment or {}, strict=strict)
        except RowError as error:
            where = place.format(number)
            named = "" if kind in where else f" ({kind})"
            raise refused(path, f"{where}{named}: {error}; {error.do}") from None
