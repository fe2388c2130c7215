"""Measure every selector by itself beside its backbone, and the back ends of v·A, each in a fresh process. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fgbench.measure.points import RunMode
from fgbench.measure.timer import timing_plan
from fgbench.results.environment import code_digest, processor, software
from fgbench.results.records import BackendRow, SelectionRow
from fgbench.workers.pool import WorkerFailed, WorkerPool

SIZES = (224, 448, 768, 1024)
CPU_CAP_S = 3.0  # of timed blocks; what takes longer in one run is run once
BACKENDS_CAP_S = 0.6
SETUP_S, LIMIT_S = 300.0, 1800.0
MAPS = (12, 96)  # B·H: one image and eight
TOKENS = (50, 101, 145, 197, 290, 401, 577, 785, 1025, 1370, 2305)  # grids of 7 to 48 patches
IMPLS = ("published", "fast")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """The selectors, sizes and kernels to measure, in one mode."""

    mode: RunMode
    selectors: Sequence[str]
    image_sizes: Sequence[int] = SIZES
    batch_size: int = 1
    tokens: Sequence[int] = TOKENS  # of the back ends
    maps: Sequence[int] = MAPS
    cap_s: float | None = None


def describe(host: WorkerPool, device: str | None) -> tuple[str, dict[str, Any]]:
    """The device that was asked for, or the best one, and the environment of its rows."""
    with host.fork() as worker:
        described = worker.ask("describe", SETUP_S, device=device)
    hardware = processor()
    name = described["device_name"] or hardware["cpu"]
    facts = {fact: described[fact] for fact in ("torch", "cuda", "threads")}
    return described["device"], {"device_name": name, **facts, **software(), **hardware, "code": code_digest()}


def measure_roof(host: WorkerPool, mode: RunMode) -> dict[str, float | None]:
    """The device's rates of matrix products and of copies."""
    return {
        "product_flop_s": _ask(host, "rate", mode=asdict(mode)).get("flop_s"),
        "copy_bytes_s": _ask(host, "copies", mode=asdict(mode)).get("bytes_s"),
    }


def selection_rows(host: WorkerPool, request: SelectionRequest, progress: Progress) -> Iterator[SelectionRow]:
    """The backbone and every selector in both implementations, size by size."""
    kinds = [(None, None), *((name, impl) for name in request.selectors for impl in IMPLS)]
    for size in request.image_sizes:
        for selector, impl in kinds:
            progress(f"{selector or 'backbone'} {impl or ''} at {size}")
            yield _selection_row(host, request, selector, impl, size)


def _selection_row(
    host: WorkerPool, request: SelectionRequest, selector: str | None, impl: str | None, size: int
) -> SelectionRow:
    mode = request.mode
    point: dict[str, Any] = {"selector": selector, "impl": impl, "image_size": size, "batch_size": request.batch_size}
    with host.fork() as worker:
        count = worker.ask("count_selection", SETUP_S, **point, dtype=mode.dtype)
    cap_s = request.cap_s or (CPU_CAP_S if mode.device == "cpu" else timing_plan(mode.device, None).cap_s)
    measured = _ask(host, "measure_selection", **point, mode=asdict(mode), cap_s=cap_s)
    where = {"device": mode.device, "dtype": mode.dtype, "num_tokens": count.pop("num_tokens")}
    fields: dict[str, Any] = {"backends": {}, "added_memory_bytes": None, **point, **where, **count, **measured}
    return SelectionRow(**fields)


def backend_rows(host: WorkerPool, request: SelectionRequest, progress: Progress) -> Iterator[BackendRow]:
    """``v A`` by every back end over numbers of tokens, each number in a fresh process."""
    mode = request.mode
    for maps in request.maps:
        for tokens in request.tokens:
            progress(f"v·A of {maps} maps, N = {tokens}")
            cap_s = request.cap_s or BACKENDS_CAP_S
            answer = _ask(host, "measure_backends", maps=maps, num_tokens=tokens, mode=asdict(mode), cap_s=cap_s)
            for backend, fields in answer.get("backends", {}).items():
                yield BackendRow(
                    backend=backend, maps=maps, num_tokens=tokens, device=mode.device, dtype=mode.dtype, **fields
                )


def _ask(host: WorkerPool, do: str, **arguments: Any) -> dict[str, Any]:
    """The answer of a fresh process, or the fields of a row that say why there is none."""
    try:
        with host.fork() as worker:
            return worker.ask(do, LIMIT_S, **arguments)
    except WorkerFailed as failure:
        times = ("latency_s", "latency_ci95_low_s", "latency_ci95_high_s")
        return {"status": failure.status, "reason": str(failure), **dict.fromkeys(times), "blocks": []}
