"""``fgbench selection``: the cost of every selector by itself, and of the kernels of v·A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fgbench.cli.errors import complain, ignore_interrupts, problems_told
from fgbench.cli.options import OutputOptions, StoreOptions
from fgbench.cluster.request import ClusterOptions
from fgbench.errors import CannotMeasureError, FgbenchError, InterruptError
from fgbench.results.output import emit_as
from fgbench.sweep.selector_request import SelectionRequest

if TYPE_CHECKING:
    from fgbench.results.records import BackendRow, SelectionRow
    from fgbench.sweep.selector_sweep import SelectorSweep


def selection(request: SelectionRequest, cluster: ClusterOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Measure the cost of every selector by itself: FLOPs, bytes, time and memory, beside one pass of ViT-B/16.

    A selector starts from what its backbone leaves it: the published one from N×N attention maps, the fast one from
    queries, keys and their log-sum-exps. To make those is not timed. Finished points are kept; start the command again,
    and the rest is measured.
    """
    from fgbench.cli.progress import SelectionProgress
    from fgbench.results.store import PATIENCE_S, Store
    from fgbench.sweep.selector_sweep import SelectorSweep
    from fgbench.workers.pool import WorkerPool

    if request.kernels and output.style == "csv":
        raise FgbenchError("CSV holds one kind of rows, and --kernels makes two", do="--format json holds both")
    if cluster.on is not None:
        _on_cluster(request, cluster, store, output)
        return
    with problems_told() as problems:
        with Store(store.store, patience_s=PATIENCE_S, tell=complain) as kept, WorkerPool() as pool:
            with SelectionProgress() as progress:
                sweep = SelectorSweep(
                    request=request, store=kept, pool=pool, on_problem=problems.append, on_event=progress
                )
                failure = _run(sweep, store)
            _show(sweep.rows, output)
        if sweep.stored:
            already = f"{sweep.stored} of {len(sweep.points)} points were in {store.store} already"
            complain(f"{already}; --again measures them once more")
        if failure is not None:
            raise failure


def _on_cluster(request: SelectionRequest, cluster: ClusterOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Measure on the nodes of a cluster."""
    from fgbench.cli.progress import SelectionProgress
    from fgbench.cluster.selection import run_cluster_selection

    with problems_told() as problems:
        with SelectionProgress() as progress:
            result = run_cluster_selection(
                request,
                store.store,
                cluster,
                on_event=progress,
                on_problem=problems.append,
                on_wait=complain,
                on_interrupt=ignore_interrupts,
            )
        _show(result.rows, output)
        if result.stored:
            already = f"{result.stored} of {result.points} points were in {store.store} already"
            complain(f"{already}; --again measures them once more")
        if result.failure is not None:
            raise result.failure
        if result.interrupted:
            count = f"{result.finished} of {result.points} points are in {store.store}"
            raise InterruptError(f"interrupted; {count}, start again for the others")
    if result.rows and all(row.latency_s is None for row in result.rows):
        raise CannotMeasureError("no point could be measured; the reasons are above")


def _run(sweep: SelectorSweep, store: StoreOptions) -> FgbenchError | None:
    """Measure; the error that the command ends with when the finished rows are shown."""
    try:
        sweep.run()
    except KeyboardInterrupt:
        ignore_interrupts()
        count = f"{sweep.finished} of {len(sweep.points)} points are in {store.store}"
        return InterruptError(f"interrupted; {count}, start again for the others")
    except FgbenchError as error:
        return error
    if sweep.rows and all(row.latency_s is None for row in sweep.rows):
        return CannotMeasureError("no point could be measured; the reasons are above")
    return None


def _show(rows: Sequence[SelectionRow | BackendRow], output: OutputOptions) -> None:
    """Print the rows: as the tables of the report ``selections`` and one of the kernels, or as JSON or CSV."""
    from fgbench.results.export import exported
    from fgbench.results.records import BackendRow, SelectionRow
    from fgbench_reports.data import Data
    from fgbench_reports.measured.selections import Selections
    from fgbench_reports.report import Table
    from fgbench_reports.selector_cost import NAMES, backend_lines
    from fgbench_reports.tables.render import RowTables, render

    if not rows and output.style not in ("json", "csv"):
        return
    selections = [row for row in rows if isinstance(row, SelectionRow)]
    tables = [item for item in Selections().items(Data(selection=selections)) if isinstance(item, Table)]
    if kernels := [row for row in rows if isinstance(row, BackendRow)]:
        title = "Kernels of v·A: milliseconds of every back end"
        tables.append(Table.from_cells("kernels", title, backend_lines(kernels), names=NAMES))
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    made_of = RowTables(rows=[exported(row) for row in rows], narrow=tables, wide=tables, notes=notes)
    emit_as(output.style, render(made_of, output.style, to_file=output.to_file), output.output)
