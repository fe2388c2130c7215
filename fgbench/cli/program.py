"""The command line: its commands by name. Each is a file of ``fgbench.cli.commands``."""

from __future__ import annotations

from typing import Annotated

import typer

from fgbench.cli.commands.accuracy import accuracy
from fgbench.cli.commands.choose import choose
from fgbench.cli.commands.export import export
from fgbench.cli.commands.flops import flops
from fgbench.cli.commands.list import list_
from fgbench.cli.commands.regress import regress
from fgbench.cli.commands.report import report
from fgbench.cli.commands.selection import selection
from fgbench.cli.commands.throughput import throughput
from fgbench.cli.commands.visualize import visualize
from fgbench.cli.errors import DONE, FgbenchGroup, ListCommand, show_what_libraries_say
from fgbench.cli.options import with_options
from fgbench.results.output import emit

app = typer.Typer(
    cls=FgbenchGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help takes twice as long to import as everything else together
    help="What selecting the discriminative parts of an image costs, and what it buys.",
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
    """Benchmark fine-grained recognition with vision transformers: what selection costs, what it buys."""


app.command("flops", cls=ListCommand, short_help="What selection costs beside its backbone, in FLOPs.")(
    with_options(flops)
)
app.command("throughput", cls=ListCommand, short_help="Time, memory and energy of whole models on this device.")(
    throughput
)
app.command("selection", cls=ListCommand, short_help="The cost of every selector by itself: work, time, memory.")(
    with_options(selection)
)
app.command("accuracy", cls=ListCommand, short_help="What selection buys: fine-tune and test models.")(accuracy)
app.command("export", cls=ListCommand, short_help="Saved rows as JSON or CSV.")(with_options(export))
app.command("report", cls=ListCommand, short_help="Tables, figures and a page out of what was saved.")(report)
app.command("visualize", cls=ListCommand, short_help="What selectors see in pictures: heat, boxes, crops.")(visualize)
app.command("choose", cls=ListCommand, short_help="Which measured configurations keep limits, cheapest first.")(choose)
app.command("regress", cls=ListCommand, short_help="Whether a change made selection or models costlier.")(regress)
app.command("list", cls=ListCommand, short_help="What can be named: selectors, models, reports, …")(with_options(list_))


def main() -> None:
    """Run a command line, and leave with its exit code."""
    show_what_libraries_say()
    app()
