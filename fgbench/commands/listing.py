"""``fgbench list``: what can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fgbench.arguments import choice, output_format
from fgbench.commands.options import Format, Output, Plugin
from fgbench.errors import FgbenchError
from fgbench.output import check_output, emit_as, prints_on_stderr
from fgbench.shell import complain

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    from fgbench.catalogue import backbone_rows, dataset_rows, model_rows, report_rows, selector_rows
    from fgbench_reports import render

    problems: list[FgbenchError] = []
    with prints_on_stderr():
        _add_plugins(what, plugin or (), problems)
        reported = {"selectors": selector_rows, "models": model_rows, "datasets": dataset_rows, "reports": report_rows}
        rows = reported[what](problems.append) if what in reported else backbone_rows()
    emit_as(style, render.records(rows, style, to_file=output is not None), output)
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))


def _add_plugins(kind: str, files: Sequence[str], problems: list[FgbenchError]) -> None:
    """Load plug-in files: of reports where those are listed, of selectors otherwise."""
    if kind == "reports":
        from fgbench.reports import add_report_files

        add_report_files(files, problems.append)
    elif files or kind == "selectors":
        from fgbench.registry import add_plugin_files

        add_plugin_files(files, problems.append)
