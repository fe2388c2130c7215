"""Read rows from files: exports as JSON or CSV, files of rows by section, stores. No torch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError, LeftOutNotice, OnProblem
from fgbench.results.decoding import RowError, is_finite, kind_of, read_row
from fgbench.results.parquet import MAGIC, need_parquet, read_parquet
from fgbench.results.reading import TOO_DEEP, opened, parse_json, read_text
from fgbench.results.records import KINDS, RECORDS, SCHEMA_VERSION, Record
from fgbench.results.store import Store

SECTIONS = {RECORDS[kind].section: kind for kind in KINDS}
ROOFED = ("selection", "backend")  # kinds that are read beside the rates of products and copies
GROUPED = ("selection_quality", "backend")  # kinds of which a stored point holds several rows
SQLITE = b"SQLite format 3\0"
LARGEST_BYTES = 10**9
LONGEST_CELL = 2**31 - 1  # the raw times of a point are one cell
WAIT_S = 5.0  # for a store that another process keeps locked
AGAIN = "export it once more"
WHAT = "rows are JSON or CSV of fgbench flops, throughput and accuracy, kept files of the gallery, and stores"


def rows_of(path: Path, on_problem: OnProblem) -> list[Record]:
    """Read the rows of a file.

    Args:
        path: A JSON, CSV or Parquet file as ``--format`` writes it, a file of rows by section, or a store. It stays as
            it is.
        on_problem: Receives a notice where the file has no rows.

    Returns:
        The rows in the order of the file.

    Raises:
        FgbenchError: One line with the file, the row, the field and its value.

    """
    head = _head(path)
    if head.startswith(SQLITE):
        return rows_of_store(path)
    if head.startswith(MAGIC):
        return _of_parquet(path)
    text = _text(path, head)
    begin = text.lstrip()[:1]
    if begin in ("[", "{"):
        rows = _array(path, _parsed(path, text)) if begin == "[" else _sections(path, _parsed(path, text))
    else:
        rows = _lines(path, text)
    if not rows:
        on_problem(LeftOutNotice("there are no rows in", str(path)))
    return rows


def _of_parquet(path: Path) -> list[Record]:
    """The rows of a Parquet file, all of one kind."""
    need_parquet()
    rows: list[Record] = []
    try:
        for number, row in enumerate(read_parquet(path), 1):
            rows += _decoded(path, _kind(path, row, number), [row], f"row {number}")
    except ValueError as error:
        raise refused(path, f"it is no whole Parquet file: {error}; {AGAIN}") from error
    return rows


def is_store(path: Path) -> bool:
    """Whether a file is a database, as stores are."""
    return _head(path).startswith(SQLITE)


def rows_of_store(path: Path) -> list[Record]:
    """Read the newest row of every point in a store.

    Args:
        path: The store. It stays as it is.

    Returns:
        The rows by kind, in the order in which their points were first measured.

    Raises:
        FgbenchError: For a store that cannot be used, and for a row that does not fit its record.

    """
    rows: list[Record] = []
    with Store(path, wait_s=WAIT_S, read_only=True) as store:
        for kind in KINDS:
            points: Iterable[Mapping[str, Any]] = store.rows(kind)
            if kind in GROUPED:
                points = [row for point in points for row in _rows_of_point(path, kind, point)]
            rows += _decoded(path, kind, points, f"row {{}} of kind {kind}")
    return rows


def _rows_of_point(path: Path, kind: str, point: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a point of one of the kinds in ``GROUPED``."""
    rows = point.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refused(path, f"a point of kind {kind} holds no rows; {WHAT}")
    return [{**row, "environment": point["environment"]} for row in rows]


def refused(path: Path, why: str) -> FgbenchError:
    """The error for a file whose rows cannot be read."""
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


def _array(path: Path, values: list[Any]) -> list[Record]:
    """A JSON array of rows of any kinds."""
    rows: list[Record] = []
    for number, value in enumerate(values, 1):
        kind = _kind(path, value, number)
        rows += _decoded(path, kind, [value], f"row {number}")
    return rows


def _lines(path: Path, text: str) -> list[Record]:
    """A CSV file of rows of any kinds."""
    lines = _csv(path, text)
    header = next(lines, [])
    if not {"kind", *(record.mark for record in RECORDS.values())} & set(header):
        raise refused(path, f"its first line names no column of theirs; {WHAT}")
    if not text.endswith(("\n", "\r")):
        raise refused(path, f"its last line has no end, it may be cut off; {AGAIN}")
    rows: list[Record] = []
    for number, cells in enumerate(filter(None, lines), 1):
        if len(cells) != len(header):
            cut = f"row {number} has {len(cells)} cells and the header {len(header)}, it may be cut off"
            raise refused(path, f"{cut}; {AGAIN}")
        row = dict(zip(header, cells, strict=True))
        kind = _kind(path, {name: cell for name, cell in row.items() if cell}, number)
        rows += _decoded(path, kind, [row], f"row {number}", strict=False)
    return rows


def _csv(path: Path, text: str) -> Iterator[list[str]]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise refused(path, f"it is no whole CSV: {error}; {AGAIN}") from error
    finally:
        csv.field_size_limit(before)


def _sections(path: Path, file: dict[str, Any]) -> list[Record]:
    """A file of rows by section; rows without an environment have that of the file."""
    version = file.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not set(SECTIONS) & set(file):
        raise refused(path, f"it is a JSON object without 'schema_version' and rows; {WHAT}")
    if version > SCHEMA_VERSION:
        raise refused(path, f"its schema_version is {version}, this fgbench knows {SCHEMA_VERSION}; update fgbench")
    environment, roof = file.get("environment") or {}, file.get("roof")
    if not isinstance(environment, dict) or not isinstance(roof, (dict, type(None))):
        raise refused(path, f"its fields 'environment' and 'roof' must be objects; {AGAIN}")
    if not is_finite([environment, roof]):
        raise refused(path, f"its fields 'environment' and 'roof' must hold finite numbers; {AGAIN}")
    rows: list[Record] = []
    for section, kind in SECTIONS.items():
        values = file.get(section) or []
        if not isinstance(values, list):
            raise refused(path, f"its section {section!r} must be a list of rows; {AGAIN}")
        around = {**environment, "roof": roof} if roof and kind in ROOFED else environment
        rows += _decoded(path, kind, values, f"row {{}} of {section!r}", around)
    return rows


def _kind(path: Path, row: Any, number: int) -> str:
    """The kind of a row in a file of rows of any kinds."""
    try:
        kind = kind_of(row) if isinstance(row, dict) else None
    except RowError as error:
        raise refused(path, f"row {number}: {error}; {error.do}") from None
    if kind is None:
        known = ", ".join(record.mark for record in RECORDS.values())
        raise refused(path, f"row {number} is of no kind that is known: it has none of the fields {known}; {WHAT}")
    return kind


def _decoded(
    path: Path,
    kind: str,
    values: Iterable[Any],
    place: str,
    environment: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
) -> Iterator[Record]:
    """Decode rows of one kind; ``place`` names them in errors, such as "row {} of 'flops'"."""
    for number, value in enumerate(values, 1):
        try:
            yield read_row(kind, value, environment or {}, strict=strict)
        except RowError as error:
            where = place.format(number)
            named = "" if kind in where else f" ({kind})"
            raise refused(path, f"{where}{named}: {error}; {error.do}") from None
