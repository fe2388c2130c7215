"""One model in one mode, measured batch by batch in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from fgbench.backbone_shape import cut_off_by
from fgbench.errors import FgbenchError
from fgbench.measure.clocks import EventClock, EventQueue, HostClock, Step
from fgbench.measure.energy import Energy, measure_energy
from fgbench.measure.memory import settle_allocator
from fgbench.measure.modes import (
    WEIGHTS,
    eager_step,
    first_line,
    forget_compiled,
    graph_step,
    prepare,
    random_images,
    set_precision,
)
from fgbench.measure.nvml import Gpu
from fgbench.measure.points import NOT_ASKED_FOR, ModelSpec, RunMode
from fgbench.measure.timer import Timing, time_iterations, timing_plan
from fgbench.measure.watch import CpuWatch, CudaWatch, busy_at_start
from fgbench.measure.work import Work, count_work
from fgbench.models.backbone import brought_by
from fgbench.models.build import create_model, model_class, model_options
from fgbench.models.model import Model
from fgbench.plugins.code import foreign_code
from fgbench_selectors.backends.recording import record_backends

Progress = Callable[[float, int], None]
TRIES = 2  # of a point that is disturbed, before it is kept as such


def resolve(case: ModelSpec) -> ModelSpec:
    """A case with its defaults filled in. Raises :class:`FgbenchError` for what does not fit."""
    return resolve_and_fit(case)[0]


def resolve_and_fit(case: ModelSpec) -> tuple[ModelSpec, int]:
    """The same, and how many pixels of a side the model's patches leave out."""
    model = _on_meta(case)
    impl = (case.impl or model.impl) if model.two_impls else None
    backbone = case.backbone or type(model).default_backbone
    found = replace(
        case,
        backbone=backbone,
        selector=model.selector_name,
        impl=impl,
        foreign_code=foreign_code(type(model), type(model.selector), *brought_by(backbone)),
    )
    return found, cut_off_by(model)


def build(case: ModelSpec) -> Model:
    """The model of a case, with random weights."""
    options: dict[str, Any] = {} if case.impl is None else {"impl": case.impl}
    if case.selector is not None:
        if "selector" not in model_options(model_class(case.model)):
            raise FgbenchError("this model selects nothing by a selector:", case.model, "leave --selectors out")
        options["selector"] = case.selector
    backbone = case.backbone or None
    return create_model(case.model, backbone, img_size=case.image_size, num_classes=case.num_classes, **options)


def _on_meta(case: ModelSpec) -> Model:
    with torch.device("meta"):
        return build(case).eval()


class Bench:
    """A built model, ready to be measured at any batch size."""

    def __init__(self, case: ModelSpec, mode: RunMode, *, gpu: Gpu | None = None, cap_s: float | None = None) -> None:
        self.case, self.mode, self.gpu = case, mode, gpu
        self.plan = timing_plan(mode.device, cap_s)
        self.missing: dict[str, str] = {}  # field → why it is null
        self.busy = busy_at_start(gpu) if gpu is not None else None  # before anything of ours runs there
        self.memory_before = gpu.used_memory_bytes() if gpu is not None else None
        torch.manual_seed(0)
        if mode.threads is not None:
            torch.set_num_threads(mode.threads)
        if mode.device == "cuda" and mode.memory_limit_bytes is not None:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, mode.memory_limit_bytes / total))
        set_precision(mode)
        settle_allocator()
        self.work = self._work()
        with torch.device(mode.device):
            model = build(case)
        self.run = prepare(model, mode)

    def measure(self, batch_size: int, *, energy: bool = True, progress: Progress = lambda *_: None) -> dict[str, Any]:
        """Time, memory and energy of one batch size: the fields of a row, and what else was seen.

        Raises what the model raises, out of memory included.
        """
        if self.mode.compiled:
            forget_compiled()
        images = random_images(self.mode, batch_size, self.case.image_size)
        missing, seen = dict(self.missing), dict[str, Any]()
        watch = self._watch(missing)  # before a graph is captured: its memory belongs to the point
        with record_backends() as chosen:  # what a graph replays and a compiler has fixed is named while it is made
            step = eager_step(self.run, images, self.mode)
            if self.mode.cuda_graph:
                step, checked = graph_step(self.run, images, self.mode)
                seen |= checked
            clock = EventClock(step, watch.glance) if isinstance(watch, CudaWatch) else HostClock(step)
            attempts = 0
            disturbed: str | None = "not measured yet"
            while disturbed and attempts < TRIES:
                attempts += 1
                timing = time_iterations(clock, self.plan, warmed=watch.warmed, progress=progress)
                disturbed = watch.disturbed()
        seen |= watch.seen() | {"attempts": attempts, "back_ends": chosen, **_timing_facts(timing)}
        status, reason = self._verdict(timing, disturbed)
        low, high = timing.interval_s
        fields = {
            "status": status,
            "reason": reason,
            "latency_s": timing.latency_s,
            "latency_ci95_low_s": low,
            "latency_ci95_high_s": high,
            "blocks": timing.blocks,
            "throughput_img_s": batch_size / timing.latency_s,
            **watch.memory(),
        }
        spent = self._energy(step, batch_size, missing, wanted=energy)
        fields["energy_j_per_image"] = spent.energy_j_per_image if spent else None
        seen |= {"energy": asdict(spent)} if spent and spent.reason is None else {}
        return {**fields, **self._work_fields(batch_size), "missing": missing, "seen": seen}

    def _watch(self, missing: dict[str, str]) -> CpuWatch | CudaWatch:
        if self.gpu is None:
            return CpuWatch(missing, torch.get_num_threads())
        return CudaWatch(missing, self.gpu, self.memory_before, keep_peak=self.mode.cuda_graph)

    def _verdict(self, timing: Timing, disturbed: str | None) -> tuple[str, str | None]:
        if self.busy or disturbed:
            return "contended", self.busy or disturbed
        if not timing.converged:
            low, high = timing.interval_s
            width = f"{50 * (high - low) / timing.latency_s:.2g} %"
            return (
                "unconverged",
                f"after {self.plan.cap_s:g} s the interval is ±{width}, not ±{100 * self.plan.target:g} %",
            )
        return "ok", None

    def _work(self) -> Work | None:
        """What one image takes, counted without running it."""
        try:
            return count_work(_on_meta(self.case), self.case.image_size, WEIGHTS.get(self.mode.dtype))
        except Exception as error:  # a foreign selector may do what cannot be counted; it can still be timed
            self.missing["mfu"] = f"its work could not be counted: {first_line(error)}"
            return None

    def _work_fields(self, batch_size: int) -> dict[str, Any]:
        if self.work is None:
            return {"macs_per_image": None, "bytes_per_image": None}
        # Which operators autocast runs in half precision is not known without running them.
        moved = None if self.mode.dtype == "amp" else self.work.bytes_per_image(batch_size)
        return {"macs_per_image": self.work.macs_per_image, "bytes_per_image": moved}

    def _energy(self, step: Step, batch_size: int, missing: dict[str, str], *, wanted: bool) -> Energy | None:
        if self.gpu is None:
            missing["energy_j_per_image"] = "no energy counter is read on a CPU"
            return None
        if not wanted:
            missing["energy_j_per_image"] = NOT_ASKED_FOR
            return None
        spent = measure_energy(EventQueue(step), self.gpu.energy_j, time.monotonic, batch_size)
        if spent.reason is not None:
            missing["energy_j_per_image"] = spent.reason
        return spent


def _timing_facts(timing: Timing) -> dict[str, Any]:
    return {
        "iterations_per_block": timing.iterations,
        "warm_up_iterations": timing.warm_iterations,
        "warm_up_s": timing.warm_s,
    }
