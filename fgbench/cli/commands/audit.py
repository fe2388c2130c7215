"""``fgbench audit``: whether models keep what everybody takes for granted."""

from __future__ import annotations

from fgbench.audit.request import AuditRequest
from fgbench.cli.checks import check_checkpoint, check_model_options, check_names
from fgbench.cli.errors import problems_told
from fgbench.cli.options import OutputOptions
from fgbench.errors import CheckFailedError
from fgbench.results.output import emit_as, prints_on_stderr


def audit(request: AuditRequest, output: OutputOptions) -> None:
    """Ask models whether an image has one answer: again, alone and in a batch, in another order, in two processes.

    The published implementation is held against the fast one, and bfloat16 against float32. Differences are those of
    logits, selected tokens and boxes on drawn pictures; weights are random unless some are given. Exit code 1 says
    that a promise is broken.
    """
    backbones = [request.backbone] if request.backbone else None
    check_names(models=request.subjects, backbones=backbones, plugins=request.plugins)
    check_model_options(request.model_options, request.subjects)
    check_checkpoint(request.checkpoint)
    from fgbench.cli.progress import status_line

    with problems_told() as problems:
        with prints_on_stderr(), status_line("loading torch") as show:
            from fgbench.audit.audit import audit_models

            rows = audit_models(request, problems.append, show)
        from fgbench_reports.measured.audit import audit_tables
        from fgbench_reports.tables.render import render

        emit_as(output.style, render(audit_tables(rows), output.style, to_file=output.to_file), output.output)
        if broken := [row for row in rows if row.kept is False]:
            told = ", ".join(dict.fromkeys(f"{row.model} ({row.question})" for row in broken))
            raise CheckFailedError(f"promises that are not kept: {told}")
