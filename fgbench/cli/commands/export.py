"""``fgbench export``: saved rows as JSON, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fgbench.cli.errors import problems_told
from fgbench.cli.options import SavedRowsOptions
from fgbench.errors import FgbenchError
from fgbench.options import FORMAT, MODELS, OUTPUT, argument, one_of, some_of, switch
from fgbench.results.output import check_output, emit_as, emit_bytes
from fgbench.results.parquet import need_parquet
from fgbench.results.records import KINDS, Record
from fgbench.values import choice, output_format

FORMATS = ("json", "csv", "parquet")
OF_ONE_KIND = {"csv": "CSV", "parquet": "Parquet"}  # formats whose files hold rows of one kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Which rows to export, and how."""

    kinds: Annotated[
        Sequence[str],
        argument(
            "[KIND…]",
            ", ".join(KINDS),
            several=True,
            default="all",
            read=some_of("row kind", KINDS),
        ),
    ] = KINDS
    models: Annotated[Sequence[str] | None, MODELS.but(help="only rows of these models")] = None
    by_section: Annotated[
        bool, switch("--by-section", "JSON with a list per kind and the shared environment written once")
    ] = False
    format: Annotated[
        str | None,
        FORMAT.but(
            help="json, csv or parquet; by default the suffix of --output, or json", read=one_of("format", FORMATS)
        ),
    ] = None
    output: Annotated[Path | None, OUTPUT] = None

    @property
    def style(self) -> str:
        """The format: what was asked for, the one of the file's suffix, or JSON."""
        if self.format is not None or self.output is None or not self.output.suffix:
            return self.format or "json"
        if self.output.suffix == ".parquet":
            return "parquet"
        return choice(output_format(None, self.output), "format", FORMATS)

    def check(self) -> None:
        """Refuse formats that rows are not exported in, and what cannot be written."""
        if self.style in OF_ONE_KIND and self.by_section:
            raise FgbenchError("--by-section is for JSON, and this is", self.style, "leave one of them out")
        if self.style == "parquet":
            need_parquet()
            if self.output is None:
                raise FgbenchError("Parquet is no text; name a file with", "--output", "such as rows.parquet")
        check_output(self.output)


def export(request: ExportRequest, saved: SavedRowsOptions) -> None:
    """Write saved rows as JSON, CSV or Parquet: of a store, of files, or of both.

    'fgbench report --rows FILE' reads the file back. A JSON file may hold rows of several kinds, the others of one.
    """
    from fgbench.cli.saved import of_kind, read_rows
    from fgbench.results.export import by_section, exported
    from fgbench.results.parquet import to_parquet
    from fgbench_reports.pages import as_text
    from fgbench_reports.tables import render

    with problems_told() as problems:
        every, sources = read_rows(saved.store, saved.files, problems.append)
        rows = [row for kind in request.kinds for row in of_kind(kind, every)]
        if request.models is not None:
            rows = [row for row in rows if row.get("model") in request.models]
        if not rows:
            raise _nothing(request, sources)
        if request.style == "parquet":
            assert request.output is not None
            emit_bytes(to_parquet([exported(row) for row in _one_kind(rows, request.style)]), request.output)
            return
        if request.style == "csv":
            text = render.to_csv([exported(row) for row in _one_kind(rows, request.style)])
        elif request.by_section:
            text = as_text(by_section(rows))
        else:
            text = render.to_json([exported(row) for row in rows])
        emit_as(request.style, text, request.output)


def _one_kind(rows: Sequence[Record], style: str) -> Sequence[Record]:
    """The rows, where they are of one kind. Raises FgbenchError."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    if len(kinds) > 1:
        do = "name one of them, or write JSON"
        raise FgbenchError(
            f"a {OF_ONE_KIND[style]} file holds rows of one kind, and there are {len(kinds)}:", ", ".join(kinds), do
        )
    return rows


def _nothing(request: ExportRequest, sources: Sequence[str]) -> FgbenchError:
    if not sources:
        return FgbenchError("there is no store to export", do="name one with --store, or files with --rows")
    kinds = " or ".join(request.kinds) if len(request.kinds) < len(KINDS) else "any kind"
    models = f" of model {' or '.join(request.models)}" if request.models else ""
    return FgbenchError(f"there are no rows of {kinds}{models} in", ", ".join(sources))
