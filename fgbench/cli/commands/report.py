"""``fgbench report``: tables, figures and a page out of what was saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from fgbench.cli.arguments import FORMATS, choice, names, real_number
from fgbench.cli.commands.report_folder import check_folder, left_over, write_folder
from fgbench.cli.commands.report_pages import fill_pages, split_self_tests
from fgbench.cli.errors import complain
from fgbench.cli.typed import Many, Plugin, SavedRows, SavedStore, Text, option
from fgbench.errors import FgbenchError
from fgbench.results.output import emit_as, prints_on_stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgbench_reports.folder import Made
    from fgbench_reports.report import Data

FILL_ALONE = "leave out --output, --format and the names of reports"
MAX_PRICE = 1e6
MAX_REMARKS = 12  # lines about what is missing, on a terminal


def report(
    wanted: Annotated[
        Many, typer.Argument(metavar="[NAME…]", help="'fgbench list reports'  [default: all]", show_default=False)
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", metavar="DIR", help="a folder for index.html, tables, figures and rows"),
    ] = None,
    fill: Annotated[
        Many, option("--fill", "Markdown pages whose blocks '<!-- begin NAME -->' are filled in place", "PAGE…")
    ] = None,
    rows: SavedRows = None,
    store: SavedStore = None,
    price: Annotated[Text, option("--gpu-hour-price", "of one GPU: adds what a million images cost", "PRICE")] = None,
    plugin: Plugin = None,
    format_: Annotated[
        Text, typer.Option("--format", "-f", metavar="NAME", help="table, json, csv, markdown, latex; without --output")
    ] = None,
) -> None:
    """Fill tables and figures from saved rows: a page with --output DIR, tables on standard output without.

    --fill fills the blocks of pages that you write: a block has the name of a report.
    Nothing is measured. What the rows cannot fill is named with the command that would.
    """
    from fgbench.cli.saved import read_data
    from fgbench.plugins.files import add_plugin_files
    from fgbench.plugins.kinds import reports
    from fgbench.plugins.reports import make_reports
    from fgbench_reports.blocks import Rows
    from fgbench_reports.plots.style import import_seaborn_alone

    style = None if format_ is None else choice(format_, "format", FORMATS)
    if style is not None and output is not None:
        raise FgbenchError(
            "--format is for standard output, and --output DIR writes every format:", format_, "leave one out"
        )
    if fill and (output is not None or style is not None or wanted):
        raise FgbenchError("--fill writes pages, and each page names its blocks:", " ".join(fill), FILL_ALONE)
    asked = names(wanted, "report")
    paid = None if price is None else real_number(price, "--gpu-hour-price", 2.5, MAX_PRICE)
    if output is not None:
        check_folder(output)
    problems: list[FgbenchError] = []
    with prints_on_stderr():
        add_plugin_files(plugin or (), problems.append)
        for name in asked or ():
            reports.entry(name)  # a wrong name is met before anything is read
        files = [Path(file) for file in rows or ()]
        files, self_tests = split_self_tests(files) if fill else (files, [])
        data = replace(read_data(store, files, problems.append), gpu_hour_price=paid)
        if fill:
            lines = fill_pages([Path(page) for page in fill], Rows(data=data, self_tests=self_tests), problems.append)
            _end(lines, problems)
            return
        if output is not None:
            import_seaborn_alone()  # two seconds
        made = make_reports(asked, data, problems.append, drawn=output is not None)
        if output is not None:
            written = _write(made, data, output, problems)
    if output is None:
        _print(made, style or "table")
    else:
        complain(f"{written} files are in {output}; open {output / 'index.html'}")
    _remark(made, few=output is not None)
    _end([], problems)


def _end(lines: Sequence[str], problems: Sequence[FgbenchError]) -> None:
    for line in (*lines, *problems):
        complain(line)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))


def _write(made: Sequence[Made], data: Data, output: Path, problems: list[FgbenchError]) -> int:
    """Render everything, then write it: what cannot be rendered leaves the folder as it is."""
    from importlib.metadata import version

    from fgbench.plugins.reports import render_reports
    from fgbench_reports.folder import folder

    files = list(folder(render_reports(made, problems.append), data, version=version("fgbench"), made=""))
    written = write_folder(files, output)
    if others := left_over(files, output):
        them = f"{len(others)} files in {output} are" if len(others) > 1 else f"1 file in {output} is"
        complain(f"{them} not of this report: {', '.join(others[:3])}{', …' if len(others) > 3 else ''}")
    return written


def _print(made: Sequence[Made], style: str) -> None:
    """The tables, on standard output; figures need a folder."""
    from fgbench_reports.folder import tables_of
    from fgbench_reports.tables.render import render

    text = render(tables_of(made), style)
    if text or style == "json":
        emit_as(style, text)


def _remark(made: Sequence[Made], *, few: bool) -> None:
    """What is missing, with the command that would fill it."""
    from fgbench_reports.folder import figures_of, missing_of
    from fgbench_reports.tables.numbers import how_many

    if not few and (figures := figures_of(made)):
        needs = "needs" if len(figures) == 1 else "need"
        complain(f"{how_many(len(figures), 'figure')} {needs} a folder: --output DIR")
    missing = missing_of(made)
    for each in missing[: 0 if few else MAX_REMARKS]:
        complain(f"not filled: {each.what} – {each.why}; '{each.command}' would")
    left = len(missing) - (0 if few else MAX_REMARKS)
    if left > 0:
        what = "not filled; the page names the commands that would" if few else "more not filled; --output DIR has all"
        complain(f"{left} {what}")
