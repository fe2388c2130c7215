"""``fgbench study``: an experiment of many runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fgbench.cli.checks import check_checkpoint, check_dataset, check_names, check_optimizer
from fgbench.cli.errors import complain, ignore_interrupts, problems_told
from fgbench.cli.options import OutputOptions, StoreOptions
from fgbench.cluster.request import TrainingOnCluster
from fgbench.errors import FgbenchError, InterruptError
from fgbench.results.output import emit_as, prints_on_stderr
from fgbench.study.request import StudyRequest
from fgbench.training.request import RecipeOptions

if TYPE_CHECKING:
    from fgbench.study.plan import Plan
    from fgbench.study.run import StudyResult


def study(
    request: StudyRequest, recipe: RecipeOptions, cluster: TrainingOnCluster, store: StoreOptions, output: OutputOptions
) -> None:
    """Train every condition of an experiment with every seed, and compare them.

    The experiments are Tables 4, 5 and 11 to 15 of the GLSim paper; equal-cost, which stands every model beside plain
    ViTs of the same FLOPs; selectors, one model with each of them; keep-rate, reductions of tokens; and TOML files of
    your own. What is in the store is not trained again, and a run that was killed goes on after its last whole epoch.
    """
    from fgbench.cli.progress import StudyProgress
    from fgbench.study.published import study_of

    request = replace(request, recipe=recipe.asked_for)
    request.check_for(study_of(request.study, request.plugins))
    if cluster.on is not None and (request.dry_run or request.jobs > 1):
        flag = "--dry-run" if request.dry_run else "--jobs"
        do = "leave one of them out; every node trains one run at a time"
        raise FgbenchError(f"--on shares runs out over nodes, and has no use for {flag}", do=do)
    _check_names(request)
    with problems_told(at_once=True) as problems:
        if request.dry_run:
            with prints_on_stderr(), StudyProgress() as progress:
                from fgbench.study.run import estimate_study, plan_study, start_process

                with start_process() as process:
                    plan = plan_study(request, store.store, process, progress)
                    estimate_study(plan, process, problems.append, progress)
            _show_plan(plan, output)
            return
        with prints_on_stderr(), StudyProgress() as progress:
            result = _training(cluster)(
                request,
                store.store,
                progress=progress,
                on_problem=problems.append,
                on_wait=complain,
                on_interrupt=ignore_interrupts,
            )
        _show(result, output)
        if result.stored:
            there = f"{result.stored} of {result.plan.total} runs were in {store.store} already"
            complain(f"{there}; --again trains them once more")
        if result.interrupted:
            raise InterruptError("interrupted; start again, and it goes on there")


def _training(cluster: TrainingOnCluster) -> Callable[..., StudyResult]:
    """The function that trains: here, or on a cluster."""
    if cluster.on is None:
        from fgbench.study.run import run_study

        return run_study
    from fgbench.cluster.study import run_cluster_study

    return partial(run_cluster_study, cluster=cluster)


def _check_names(request: StudyRequest) -> None:
    """Refuse names that are not known before torch is loaded."""
    check_names(
        models=request.models, selectors=request.selectors, backbones=request.backbones, plugins=request.plugins
    )
    for dataset in request.datasets:
        check_dataset(dataset, request.dataset_options, request.plugins)
    check_optimizer(request.recipe.get("optimizer"))
    check_checkpoint(request.checkpoint)


def _show_plan(plan: Plan, output: OutputOptions) -> None:
    from fgbench_reports.measured.study_plan import plan_tables
    from fgbench_reports.tables.render import render

    tables = plan_tables(plan.rows(), plan.totals())
    emit_as(output.style, render(tables, output.style, to_file=output.to_file), output.output)


def _show(result: StudyResult, output: OutputOptions) -> None:
    """The table of the study, or its rows."""
    from fgbench_reports.measured.studies import study_tables
    from fgbench_reports.tables.render import render

    if result.runs or output.style in ("json", "csv"):
        tables = study_tables(result.runs, result.places, result.predictions)
        emit_as(output.style, render(tables, output.style, to_file=output.to_file), output.output)
