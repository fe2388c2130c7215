"""Rows of one kind in a Parquet file, with their numbers as numbers; and back, without a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.errors import FgbenchError
from fgbench.packages import need
from fgbench.results.decoding import plain_types
from fgbench.results.reading import parse_json, to_json
from fgbench.results.record_base import ABOUT, Status

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"  # the first bytes of such a file
AS_JSON = {b"fgbench": b"JSON"}  # metadata of a column that holds texts of JSON: lists, objects, sizes as 224x448
PART = 10_000  # rows that are read and written at once


def need_parquet() -> None:
    """Raise :class:`FgbenchError` where pyarrow is not installed."""
    need("parquet", "pyarrow")


def to_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file.

    Args:
        rows: Of one kind, as they are exported.

    Returns:
        The file. Its columns are the fields of the rows, whole numbers in 64 bits, others in doubles. Lists, objects
        and the environment are texts of JSON, and so is a column of sizes of which some are no squares.

    Raises:
        FgbenchError: Where a text has half of a character, which no Parquet file can hold.

    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(rows)
    buffer = pa.BufferOutputStream()
    with parquet.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            columns = [_column([row.get(field.name) for row in part], field) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return buffer.getvalue().to_pybytes()  # type: ignore[no-any-return]


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, as JSON has them. Raises :class:`ValueError` for a file that cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            as_json = {field.name for field in file.schema_arrow if (field.metadata or {}) == AS_JSON}
            for part in file.iter_batches(PART):
                for row in part.to_pylist():
                    yield {name: _parsed(value) if name in as_json else value for name, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error


def _parsed(text: str | None) -> Any:
    return None if text is None else parse_json(text)


def _schema(rows: Sequence[Mapping[str, Any]]) -> pyarrow.Schema:
    import pyarrow as pa

    types: dict[Any, Any] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    types[Status] = pa.dictionary(pa.int32(), pa.string())
    plain = {**plain_types(rows[0]["kind"]), **dict(zip(ABOUT, (str, int), strict=True))}
    if any(isinstance(row.get("image_size"), str) for row in rows):
        plain["image_size"] = object
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.schema(
        [
            pa.field(name, types[plain[name]])
            if plain.get(name) in types
            else pa.field(name, pa.string(), metadata=AS_JSON)
            for name in names
        ]
    )


def _column(values: Sequence[Any], field: pyarrow.Field) -> pyarrow.Array:
    import pyarrow as pa

    if field.metadata == AS_JSON:
        values = [None if value is None else to_json(value) for value in values]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError as error:
        what = f"a text of field {field.name!r} has half of a character, which Parquet cannot hold:"
        raise FgbenchError(what, ascii(error.object), "write JSON") from error
