"""``fgbench report``: tables, figures and a page out of what was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fgbench.cli.commands.report_folder import check_folder, left_over, write_folder
from fgbench.cli.commands.report_pages import fill_pages, split_self_tests
from fgbench.cli.errors import complain, problems_told
from fgbench.cli.options import BaselineOptions, PluginOptions, SavedRowsOptions
from fgbench.errors import FgbenchError, OnProblem
from fgbench.options import FORMAT, MODELS, OUTPUT, argument, many, names_of, one
from fgbench.quantities import hour_prices
from fgbench.results.output import emit_as, prints_on_stderr
from fgbench.values import real_number

if TYPE_CHECKING:
    from fgbench_reports.folder import Made
    from fgbench_reports.report import Data

MAX_PRICE = 1e6
MAX_REMARKS = 12  # lines about what is missing, on a terminal


def _prices(text: str) -> float | dict[str, float]:
    """A price of an hour, or prices by kinds of devices."""
    if "=" in text:
        return hour_prices(text, "--gpu-hour-price")
    return real_number(text, what="--gpu-hour-price", example=2.5, largest=MAX_PRICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """Reports by name, and where they go."""

    names: Annotated[
        Sequence[str] | None,
        argument("[NAME…]", "'fgbench list reports'", several=True, default="all", read=names_of("report")),
    ] = None
    output: Annotated[
        Path | None,
        OUTPUT.but(metavar="DIR", help="a folder for index.html, tables, figures and rows", read=Path),
    ] = None
    fill: Annotated[
        Sequence[str],
        many("--fill", "Markdown pages of your own, whose blocks '<!-- begin NAME -->' are filled in place", "PAGE…"),
    ] = ()
    price: Annotated[
        float | Mapping[str, float] | None,
        one(
            "--gpu-hour-price",
            "of one GPU, or H100=3.90,A100=1.80: adds what a million images cost",
            "PRICE",
            read=_prices,
        ),
    ] = None
    models: Annotated[Sequence[str], MODELS.but(help="only rows of these models")] = ()
    format: Annotated[str | None, FORMAT.but(help="table, json, csv, markdown, latex; without --output")] = None

    def check(self) -> None:
        """Refuse options that contradict each other, and a folder that cannot be written."""
        if self.fill and (self.output is not None or self.format is not None or self.names):
            do = "leave out --output, --format and the names of reports"
            raise FgbenchError("--fill writes pages, and each page names its blocks:", " ".join(self.fill), do)
        if self.format is not None and self.output is not None:
            raise FgbenchError(
                "--format is for standard output, and --output DIR writes every format:", self.format, "leave one out"
            )
        if self.output is not None:
            check_folder(self.output)


def report(request: ReportRequest, saved: SavedRowsOptions, plugin: PluginOptions, compared: BaselineOptions) -> None:
    """Fill tables and figures from saved rows: a page with --output DIR, tables on standard output without.

    --fill fills the blocks of pages that you write: a block has the name of a report. Nothing is measured. What the
    rows cannot fill is named with the command that would. The earlier names bought, found and work stand for
    accuracy_vs_cost, selector_quality and flops.
    """
    from fgbench.cli.saved import read_data
    from fgbench.plugins.files import add_plugin_files
    from fgbench.plugins.kinds import reports
    from fgbench.plugins.reports import make_reports
    from fgbench_reports.plots.style import import_seaborn_alone

    drawn = request.output is not None
    with problems_told() as problems:
        with prints_on_stderr():
            add_plugin_files(plugin.plugins, problems.append)
            if request.fill:
                _fill(request, saved, compared, problems.append)
                return
            for name in request.names or ():
                reports.entry(name)  # a wrong name is met before anything is read
            data = _with(request, compared, read_data(saved.store, saved.files, problems.append))
            if drawn:
                import_seaborn_alone()  # two seconds
            made = make_reports(request.names, data, problems.append, drawn=drawn)
            made = [_with_plugins(one, plugin.plugins) for one in made]
            if request.output is not None:
                written = _write(made, data, request.output, problems.append)
        if request.output is None:
            _print(made, request.format or "table")
        else:
            complain(f"{written} files are in {request.output}; open {request.output / 'index.html'}")
        _remark(made, few=drawn)


def _with(request: ReportRequest, compared: BaselineOptions, data: Data) -> Data:
    """Rows with the models, the price and the baseline that were asked for.

    Raises :class:`FgbenchError` for a model without rows.
    """
    from fgbench_reports.relative import models_of

    if request.models:
        data = _of_models(data, request.models)
    compared.check_among(models_of([*data.throughput, *data.flops, *data.accuracy]))
    return replace(data, gpu_hour_price=request.price, baseline=compared.baseline)


def _of_models(data: Data, models: Sequence[str]) -> Data:
    """The rows of some models; those of no model, such as counts of selectors, stay."""
    from fgbench_reports.relative import is_same_model, models_of

    kinds = ("flops", "throughput", "accuracy", "selection_quality", "training", "parts")
    known = models_of(row for kind in kinds for row in getattr(data, kind))
    for name in models:
        if not any(is_same_model(model, name) for model in known):
            raise FgbenchError("no row is of the model", name, f"there are: {', '.join(known) or 'none'}")

    def asked_for(row: Any) -> bool:
        return row.model is None or any(is_same_model(row.model, name) for name in models)

    rows: dict[str, Any] = {kind: [row for row in getattr(data, kind) if asked_for(row)] for kind in kinds}
    runs = {row.run for row in rows["accuracy"]}
    rows["predictions"] = [row for row in data.predictions if row.run in runs]
    return replace(data, **rows)


def _with_plugins(made: Made, plugins: Sequence[str]) -> Made:
    """What a report made; commands that would fill it name the plug-in files."""
    from fgbench_reports.advice import with_plugins
    from fgbench_reports.report import Missing

    items = [
        replace(item, command=with_plugins(item.command, plugins)) if isinstance(item, Missing) else item
        for item in made.items
    ]
    return replace(made, items=items) if plugins else made


def _fill(request: ReportRequest, saved: SavedRowsOptions, compared: BaselineOptions, on_problem: OnProblem) -> None:
    """Fill pages, and say so."""
    from fgbench.cli.saved import read_data
    from fgbench_reports.blocks import Rows

    files, self_tests = split_self_tests(saved.files)
    data = _with(request, compared, read_data(saved.store, files, on_problem))
    for line in fill_pages([Path(page) for page in request.fill], Rows(data=data, self_tests=self_tests), on_problem):
        complain(line)


def _write(made: Sequence[Made], data: Data, output: Path, on_problem: OnProblem) -> int:
    """Render everything, then write it: what cannot be rendered leaves the folder as it is."""
    from importlib.metadata import version

    from fgbench.plugins.reports import render_reports
    from fgbench_reports.folder import folder

    files = list(folder(render_reports(made, on_problem), data, version=version("fgbench"), made=""))
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
    for gap in missing[: 0 if few else MAX_REMARKS]:
        complain(f"not filled: {gap.what} – {gap.why}; '{gap.command}' would")
    left = len(missing) - (0 if few else MAX_REMARKS)
    if left > 0:
        what = "not filled; the page names the commands that would" if few else "more not filled; --output DIR has all"
        complain(f"{left} {what}")
