"""``fgbench flops``: what selection costs beside its backbone, and whole models, in FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from fgbench.cli.checks import check_names
from fgbench.cli.errors import complain, problems_told
from fgbench.cli.options import BaselineOptions, OutputOptions, PluginOptions, ReductionOptions, StoreOptions
from fgbench.errors import FgbenchError, InterruptError
from fgbench.flops.grid import HOW, CountGrid
from fgbench.options import AGAIN, OUTPUT_SECTION, switch
from fgbench.results.output import emit_as, prints_on_stderr

if TYPE_CHECKING:
    from fgbench.results.records import FlopsRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopsOptions:
    """Options of the command beside those of the grid."""

    again: Annotated[bool, AGAIN.but(help="count what was counted with these versions once more"), HOW] = False
    parts: Annotated[bool, switch("--parts", "rows of models' parts in json and csv too"), OUTPUT_SECTION] = False


def flops(
    grid: CountGrid,
    options: FlopsOptions,
    store: StoreOptions,
    plugin: PluginOptions,
    compared: BaselineOptions,
    reduction: ReductionOptions,
    output: OutputOptions,
) -> None:
    """Count the work of every selection mechanism beside its backbone, for one image. No GPU, no weights."""
    grid = replace(grid, models=reduction.of(grid.models, None))
    grid.check()
    if options.parts and not grid.models:
        raise FgbenchError("only models have parts", do="--parts goes with --models")
    if compared.baseline is not None and not grid.models:
        raise FgbenchError("only models are compared with another one", do="--baseline goes with --models")
    compared.check_among(grid.models or ())
    check_names(models=grid.models, selectors=grid.selectors, backbones=grid.backbones, plugins=plugin.plugins)
    from fgbench.cli.progress import status_line
    from fgbench.flops.counting import count_grid

    with problems_told() as problems:
        with prints_on_stderr(), status_line("counting") as show:
            counted = count_grid(
                grid,
                plugins=plugin.plugins,
                store=store.store,
                again=options.again,
                on_problem=problems.append,
                progress=lambda name: show(f"counting {name}"),
            )
        if counted.rows or not counted.interrupted:
            text = (
                _models(counted.rows, options, compared.baseline, output)
                if grid.models
                else _selectors(counted.rows, grid, output)
            )
            emit_as(output.style, text, output.output)
        if counted.interrupted:
            kept = " and kept" if counted.kept else ""
            raise InterruptError(
                f"interrupted; {len(counted.rows)} rows were finished{kept}, start again for the others"
            )
        if grid.cross_check:
            complain("cross-check: every backbone's macs equal torch's own counter and the closed form, if it has one")


def _selectors(rows: Sequence[FlopsRow], grid: CountGrid, output: OutputOptions) -> str:
    """The text of rows of selectors beside backbones."""
    from fgbench_reports.measured.flops import flops_tables
    from fgbench_reports.tables.render import render

    tables = flops_tables(rows, beside_paper=grid.patch_stride is None)
    return render(tables, output.style, to_file=output.to_file)


def _models(rows: Sequence[FlopsRow], options: FlopsOptions, baseline: str | None, output: OutputOptions) -> str:
    """The text of rows of whole models."""
    from fgbench_reports.measured.model_flops import model_tables
    from fgbench_reports.relative import FlopsBaseline
    from fgbench_reports.tables.render import render

    saved = [(row, row.as_dict(parts=options.parts)) for row in rows if options.parts or row.stage is None]
    if baseline is not None:
        base = FlopsBaseline(baseline, rows)
        saved = [(row, fields | base.fields(row)) for row, fields in saved]
    tables = model_tables(rows, saved=[fields for _, fields in saved], baseline=baseline)
    return render(tables, output.style, to_file=output.to_file)
