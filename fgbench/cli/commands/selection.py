"""``fgbench selection``: the cost of every selector by itself, and of the kernels of v·A."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgbench.cli import early
from fgbench.cli.arguments import choice, image_sizes, names, output_format, whole_number
from fgbench.cli.errors import INTERRUPTED, complain
from fgbench.cli.options import Format, Many, Output, Plugin, Text, option, switch
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.quantities import duration
from fgbench.results.output import check_output, emit_as

if TYPE_CHECKING:
    from fgbench.sweep.selector_sweep import SelectionRequest, SelectorSweep
    from fgbench_reports.report import Table

DTYPES = ("float32", "tf32", "float16", "bfloat16")
MAX_BATCH, MAX_THREADS, MAX_TOKENS = 1_000_000, 4096, 2**20


def selection(
    selectors: Annotated[Many, option("--selectors", "'fgbench list selectors'  [default: all]")] = None,
    sizes: Annotated[Many, option("--sizes", "image sides  [default: 224 448 768 1024]", "PIXELS…")] = None,
    batch_size: Annotated[str, option("--batch-size", "images of a batch", "N")] = "1",
    kernels: Annotated[bool, switch("--kernels", "measure the kernels of v·A over numbers of tokens as well")] = False,
    tokens: Annotated[Many, option("--tokens", "of --kernels  [default: 50 to 2305, eleven numbers]", "N…")] = None,
    device: Annotated[Text, option("--device", "cuda or cpu  [default: cuda where there is one]", "NAME")] = None,
    dtype: Annotated[str, option("--dtype", "float32, tf32, float16 or bfloat16", "NAME")] = "float32",
    threads: Annotated[Text, option("--threads", "of a CPU  [default: torch's]", "N")] = None,
    max_time: Annotated[
        Text,
        option("--max-time", "of timed blocks, per point  [default: 3s, on a GPU 6s; kernels 0.6s]", "TIME"),
    ] = None,
    store: Annotated[
        Path, typer.Option("--store", metavar="FILE", envvar="FGBENCH_STORE", help="where results are kept")
    ] = Path("fgbench.db"),
    again: Annotated[bool, switch("--again", "measure what is in the store once more")] = False,
    plugin: Plugin = None,
    format_: Format = None,
    output: Output = None,
) -> None:
    """Measure what every selector costs by itself: FLOPs, bytes, time and memory, beside one pass of ViT-B/16.

    A selector starts from what its backbone leaves it: the published one from N×N attention maps, the fast one from
    queries, keys and their log-sum-exps. To make those is not timed. Finished points are kept; start the command again,
    and the rest is measured.
    """
    from fgbench.measure.points import DEVICES
    from fgbench.sweep.selector_sweep import SIZES, TOKENS, SelectionRequest

    style = output_format(format_, output)
    if tokens and not kernels:
        raise FgbenchError("--tokens is for the kernels of v·A", do="give --kernels as well")
    if kernels and style == "csv":
        raise FgbenchError("CSV holds one kind of rows, and --kernels makes two", do="--format json holds both")
    numbers = names(tokens, "number of tokens")
    request = SelectionRequest(
        selectors=names(selectors, "selector"),
        image_sizes=image_sizes(sizes, SIZES),
        batch_size=whole_number(batch_size, "batch size", 1, MAX_BATCH),
        kernels=kernels,
        tokens=[whole_number(word, "number of tokens", 197, MAX_TOKENS) for word in numbers] if numbers else TOKENS,
        device=None if device is None else choice(device, "device", DEVICES),
        dtype=choice(dtype, "dtype", DTYPES),
        threads=None if threads is None else whole_number(threads, "number of threads", 4, MAX_THREADS),
        cap_s=None if max_time is None else duration(max_time, "--max-time"),
        plugins=[os.path.realpath(name) for name in plugin or ()],
        again=again,
    )
    early.check_names(selectors=request.selectors, plugins=request.plugins)
    check_output(output)
    _run(request, store, style, output)


def _run(request: SelectionRequest, store: Path, style: str, output: Path | None) -> None:
    """Measure, and show the finished rows, however the run ended."""
    from fgbench.cli.selection_progress import SelectionProgress
    from fgbench.results.store import PATIENCE_S, Store
    from fgbench.sweep.selector_sweep import SelectorSweep
    from fgbench.workers.supervisor import WorkerPool

    problems: list[FgbenchError] = []
    failure: FgbenchError | None = None
    interrupted = False
    with Store(store, patience_s=PATIENCE_S, tell=complain) as kept, WorkerPool() as pool:
        with SelectionProgress() as progress:
            sweep = SelectorSweep(request=request, store=kept, pool=pool, on_problem=problems.append, on_event=progress)
            try:
                sweep.run()
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not lose the finished rows
                interrupted = True
            except FgbenchError as error:
                failure = error
        if sweep.rows or style in ("json", "csv"):
            emit_as(style, _text(sweep.rows, style, to_file=output is not None), output)
    for line in [*problems, *_remarks(sweep, store)]:
        complain(line)
    if failure is not None:
        raise failure
    if interrupted:
        count = f"{sweep.finished} of {len(sweep.points)} points are in {store}"
        complain(f"interrupted; {count}, start again for the others")
        raise typer.Exit(INTERRUPTED)
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))
    if sweep.rows and not any(row["latency_s"] for row in sweep.rows):
        raise CannotMeasureError("no point could be measured; the reasons are above")


def _remarks(sweep: SelectorSweep, store: Path) -> list[str]:
    """Lines that the reader of the table needs beside it."""
    if not sweep.stored:
        return []
    return [f"{sweep.stored} of {len(sweep.points)} points were in {store} already; --again measures them once more"]


def _text(rows: Sequence[Mapping[str, Any]], style: str, *, to_file: bool) -> str:
    from fgbench_reports.tables import formats, render

    if style == "json":
        return render.to_json(rows)
    if style == "csv":
        return render.to_csv(rows)
    tables = _tables(rows)
    if style == "table":
        terminal = [formats.to_terminal_table(table) for table in tables]
        notes = list(dict.fromkeys(note for table in tables for note in table.notes))
        return render.to_terminal(terminal, notes, to_file=to_file)
    write = formats.to_markdown if style == "markdown" else formats.to_latex
    return "\n".join(write(table) for table in tables)


def _tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables of the report ``selections``, and one of the kernels."""
    from fgbench_reports.data import Data
    from fgbench_reports.measured.selections import Selections
    from fgbench_reports.report import Table
    from fgbench_reports.selector_cost import backend_frame
    from fgbench_reports.tables.build import made

    kernels = [row for row in rows if "maps" in row]
    items = Selections().items(Data(selection=[row for row in rows if "maps" not in row]))
    tables = [item for item in items if isinstance(item, Table)]
    if kernels:
        frame = backend_frame(kernels)
        words = ("fastest", "chosen", "contended")
        tables.append(made("kernels", "Kernels of v·A: milliseconds of every back end", frame, {}, names=words))
    return tables
