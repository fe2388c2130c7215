"""A sweep from its request to its rows, with a store and worker processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgbench.errors import FgbenchError, OnProblem
from fgbench.measure.points import TORCH
from fgbench.results.records import ThroughputRow
from fgbench.results.store import PATIENCE_S, Store
from fgbench.sweep.context import open_sweep
from fgbench.sweep.request import SweepRequest
from fgbench.sweep.sweep import Event, Sweep
from fgbench.workers import pool as workers


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The rows of a sweep, and why there are not more of them."""

    rows: Sequence[ThroughputRow]  # of finished points, in the order of the request
    total: int  # points that were asked for
    remarks: Sequence[str]  # sentences: points that a budget left out, or that were in the store already
    interrupted: bool  # by Ctrl-C
    failure: FgbenchError | None  # that ended it


def run_sweep(
    request: SweepRequest,
    store: Path,
    *,
    progress: Callable[[Event], None] = lambda _: None,
    on_problem: OnProblem = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> SweepResult:
    """Measure what a request asks for and is not in the store; every point is stored when it is finished.

    Args:
        request: The points, and how they are measured.
        store: The file of the store.
        progress: Gets an event when something is measured or finished.
        on_problem: Gets parts of the request that do not fit, before anything is measured.
        on_wait: Gets a sentence when the store is locked by another process.
        on_interrupt: Is called at once when Ctrl-C ends the sweep.

    Returns:
        All rows of the request that are finished, also after an interrupt or a failure.

    Raises:
        FgbenchError: Where nothing of the request can be measured.

    """
    failure: FgbenchError | None = None
    interrupted = False
    with Store(store, patience_s=PATIENCE_S, tell=on_wait) as opened, workers.WorkerPool() as pool:
        context = open_sweep(request, pool, on_problem)
        sweep = Sweep(context=context, store=opened, pool=pool, tell=progress, on_problem=on_problem)
        try:
            sweep.run()
        except KeyboardInterrupt:
            on_interrupt()
            interrupted = True
        except FgbenchError as error:
            failure = error
        finally:
            context.preparations.close()
        return SweepResult(
            rows=sweep.rows,
            total=sweep.total,
            remarks=remarks_of(sweep, request, store),
            interrupted=interrupted,
            failure=failure,
        )


def _about_devices(sweep: Sweep) -> list[str]:
    """Which engines are measured on the CPU, and that the grid is a small one therefore."""
    platforms = sweep.context.platforms
    devices = {mode.engine: platform.device for mode, platform in platforms.items()}
    on_cpu = [engine for engine, device in devices.items() if device == "cpu"]
    if not on_cpu:
        return []
    if len(on_cpu) < len(devices):
        why = f"{' and '.join(on_cpu)} can use the CPU alone, so this is"
    else:
        why = "no CUDA device is there, so this is" if TORCH in devices else "this is"
        why += " the CPU and"
    return [f"{why} a small grid; --sizes 224 448 768 1024 --batch-sizes 1 2 4 8 16 32 64 128 256 is the full one"]


def remarks_of(sweep: Sweep, request: SweepRequest, store: Path) -> list[str]:
    """What a reader of the rows should know beside them."""
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
    if request.device is None and not (request.image_sizes or request.batch_sizes):
        remarks += _about_devices(sweep)
    if sweep.stored:
        already = f"{sweep.stored} of {sweep.total} points were in {store} already"
        remarks.append(f"{already}; --again measures them once more")
    return remarks
