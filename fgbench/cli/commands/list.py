"""``fgbench list``: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

from fgbench.cli.arguments import choice, output_format
from fgbench.cli.errors import complain
from fgbench.cli.options import Format, Output, Plugin
from fgbench.errors import FgbenchError
from fgbench.results.output import check_output, emit_as, prints_on_stderr

KINDS = ("selectors", "models", "datasets", "reports", "backbones")


def list_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))] = "selectors",
    plugin: Plugin = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """List what can be named: selectors with what they read and return, models, data sets, reports, backbones."""
    style = output_format(format_, output)
    what = choice(kind, "kind", KINDS)
    check_output(output)

    from fgbench.cli.listing import backbone_rows, dataset_rows, model_rows, report_rows, selector_rows
    from fgbench.plugins.files import add_plugin_files
    from fgbench_reports.tables import render

    problems: list[FgbenchError] = []
    with prints_on_stderr():
        add_plugin_files(plugin or (), problems.append)
        reported = {"selectors": selector_rows, "models": model_rows, "datasets": dataset_rows, "reports": report_rows}
        rows = reported[what](problems.append) if what in reported else backbone_rows()
    emit_as(style, render.records(rows, style, to_file=output is not None), output)
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))
