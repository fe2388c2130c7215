"""The command line: its commands by name. Each is a file of ``fgbench.cli.commands``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from fgbench.cli.commands.accuracy import accuracy
from fgbench.cli.commands.audit import audit
from fgbench.cli.commands.choose import choose
from fgbench.cli.commands.export import export
from fgbench.cli.commands.export_model import export_model
from fgbench.cli.commands.flops import flops
from fgbench.cli.commands.list import list_
from fgbench.cli.commands.merge import merge
from fgbench.cli.commands.regress import regress
from fgbench.cli.commands.report import report
from fgbench.cli.commands.selection import selection
from fgbench.cli.commands.study import study
from fgbench.cli.commands.throughput import throughput
from fgbench.cli.commands.visualize import visualize
from fgbench.cli.errors import DONE, FgbenchGroup, ListCommand, show_what_libraries_say
from fgbench.cli.options import with_options
from fgbench.results.output import emit

app = typer.Typer(
    cls=FgbenchGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help takes twice as long to import as everything else together
    help="Measure the cost and the accuracy of selecting the discriminative parts of an image.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        emit(f"fgbench {version('fgbench')}\n")
        raise typer.Exit(DONE)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="show the version and leave", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Measure the cost and the accuracy of selecting the discriminative parts of an image."""


COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "flops": (flops, "The work of selectors beside their backbone, in FLOPs."),
    "throughput": (throughput, "Time, memory and energy of whole models on this device."),
    "selection": (selection, "The cost of every selector by itself: work, time, memory."),
    "accuracy": (accuracy, "Fine-tune and test models: their accuracy."),
    "study": (study, "Experiments of many runs, with every seed, compared by statistics."),
    "audit": (audit, "Whether models answer the same, alone and in batches, in every process."),
    "export": (export, "Saved rows as JSON or CSV."),
    "merge": (merge, "The rows of several stores in one."),
    "export-model": (export_model, "A model as an ONNX file, with labels and preprocessing."),
    "report": (report, "Tables, figures and a page of saved rows."),
    "visualize": (visualize, "Heat maps, boxes and crops of selectors on pictures."),
    "choose": (choose, "Measured configurations within limits, cheapest first."),
    "regress": (regress, "Compare costs with a baseline or another revision."),
    "list": (list_, "Names of selectors, models, reductions, data sets, engines, reports, studies."),
}
for name, (command, summary) in COMMANDS.items():
    app.command(name, cls=ListCommand, short_help=summary)(with_options(command))


def main() -> None:
    """Run a command line, and leave with its exit code."""
    show_what_libraries_say()
    app()
