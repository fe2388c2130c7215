"""The setup that all sweeps share: the first worker, the facts in keys of points, the rates of a device. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fgbench.errors import BrokenPluginError, CannotMeasureError, FgbenchError
from fgbench.measure.points import Rates, RunMode
from fgbench.plugins.kinds import Kind
from fgbench.plugins.trial import try_points
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool

SETUP_S = 300.0  # to name devices and check what was asked for
LOOK_S = 1.0  # between looks at a point that another run measures
# Facts of the environment that could change a figure; the others are only kept with the row.
IN_KEY = (
    *("device_name", "device_memory_bytes", "cpu", "cpus", "settings"),
    *("torch", "cuda", "cudnn", "driver", "timm", "python", "code"),
)


def key_facts(facts: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The part of an environment that belongs into the key of a point.

    Args:
        facts: The environment.
        *more: Names of facts beside :data:`IN_KEY`.

    Returns:
        The facts by name, None for those that the environment lacks.

    """
    return {name: facts.get(name) for name in (*IN_KEY, *more)}


def first_worker(pool: WorkerPool) -> Worker:
    """Fork a worker before anything is measured. Raises :class:`CannotMeasureError` where none starts."""
    try:
        return pool.fork()
    except WorkerFailed as failure:
        raise CannotMeasureError(f"nothing can be measured: {failure.reason}") from failure


def ask(worker: Worker, do: str, **arguments: Any) -> dict[str, Any]:
    """Ask a worker before anything is measured.

    Args:
        worker: The worker.
        do: Name of the request.
        **arguments: Fields of the request.

    Returns:
        The answer.

    Raises:
        FgbenchError: The worker refuses: the request is wrong.
        CannotMeasureError: There is no answer for another reason.

    """
    try:
        return worker.ask(do, SETUP_S, **arguments)
    except WorkerFailed as failure:
        if failure.refused:
            raise FgbenchError(failure.reason) from failure
        raise CannotMeasureError(f"nothing can be measured, '{do}' failed: {failure.reason}") from failure


def usable_names(pool: WorkerPool, kind: Kind, names: Sequence[str]) -> tuple[list[str], list[BrokenPluginError]]:
    """The names that can be loaded, unknown ones included, and why others cannot."""
    registered = kind.registry.entries()
    entries = [registered[name] for name in names if name in registered]
    why = {name: outcome.why for (_, name), outcome in try_points(kind, entries, pool).items() if outcome.why}
    broken = [BrokenPluginError(name, registered[name].origin, reason) for name, reason in why.items()]
    return [name for name in names if name not in why], broken


def measure_rates(pool: WorkerPool, mode: RunMode, uuid: str | None, tick: Callable[[], None]) -> Rates:
    """Measure the rates of matrix products and of copies, each in a worker that may die of it.

    Args:
        pool: Forks the workers.
        mode: The mode whose precision the products have.
        uuid: Of the GPU; None on a CPU.
        tick: Called every few seconds meanwhile.

    Returns:
        The rates. One that could not be measured is None, with the reason.

    """
    flop_s, why = _rate(pool, "rate", "flop_s", "matrix products", mode, uuid, tick)
    bytes_s, why_no_copies = _rate(pool, "copies", "bytes_s", "copies", mode, uuid, tick)
    return Rates(flop_s=flop_s, bytes_s=bytes_s, why=why, why_no_copies=why_no_copies)


def _rate(
    pool: WorkerPool, do: str, name: str, what: str, mode: RunMode, uuid: str | None, tick: Callable[[], None]
) -> tuple[float | None, str | None]:
    """One rate, or the reason why there is none."""
    try:
        with pool.fork() as worker:
            return worker.ask(do, SETUP_S, tick=tick, mode=asdict(mode), uuid=uuid)[name], None
    except WorkerFailed as failure:
        return None, f"the rate of {what} could not be measured: {failure.reason}"
