"""``fgbench audit``: whether models keep what everybody takes for granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fgbench.audit.request import AuditRequest
from fgbench.cli.checks import check_checkpoint, check_model_options, check_names
from fgbench.cli.errors import problems_told
from fgbench.cli.options import OutputOptions, ReductionOptions
from fgbench.errors import CheckFailedError, FgbenchError
from fgbench.options import OUTPUT_SECTION, many, one
from fgbench.results.output import check_output, emit, emit_as, prints_on_stderr
from fgbench.results.reading import read_text
from fgbench.results.records import AuditRow

BLOCK = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the table holds beside the new answers, and a page that gets it as well."""

    rows: Annotated[
        Sequence[str],
        many("--rows", "answers of earlier audits, as JSON, which stand before the new ones", "FILE…"),
        OUTPUT_SECTION,
    ] = ()
    fill: Annotated[
        Path | None,
        one("--fill", f"a Markdown page, whose block {BLOCK!r} gets the table as well", "PAGE", read=Path),
        OUTPUT_SECTION,
    ] = None

    def check(self) -> None:
        """Refuse what cannot be written. Raises :class:`FgbenchError`."""
        check_output(self.fill)

    def earlier(self) -> list[AuditRow]:
        """The rows of earlier audits. Raises :class:`FgbenchError` where a file cannot be read."""
        from fgbench.audit.saved import read_answers

        return [row for path in self.rows for row in read_answers(Path(path))]

    def page(self) -> str | None:
        """The page as it is. Raises :class:`FgbenchError` where it cannot be read."""
        if self.fill is None:
            return None
        try:
            return read_text(self.fill)
        except (OSError, UnicodeDecodeError) as error:
            raise FgbenchError(f"the page {self.fill} cannot be read: {error}") from error


def audit(request: AuditRequest, options: TableOptions, reduction: ReductionOptions, output: OutputOptions) -> None:
    """Ask models whether an image has one answer: again, alone and in a batch, in another order, in two processes.

    The published implementation is held against the fast one, and bfloat16 against float32. Differences are those of
    logits, selected tokens and boxes on drawn pictures; weights are random unless some are given. Exit code 1 says
    that one of the models that were asked breaks a promise, exit code 2 that one could not be asked.
    """
    request = replace(request, subjects=reduction.of(request.subjects, None) or ())
    backbones = [request.backbone] if request.backbone else None
    check_names(models=request.subjects, backbones=backbones, plugins=request.plugins)
    check_model_options(request.model_options, request.subjects)
    check_checkpoint(request.checkpoint)
    page, earlier = options.page(), options.earlier()
    from fgbench.cli.progress import status_line

    with problems_told() as problems:
        with prints_on_stderr(), status_line("loading torch") as show:
            from fgbench.audit.audit import audit_models

            rows = audit_models(request, problems.append, show)
        _show([*earlier, *rows], output)
        if page is not None:
            _fill(page, [*earlier, *rows], options)
        if broken := [row for row in rows if row.kept is False]:
            told = ", ".join(dict.fromkeys(f"{row.model} ({row.question})" for row in broken))
            problems.append(CheckFailedError(f"promises that are not kept: {told}"))


def _show(rows: Sequence[AuditRow], output: OutputOptions) -> None:
    from fgbench_reports.measured.audit import audit_tables
    from fgbench_reports.tables.render import render

    emit_as(output.style, render(audit_tables(rows), output.style, to_file=output.to_file), output.output)


def _fill(page: str, rows: Sequence[AuditRow], options: TableOptions) -> None:
    """Put the table into a page. Raises :class:`FgbenchError` where the page has no place for it."""
    from fgbench_reports.measured.audit import audit_tables
    from fgbench_reports.pages import filled
    from fgbench_reports.tables.render import render

    try:
        emit(filled(page, {BLOCK: render(audit_tables(rows), "markdown")}), options.fill)
    except ValueError as error:
        raise FgbenchError(f"{options.fill}: {error}") from error
