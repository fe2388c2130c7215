"""``fgbench throughput``: time, memory and energy of whole models, in a sweep that cannot be lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fgbench.cli.checks import check_names
from fgbench.cli.errors import complain, ignore_interrupts, problems_told
from fgbench.cli.options import BaselineOptions, OutputOptions, ReductionOptions, StoreOptions
from fgbench.cluster.request import ClusterOptions
from fgbench.errors import CannotMeasureError, FgbenchError, InterruptError
from fgbench.options import switch
from fgbench.results import paper
from fgbench.results.output import emit_as
from fgbench.sweep.request import HOW_LONG, SweepRequest

if TYPE_CHECKING:
    from fgbench.results.records import ThroughputRow
    from fgbench.sweep.run import SweepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestOptions:
    """The self-test of a machine."""

    a_a: Annotated[
        bool,
        switch("--a-a", "self-test: everything twice in random order, and how far the two differ"),
        HOW_LONG,
    ] = False


def throughput(
    request: SweepRequest,
    test: SelfTestOptions,
    store: StoreOptions,
    compared: BaselineOptions,
    reduction: ReductionOptions,
    cluster: ClusterOptions,
    output: OutputOptions,
) -> None:
    """Measure models × image sizes × batch sizes. What is finished is kept; start again, and the rest is measured.

    Without a GPU a small grid is measured on the CPU: --sizes 224 448 768 1024 --batch-sizes 1 2 4 8 16 32 64 128 256
    is the full one.
    """
    if test.a_a and request.repeats > 2:
        raise FgbenchError("--a-a measures everything twice, and has no meaning with", f"--repeat {request.repeats}")
    if test.a_a:  # old figures would test nothing
        request = replace(request, repeats=2, again=True)
    request = replace(request, models=reduction.of(request.models, paper.MODELS) or ())
    compared.check_among(request.models)
    check_names(
        models=request.models,
        selectors=request.selectors,
        backbones=request.backbones,
        engines=request.engines,
        plugins=request.plugins,
    )
    from fgbench.cli.progress import SweepProgress

    with problems_told(at_once=True) as problems:
        with SweepProgress() as progress:
            result = _measuring(cluster)(
                request,
                store.store,
                progress=progress,
                on_problem=problems.append,
                on_wait=complain,
                on_interrupt=ignore_interrupts,
            )
        if result.rows or output.style in ("json", "csv"):
            emit_as(output.style, _text(result.rows, output, compared, spread=request.repeats > 1), output.output)
        for remark in result.remarks:
            complain(remark)
        _refuse_incomplete(result, store)
    if result.rows and not any(row.status.is_result for row in result.rows):
        raise CannotMeasureError("no point could be measured; their reasons are above")


def _measuring(cluster: ClusterOptions) -> Callable[..., SweepResult]:
    """The function that measures: here, or on a cluster."""
    if cluster.on is None:
        from fgbench.sweep.run import run_sweep

        return run_sweep
    from fgbench.cluster.sweep import run_cluster_sweep

    return partial(run_cluster_sweep, cluster=cluster)


def _refuse_incomplete(result: SweepResult, store: StoreOptions) -> None:
    if result.failure is not None:
        raise result.failure
    if result.interrupted:
        there = f"{len(result.rows)} of {result.total} points are in {store.store}"
        raise InterruptError(f"interrupted; {there}, start again for the others")


def _text(rows: Sequence[ThroughputRow], output: OutputOptions, compared: BaselineOptions, *, spread: bool) -> str:
    """The text of rows; with ``spread``, of how far repeats differ, too."""
    from fgbench_reports.measured.engines import engine_tables
    from fgbench_reports.measured.spread import spread_tables
    from fgbench_reports.measured.throughput import throughput_tables
    from fgbench_reports.tables.render import render

    tables = throughput_tables(rows, baseline=compared.baseline) + engine_tables(rows)
    return render(tables + spread_tables(rows) if spread else tables, output.style, to_file=output.to_file)
