"""``fgbench accuracy``: train and test models, and judge what their selectors find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgbench.cli.checks import check_checkpoint, check_dataset, check_model_options, check_names, check_optimizer
from fgbench.cli.errors import DONE, complain, ignore_interrupts, problems_told
from fgbench.cli.options import OutputOptions, ReductionOptions, StoreOptions
from fgbench.cluster.request import TrainingOnCluster
from fgbench.errors import FgbenchError, InterruptError
from fgbench.options import SELECTORS, one, switch, whole
from fgbench.results.output import emit_as
from fgbench.training.request import GIVEN_BY_COMMAND, MODEL, TEST, AccuracyRequest, RecipeOptions

if TYPE_CHECKING:
    from fgbench.cluster.runs import RunsResult
    from fgbench.results.records import AccuracyRow
    from fgbench.training.run import TrainingResult


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyOptions:
    """Options of the command beside those of the request."""

    passes: Annotated[
        int | None,
        one("--passes", "of CAL: 2, or 8 as in its official test", "N", read=whole("number of passes", 8, 8)),
        MODEL,
    ] = None
    details: Annotated[bool, switch("--details", "accuracy per class, and what is taken for what"), TEST] = False
    quality: Annotated[
        bool,
        switch("--quality", "what every selector finds on the trained models: parts, crops, insertion, deletion"),
        TEST,
    ] = False
    judged: Annotated[
        Sequence[str] | None,
        SELECTORS.but(flags=("--judged",), help="selectors for --quality", default="all"),
        TEST,
    ] = None


def accuracy(
    request: AccuracyRequest,
    recipe: RecipeOptions,
    options: AccuracyOptions,
    store: StoreOptions,
    reduction: ReductionOptions,
    cluster: TrainingOnCluster,
    output: OutputOptions,
) -> None:
    """Fine-tune and test models. A run that is killed goes on after its last whole epoch, to the same result.

    The recipe is the paper's; synthetic, a small set that is drawn, has a short one of its own. On several GPUs or
    hosts: accelerate launch -m fgbench accuracy …
    """
    passes = {} if options.passes is None else {"passes": options.passes}
    models = reduction.of(request.models, None) or request.models
    request = replace(
        request, models=models, recipe=recipe.asked_for, model_options={**request.model_options, **passes}
    )
    _check_names(request, options)
    if cluster.on is not None:
        _on_cluster(request, options, cluster, store, output)
        return
    from fgbench.cli.progress import TrainingProgress
    from fgbench.training.launch import is_main_process

    main = is_main_process()
    with problems_told(at_once=True) if main else nullcontext(list[FgbenchError]()) as problems:
        with TrainingProgress(shown=main) as progress:
            from fgbench.training.run import train_and_test

            result = train_and_test(
                request,
                store.store if main else None,
                quality=options.quality and main,
                judged=options.judged,
                progress=progress,
                judge_progress=progress.judged,
                on_problem=problems.append,
                on_wait=complain,
                on_interrupt=ignore_interrupts,
            )
        if not main:
            raise typer.Exit(DONE if result.failure is None else result.failure.exit_code)
        _show(result, options, store, output)
        if result.interrupted:
            raise InterruptError(f"interrupted{progress.place}; start again, and it goes on there")


def _on_cluster(
    request: AccuracyRequest,
    options: AccuracyOptions,
    cluster: TrainingOnCluster,
    store: StoreOptions,
    output: OutputOptions,
) -> None:
    """Train on the nodes of a cluster."""
    here = (
        (request.test_only, "--test-only", "leave --on out: it tests one file"),
        (options.quality, "--quality", "judge the trained models by the same command without --on"),
        (request.tracker, "--tracker", "leave one of them out"),
    )
    for asked, flag, do in here:
        if asked:
            raise FgbenchError(f"on a cluster there is no {flag}", do=do)
    from fgbench.cli.progress import StudyProgress
    from fgbench.cluster.runs import run_cluster_training

    with problems_told(at_once=True) as problems:
        with StudyProgress() as progress:
            result = run_cluster_training(
                request,
                store.store,
                cluster,
                progress=progress,
                on_problem=problems.append,
                on_wait=complain,
                on_interrupt=ignore_interrupts,
            )
        _show(result, options, store, output)
        if result.interrupted:
            there = f"{len(result.finished)} of {result.total} runs are in {store.store}"
            raise InterruptError(f"interrupted; {there}, start again for the others")


def _show(
    result: TrainingResult | RunsResult, options: AccuracyOptions, store: StoreOptions, output: OutputOptions
) -> None:
    """Show what is finished. Raises what ended the work."""
    if result.finished or (result.failure is None and output.style in ("json", "csv")):
        emit_as(output.style, _text(result, options, output), output.output)
    if result.stored:
        there = f"{result.stored} of {result.total} runs were in {store.store} already"
        complain(f"{there}; --again trains them once more")
    if result.failure is not None:
        raise result.failure


def _check_names(request: AccuracyRequest, options: AccuracyOptions) -> None:
    """Refuse names that are not known before torch is loaded."""
    from fgbench.explain.records import OWN

    judged = [name for name in options.judged or () if name != OWN]
    check_names(
        models=request.models,
        selectors=[*(request.selectors or ()), *judged],
        backbones=None if request.backbone is None else [request.backbone],
        plugins=request.plugins,
    )
    check_model_options(request.model_options, request.models, GIVEN_BY_COMMAND)
    check_dataset(request.dataset, request.dataset_options, request.plugins)
    check_optimizer(request.recipe.get("optimizer"))
    check_checkpoint(request.checkpoint)


def _text(result: TrainingResult | RunsResult, options: AccuracyOptions, output: OutputOptions) -> str:
    """The text of rows, their means, and what was asked for beside them."""
    from fgbench_reports.measured.accuracy import accuracy_tables, class_tables
    from fgbench_reports.measured.selector_quality import quality_tables
    from fgbench_reports.tables.render import render

    rows = [*result.rows, *result.summaries]
    tables = accuracy_tables(rows)
    if options.details:
        detailed = [_with_classes(run.row, run.classes) for run in result.finished]
        of_classes = [table for run in result.finished for table in class_tables(run.row, run.classes)]
        saved = [*detailed, *rows[len(detailed) :]]
        tables = replace(tables, rows=saved, narrow=[*tables.narrow, *of_classes])
    if result.quality:
        tables += quality_tables(result.quality)
    return render(tables, output.style, to_file=output.to_file)


def _with_classes(row: AccuracyRow, classes: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its accuracy by class; ``kind`` and ``schema_version`` stay the last fields."""
    fields = row.as_dict()
    last = {name: fields.pop(name) for name in ("kind", "schema_version")}
    return {**fields, **classes, **last}
