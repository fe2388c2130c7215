"""``fgbench throughput``: time, memory and energy of whole models, in a sweep that cannot be lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgbench.cli import checks
from fgbench.cli.arguments import (
    batch_sizes,
    choice,
    choices,
    image_sizes,
    names,
    output_format,
    whole_number,
)
from fgbench.cli.errors import INTERRUPTED, complain
from fgbench.cli.typed import MAX_CLASSES, Format, Many, Output, Plugin, Text, option, switch
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.quantities import (
    duration,
    memory_size,
)
from fgbench.results.output import check_output, emit_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgbench.results.records import ThroughputRow
    from fgbench.sweep.request import SweepRequest
    from fgbench.sweep.sweep import Sweep

MAX_REPEATS, MAX_THREADS = 1000, 4096


def throughput(
    model: Annotated[
        Many, option("--model", "'fgbench list models'  [default: the eight of the paper's Table 4]")
    ] = None,
    sizes: Annotated[
        Many, option("--sizes", "image sides  [default: 224 448 768 1024; on a CPU 224]", "PIXELS…")
    ] = None,
    batches: Annotated[Many, option("--batch-sizes", "[default: 1 2 4 … 256; on a CPU 1 2 4 8]", "N…")] = None,
    device: Annotated[Text, option("--device", "cuda or cpu  [default: cuda where there is one]", "NAME")] = None,
    dtype: Annotated[Many, option("--dtype", "float32, tf32, float16, bfloat16, amp  [default: float32]")] = None,
    selectors: Annotated[Many, option("--selectors", "in place of the published ones")] = None,
    impl: Annotated[Many, option("--impl", "published, fast  [default: fast]")] = None,
    backbones: Annotated[Many, option("--backbones", "timm's names  [default: the published ones]")] = None,
    num_classes: Annotated[str, option("--num-classes", "classes of the head", "N")] = "200",
    compile_: Annotated[bool, switch("--compile", "torch.compile, for fixed shapes")] = False,
    channels_last: Annotated[bool, switch("--channels-last", "memory format of images and weights")] = False,
    cuda_graph: Annotated[bool, switch("--cuda-graph", "replay a CUDA graph, checked on other images")] = False,
    threads: Annotated[Text, option("--threads", "of a CPU  [default: torch's]", "N")] = None,
    memory_limit: Annotated[
        Text, option("--memory-limit", "8GB: what does not fit into it is out of memory", "SIZE")
    ] = None,
    no_energy: Annotated[bool, switch("--no-energy", "do not measure it: 5 s less per point on a GPU")] = False,
    max_time: Annotated[
        Text,
        option("--max-time", "of timed blocks, per point, warm-up not counted  [default: 6s; CPU 10s]", "TIME"),
    ] = None,
    timeout: Annotated[
        str, option("--timeout", "a worker that has no result for a point by then is ended", "TIME")
    ] = "10m",
    budget: Annotated[
        Text,
        option(
            "--budget",
            "of measuring: the most informative points come first, a point that has begun is finished",
            "TIME",
        ),
    ] = None,
    repeat: Annotated[str, option("--repeat", "measure every point so many times, in random order", "N")] = "1",
    a_a: Annotated[
        bool, switch("--a-a", "self-test: everything twice in random order, and how far the two differ")
    ] = False,
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", envvar="FGBENCH_STORE", help="where results are kept")
    ] = Path("fgbench.db"),
    again: Annotated[bool, switch("--again", "measure what is in the store once more")] = False,
    retry: Annotated[
        bool, switch("--retry", "measure once more what is in the store with another status than ok")
    ] = False,
    plugin: Plugin = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Measure models × image sizes × batch sizes. What is finished is kept; start again, and the rest is measured.

    Without a GPU a small grid is measured on the CPU: --sizes 224 448 768 1024 --batch-sizes 1 2 4 8 16 32 64 128 256
    is the full one.
    """
    from fgbench.measure.points import DEVICES, DTYPES
    from fgbench.sweep.request import PAPER_MODELS, SweepRequest

    style = output_format(format_, output)
    repeats = whole_number(repeat, "number of repeats", 2, MAX_REPEATS)
    if a_a and repeats > 2:
        raise FgbenchError("--a-a measures everything twice, and has no meaning with", f"--repeat {repeat}")
    if cuda_graph and compile_:
        raise FgbenchError("each is a mode of its own:", "--compile and --cuda-graph", "leave one of them out")
    request = SweepRequest(
        models=names(model, "model") or PAPER_MODELS,
        image_sizes=image_sizes(sizes, ()) or None,
        batch_sizes=batch_sizes(batches),
        device=None if device is None else choice(device, "device", DEVICES),
        dtypes=choices(dtype, "dtype", DTYPES, ("float32",)),
        backbones=names(backbones, "backbone"),
        selectors=names(selectors, "selector"),
        impls=choices(impl, "impl", ("published", "fast"), ("fast",)),
        num_classes=whole_number(num_classes, "number of classes", 200, MAX_CLASSES),
        compiled=compile_,
        channels_last=channels_last,
        cuda_graph=cuda_graph,
        threads=None if threads is None else whole_number(threads, "number of threads", 4, MAX_THREADS),
        memory_limit_bytes=None if memory_limit is None else memory_size(memory_limit, "--memory-limit"),
        energy=not no_energy,
        cap_s=None if max_time is None else duration(max_time, "--max-time"),
        timeout_s=duration(timeout, "--timeout"),
        budget_s=None if budget is None else duration(budget, "--budget"),
        repeats=2 if a_a else repeats,
        again=again or a_a,  # a self-test of old figures would test nothing
        retry=retry,
        plugins=[os.path.realpath(name) for name in plugin or ()],
    )
    checks.check_names(
        models=request.models, selectors=request.selectors, backbones=request.backbones, plugins=request.plugins
    )
    check_output(output)
    _run(request, store, style, output, spread=request.repeats > 1)


def _run(request: SweepRequest, store: Path, style: str, output: Path | None, *, spread: bool) -> None:
    """Sweep, and show what there is, however it ended."""
    from fgbench.cli.sweep_progress import SweepProgress
    from fgbench.results.store import PATIENCE_S, Store
    from fgbench.sweep.context import open_sweep
    from fgbench.sweep.sweep import Sweep
    from fgbench.workers.pool import WorkerPool

    problems: list[FgbenchError] = []
    failure: FgbenchError | None = None
    interrupted = False
    with Store(store, patience_s=PATIENCE_S, tell=complain) as kept, WorkerPool() as host:
        with SweepProgress() as progress:
            session = open_sweep(request, host, problems.append)
            for problem in problems:  # before the hours that the rest takes
                complain(problem)
            sweep = Sweep(session=session, store=kept, host=host, tell=progress)
            try:
                sweep.run()
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not cost what the first one kept
                interrupted = True
            except FgbenchError as error:  # what was measured is shown all the same
                failure = error
        if sweep.rows or style in ("json", "csv"):
            _show(sweep.rows, style, output, spread=spread)
    for line in _remarks(sweep, request, store):
        complain(line)
    if failure is not None:
        raise failure
    if interrupted:
        complain(f"interrupted; {len(sweep.rows)} of {sweep.total} points are in {store}, start again for the others")
        raise typer.Exit(INTERRUPTED)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))
    if sweep.rows and not any(row.status.is_result for row in sweep.rows):
        raise CannotMeasureError("no point could be measured; their reasons are above")


def _remarks(sweep: Sweep, request: SweepRequest, store: Path) -> list[str]:
    """What the reader of the table should know beside it."""
    remarks = []
    if sweep.left_out:
        points: dict[str, list[str]] = {}
        for group, size in sweep.left_out:
            points.setdefault(group.label, []).append(str(size))
        listed = "; ".join(f"{label}: batch {' '.join(sizes)}" for label, sizes in points.items())
        remarks.append(
            f"the budget is spent; {len(sweep.left_out)} of {sweep.total} points are left out: {listed}; "
            "the same command without --budget measures them"
        )
    if sweep.session.device == "cpu" and request.device is None and not (request.image_sizes or request.batch_sizes):
        remarks.append(
            "no CUDA device is there, so this is the CPU and a small grid; "
            "--sizes 224 448 768 1024 --batch-sizes 1 2 4 8 16 32 64 128 256 is the full one"
        )
    if sweep.stored:
        already = f"{sweep.stored} of {sweep.total} points were in {store} already"
        remarks.append(f"{already}; --again measures them once more")
    return remarks


def _show(rows: Sequence[ThroughputRow], style: str, output: Path | None, *, spread: bool) -> None:
    from fgbench_reports.spread import spread_notes, spread_table
    from fgbench_reports.tables import render
    from fgbench_reports.throughput import frame_notes, throughput_frame, throughput_notes, throughput_tables

    if style == "json":
        text = render.to_json([row.as_dict() for row in rows])
    elif style == "csv":
        text = render.to_csv([row.as_dict() for row in rows])
    elif style == "markdown":
        text = render.to_markdown(throughput_frame(rows), notes=frame_notes(rows))
    elif style == "latex":
        text = render.to_latex(throughput_frame(rows), notes=frame_notes(rows))
    else:
        tables, notes = list(throughput_tables(rows)), throughput_notes(rows)
        if spread:
            tables, notes = [*tables, spread_table(rows)], [*notes, *spread_notes(rows)]
        text = render.to_terminal(tables, notes, to_file=output is not None)
    emit_as(style, text, output)
