"""One selection by itself: timed on the features that a ViT-B/16 hands over, and counted on the same ones without data.

The published computation gets ready maps, as its backbone leaves them; the fast one gets queries, keys and the
log-sum-exps of the backbone's own attention. Making them is the backbone's work, and not timed.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from fgbench.errors import FgbenchError
from fgbench.flops.counter import Count, count_flops
from fgbench.measure.clocks import EventClock, HostClock, Step
from fgbench.measure.interference import TOLERATED, Interference
from fgbench.measure.memory import forget_peak, peak_resident_bytes, settle_allocator
from fgbench.measure.modes import WEIGHTS, eager_step, prepare, random_images, set_precision
from fgbench.measure.points import RunMode
from fgbench.measure.timer import time_iterations, timing_plan
from fgbench.models.build import create_model
from fgbench.models.model import Model
from fgbench.plugins.registry import make_selector
from fgbench_selectors import QK, Features, Maps
from fgbench_selectors.backends.left import BACKENDS, choose, left
from fgbench_selectors.backends.recording import record_backends
from fgbench_selectors.selector import Selector

BACKBONE, CLASSES = "vit_base_patch16_224", 200
PATCH, DEPTH, HEADS, HEAD_DIM = 16, 12, 12, 64  # ViT-B/16
TRIES = 2  # of a point that is disturbed, before it is kept as such
SMALL = 32  # pixels: what libraries take for themselves when they are first used is not the selection's


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPoint:
    """What is measured: a selector in one implementation, or the backbone, at one size."""

    selector: str | None  # None: the backbone's forward pass
    impl: str | None
    image_size: int  # pixels, square
    batch_size: int
    mode: RunMode

    @property
    def num_tokens(self) -> int:
        """N: the class token and the patches."""
        return 1 + (self.image_size // PATCH) ** 2


def features_for(point: SelectionPoint, selector: Selector, image_size: int, device: str) -> Features:
    """What a ViT-B/16 hands to a selector: random, of unit variance, and no more than the selector declares."""
    needs, dtype = selector.needs, WEIGHTS.get(point.mode.dtype, torch.float32)
    shape = (point.batch_size, 1 + (image_size // PATCH) ** 2)

    def block() -> QK | Maps:
        made = projected(*shape, HEADS, dtype, device)
        if point.impl == "fast":
            return replace(made, lse=made.logsumexp())
        logits = made.logits_map()
        return Maps(logits.softmax(dim=-1), logits if needs.logits else None)

    read = range(DEPTH)[needs.blocks] if needs.blocks is not None else range(0)
    return Features(
        tokens=torch.randn(*shape, HEADS * HEAD_DIM, dtype=dtype, device=device) if needs.tokens else None,
        attention=[block() if index in read else None for index in range(DEPTH)],
    )


def projected(batch: int, tokens: int, heads: int, dtype: torch.dtype, device: str) -> QK:
    """Random queries and keys of one block, in memory as timm's joint projection leaves them beside the values."""
    joint = torch.randn(batch, tokens, 3 * heads * HEAD_DIM, dtype=dtype, device=device)
    q, k, _ = (part.unflatten(-1, (heads, HEAD_DIM)).transpose(1, 2) for part in joint.chunk(3, dim=-1))
    return QK(q, k)


def count_point(point: SelectionPoint) -> Count:
    """The work of a point, on tensors that hold no data."""
    if point.selector is None:
        with torch.device("meta"):
            model = prepare(_backbone(point), replace(point.mode, device="meta"))
        shape = (point.batch_size, 3, point.image_size, point.image_size)
        images = torch.empty(shape, dtype=WEIGHTS.get(point.mode.dtype), device="meta")
        return count_flops(lambda: model(images))
    selector = _selector(point).to("meta")
    features = features_for(point, selector, point.image_size, "meta")
    return count_flops(lambda: selector(features))


def measure_point(point: SelectionPoint, cap_s: float) -> dict[str, Any]:
    """Time, memory and back ends of a point: the fields of its row. Belongs into a process of its own."""
    _prepare(point.mode)
    if point.selector is None:
        run = prepare(_backbone(point), point.mode)
        images = random_images(point.mode, point.batch_size, point.image_size)
        step = eager_step(run, images, point.mode)
    else:
        step, rehearse = _selection_steps(point)
        rehearse()
    before = _held_memory(point.mode.device)
    clock = _clock(step, point.mode.device)
    with record_backends() as chosen:
        first_s = clock.run(1)[0]
        if point.mode.device == "cuda":  # the first run may have compiled; the second one costs little
            first_s = clock.run(1)[0]
    added = _peak_memory(point.mode.device, before)
    return {**_timed(clock, point.mode, cap_s, first_s), "added_memory_bytes": added, "backends": chosen}


def measure_backends(
    maps: int, num_tokens: int, names: list[str], mode: RunMode, cap_s: float
) -> dict[str, dict[str, Any]]:
    """``v A`` of B·H ``maps`` by every back end that is named: the fields of its row each."""
    _prepare(mode)
    heads, dtype = maps if maps % HEADS else HEADS, WEIGHTS.get(mode.dtype, torch.float32)
    with torch.inference_mode():
        block = projected(maps // heads, num_tokens, heads, dtype, mode.device)
        lse = block.logsumexp()
        v = torch.rand_like(lse)
    found = {}
    for name in names:

        def step(name: str = name) -> object:
            with torch.inference_mode():
                return left(block.q, block.k, lse, v, block.scale, backend=name)

        try:
            fields = _timed(_clock(step, mode.device), mode, cap_s, None)
        except RuntimeError as error:  # a back end that this device has not, or that does not fit
            fields = failed("error", f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        found[name] = {**fields, "chosen": choose(block.q) == name}
    return found


def known_backends(device: str) -> list[str]:
    """The back ends of ``v A`` that can run on a device."""
    return [name for name in BACKENDS if device == "cuda" or name != "triton"]


def failed(status: str, reason: str) -> dict[str, Any]:
    """The fields of a row that has no figure."""
    times = ("latency_s", "latency_ci95_low_s", "latency_ci95_high_s")
    return {"status": status, "reason": reason, **dict.fromkeys(times), "blocks": []}


def _timed(clock: EventClock | HostClock, mode: RunMode, cap_s: float, first_s: float | None) -> dict[str, Any]:
    """Timed by the plan of its device; a first run that took longer than all blocks may is the figure."""
    if first_s is not None and first_s > cap_s:
        reason = f"a single run, which took longer than {cap_s:g} s"
        return failed("unconverged", reason) | {"latency_s": first_s, "blocks": [first_s]}
    plan, load = timing_plan(mode.device, cap_s), Interference(torch.get_num_threads())
    for _ in range(TRIES):
        timing = time_iterations(clock, plan, warmed=load.start)
        lost = (load.share() or 0.0) if mode.device == "cpu" else 0.0
        if lost <= TOLERATED:
            break
    status, reason = "ok", ""
    if lost > TOLERATED:
        status, reason = "contended", f"others took {100 * lost:.0f} % of our threads' time"
    elif not timing.converged:
        status, reason = "unconverged", f"after {cap_s:g} s the interval is ±{100 * timing.relative_half_width:.2g} %"
    low, high = timing.interval_s
    return {
        "status": status,
        "reason": reason or None,
        "latency_s": timing.latency_s,
        "latency_ci95_low_s": low,
        "latency_ci95_high_s": high,
        "blocks": timing.blocks,
    }


def _prepare(mode: RunMode) -> None:
    torch.manual_seed(0)
    if mode.dtype == "amp":
        raise FgbenchError("a selection by itself has no weights that autocast could keep:", mode.dtype)
    if mode.threads is not None:
        torch.set_num_threads(mode.threads)
    set_precision(mode)
    settle_allocator()


def _backbone(point: SelectionPoint) -> Model:
    return create_model("vit", BACKBONE, img_size=point.image_size, num_classes=CLASSES)


def _selector(point: SelectionPoint) -> Selector:
    assert point.selector is not None
    assert point.impl is not None
    return make_selector(point.selector, point.impl, DEPTH).eval()


def _selection_steps(point: SelectionPoint) -> tuple[Step, Step]:
    """The selection, and the same on a small image."""
    selector = _selector(point).to(point.mode.device)

    def step_on(image_size: int) -> Step:
        with torch.inference_mode():
            features = features_for(point, selector, image_size, point.mode.device)

        def step() -> object:
            with torch.inference_mode():
                return selector(features)

        return step

    return step_on(point.image_size), step_on(SMALL)


def _clock(step: Step, device: str) -> EventClock | HostClock:
    return EventClock(step) if device == "cuda" else HostClock(step)


def _held_memory(device: str) -> int | None:
    """Bytes that are held now; the peak begins here."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(AttributeError, OSError):  # what was freed goes back to the system, where that is glibc's
        ctypes.CDLL(None).malloc_trim(0)
    return peak_resident_bytes() if forget_peak() else None


def _peak_memory(device: str, before: int | None) -> int | None:
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_resident_bytes()
    return None if peak is None or before is None else max(0, peak - before)
