"""Measure one point: a loaded subject at one batch size, until its figures can be trusted or the time is up.

The stopping rule, intervals, second attempts, verdicts, energy and memory stand here for every engine and subject.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from fgbench.errors import FgbenchError
from fgbench.measure.agreement import Reference, compare, not_finite
from fgbench.measure.clocks import Clock, Step
from fgbench.measure.energy import Energy, measure_energy
from fgbench.measure.engine import Batch, Engine, PrepareBatch, first_line
from fgbench.measure.load import LoadTiming, is_load, load_plan, time_requests
from fgbench.measure.points import NOT_ASKED_FOR
from fgbench.measure.rows import no_figures
from fgbench.measure.subject import HALVES, Subject, TakesImages, Work, count_training, count_work
from fgbench.measure.tail import SAMPLES, Tail, tail_of
from fgbench.measure.timer import ATTEMPTS, Timing, TimingPlan, time_iterations, timing_plan
from fgbench.measure.watch import Watch
from fgbench.models.any_network import logits_of
from fgbench.results.records import Status
from fgbench_selectors.backends.recording import record_backends

OnProgress = Callable[[float, int], None]  # the median latency so far in seconds, the number of blocks


def check_loadable(subject: Subject, engine: Engine) -> None:
    """Raise :class:`FgbenchError` with the reason, where an engine cannot load a subject."""
    if why := engine.why_not(subject):
        spec = subject.spec
        label = " ".join(word for word in (spec.model, spec.selector, spec.impl) if word)
        raise FgbenchError(f"engine {engine.mode.engine!r} cannot load {label} in {engine.mode.dtype}: {why}")


class LoadedSubject:
    """A subject that an engine has loaded; it can be measured at any batch size.

    Args:
        subject: What is measured.
        engine: What runs it.
        cap_s: Limit of the timed blocks of a point in seconds; the device's own by default.
        count: Whether to count the work of one image, for the fields of :meth:`measure` that need it.
        reference: The outputs of torch in float32, which every batch is compared with before it is timed.

    Raises:
        FgbenchError: Where the engine cannot load the subject.

    """

    def __init__(
        self,
        subject: Subject,
        engine: Engine,
        cap_s: float | None = None,
        *,
        count: bool = True,
        reference: Reference | None = None,
    ) -> None:
        self.engine, self.reference = engine, reference
        self.has_logits = isinstance(subject, TakesImages) and not engine.mode.training
        self.plan = load_plan(timing_plan(engine.mode.device, cap_s), engine.mode)
        check_loadable(subject, engine)
        self.missing: dict[str, str] = {}  # by field, why it is null
        self.work = self._work(subject) if count else None
        self.prepare_batch: PrepareBatch = engine.load(subject)

    def measure(
        self,
        batch_size: int,
        *,
        energy: bool = True,
        tail: bool = False,
        first_pass: bool = False,
        progress: OnProgress = lambda *_: None,
    ) -> dict[str, Any]:
        """Measure one batch size.

        Args:
            batch_size: Images, or sets of features.
            energy: Whether to measure energy, where the device counts it.
            tail: Whether to go on, as far as the limit of time allows, until there are samples enough for the 99th
                percentile.
            first_pass: Whether to note what a first pass adds to the memory, and to stop there if it takes longer than
                the plan's limit.
            progress: Called now and then while it is timed.

        Returns:
            ``status`` and ``reason``; the latency in seconds with its interval, blocks and percentiles; throughput,
            memory and energy; ``agreement`` with the reference; ``macs_per_image`` and ``bytes_per_image``;
            ``missing``, by field why it is null; ``seen``, what is kept beside the row. A wrong output has the status
            ``error`` and no time.

        Raises:
            Exception: Whatever the subject or the engine raises, out of memory included.

        """
        missing = dict(self.missing)
        watch = self.engine.watch(missing)
        plan = replace(self.plan, min_samples=SAMPLES) if tail else self.plan
        batch = self.prepare_batch(batch_size)
        agreement, wrong = self._agreement(batch, batch_size, missing)
        if wrong:
            seen = {**watch.seen(), **batch.facts}
            return {**no_figures(Status.ERROR, wrong), "agreement": agreement, "missing": missing, "seen": seen}
        with record_backends() as chosen:
            clock = self.engine.clock(batch.run, watch.glance)
            first = self._first_pass(clock, watch) if first_pass else {}
            if first.get("latency_s") is not None:
                return {**first, "missing": missing, "seen": {"back_ends": chosen}}
            timing, attempts, disturbed = self._timing(batch, clock, plan, watch, progress)
        status, reason = self.verdict(timing, disturbed)
        percentiles = _tail(timing, plan.min_samples)
        memory = watch.memory()
        if self.reference is None and self.has_logits and (wrong := self._not_finite(batch)):
            seen = {**watch.seen(), **batch.facts}
            return {**no_figures(Status.ERROR, wrong), "missing": missing, "seen": seen}
        spent = self._energy(batch.run, batch_size, missing, wanted=energy)
        missing |= percentiles.missing
        seen = {**watch.seen(), "attempts": attempts, "back_ends": chosen, **_timing_facts(timing), **batch.facts}
        seen["percentiles"] = percentiles.seen
        if spent is not None and spent.reason is None:
            seen["energy"] = asdict(spent)
        return {
            **first,
            "status": status,
            "reason": reason,
            **_figures(timing, batch_size),
            **percentiles.figures,
            **memory,
            "energy_j_per_image": spent.energy_j_per_image if spent else None,
            "agreement": agreement,
            **self._work_fields(batch_size),
            "missing": missing,
            "seen": seen,
        }

    def _agreement(
        self, batch: Batch, batch_size: int, missing: dict[str, str]
    ) -> tuple[dict[str, Any] | None, str | None]:
        """The agreement of a batch with the reference, and why its output is wrong."""
        if self.reference is None:
            return None, None
        if batch.outputs is None:
            missing["agreement"] = f"engine {self.engine.mode.engine!r} gives no outputs to compare"
            return None, None
        agreement, wrong = compare(batch.outputs, batch_size, self.reference, self.engine.mode.dtype)
        return agreement, wrong or None

    def _not_finite(self, batch: Batch) -> str | None:
        """Why the logits of one more run, which is not timed, are wrong where there is nothing to compare them with."""
        try:
            logits = logits_of(batch.run(), "the network")
        except FgbenchError:  # the engine keeps its outputs elsewhere
            return None
        kind = not_finite(logits)
        return f"wrong output: its logits are {kind}" if kind else None

    def _work(self, subject: Subject) -> Work | None:
        try:
            count = count_training if self.engine.mode.training else count_work
            return count(subject, HALVES.get(self.engine.mode.dtype, torch.float32))
        except Exception as error:  # a foreign selector may do what cannot be counted; it can still be timed
            spec = subject.spec
            name = f"selector {spec.selector}" if subject.kind == "selector" else spec.model
            self.missing["mfu"] = f"the work of {name} could not be counted: {first_line(error)}"
            return None

    def _first_pass(self, clock: Clock, watch: Watch) -> dict[str, Any]:
        """The memory that the first passes add; the figure itself, where one takes longer than all blocks may."""
        before = watch.begin_peak()
        seconds = [clock.run(1)[0] for _ in range(self.engine.first_passes)][-1]
        peak = watch.peak()
        added = None if peak is None or before is None else max(0, peak - before)
        if seconds <= self.plan.cap_s:
            return {"added_memory_bytes": added}
        reason = f"a single run, which took longer than {self.plan.cap_s:g} s"
        row = no_figures(Status.UNCONVERGED, reason)
        return {**row, "latency_s": seconds, "blocks": [seconds], "added_memory_bytes": added}

    def _timing(
        self, batch: Batch, clock: Clock, plan: TimingPlan, watch: Watch, progress: OnProgress
    ) -> tuple[Timing, int, str | None]:
        """Time the batch, once more where it was disturbed; how often, and what disturbed the last attempt."""
        attempts, mode = 0, self.engine.mode
        steps = self._servers(batch) if is_load(mode) else []
        while True:
            attempts += 1
            timing: Timing
            if steps:
                told: dict[str, Any] = {"progress": progress, "glance": watch.glance, "enter": self.engine.enter_thread}
                timing = time_requests(steps, clock, mode, plan, warmed=watch.warmed, **told)
            else:
                timing = time_iterations(clock, plan, warmed=watch.warmed, progress=progress)
            disturbed = watch.disturbed()
            if disturbed is None or attempts == ATTEMPTS:
                return timing, attempts, disturbed

    def _servers(self, batch: Batch) -> list[Step]:
        """One request of every server, on inputs of its own; it returns when the device has finished."""
        runs, count = [batch.run], self.engine.mode.concurrency or 1
        if count > 1:
            assert batch.another is not None, "an engine that is concurrent has batches with another step"
            runs += [batch.another(seed) for seed in range(1, count)]

        def waiting(run: Step) -> Step:
            def step() -> None:
                run()
                self.engine.synchronize()

            return step

        return [waiting(run) for run in runs]

    def verdict(self, timing: Timing, disturbed: str | None) -> tuple[Status, str | None]:
        """The status of a timing, and why it is not ok."""
        busy = self.engine.device.busy
        if isinstance(timing, LoadTiming) and timing.growing:
            return Status.UNCONVERGED, "; ".join(filter(None, [timing.growing, busy or disturbed]))
        if busy or disturbed:
            return Status.CONTENDED, busy or disturbed
        if timing.converged:
            return Status.OK, None
        low, high = timing.interval_s
        width = f"{50 * (high - low) / timing.latency_s:.2g} %"
        wanted = f"{100 * self.plan.target:g} %"
        return Status.UNCONVERGED, f"after {self.plan.cap_s:g} s the interval is ±{width}, not ±{wanted}"

    def _work_fields(self, batch_size: int) -> dict[str, Any]:
        if self.work is None:
            return {"macs_per_image": None, "bytes_per_image": None}
        # Which operators autocast runs in half precision, or an engine in int8, is not known without running them.
        moved = None if self.engine.mode.dtype in ("amp", "int8") else self.work.bytes_per_image(batch_size)
        counted = {"flops_per_image": self.work.flops_per_image} if self.work.flops_per_image is not None else {}
        return {"macs_per_image": self.work.macs_per_image, "bytes_per_image": moved, **counted}

    def _energy(self, step: Step, batch_size: int, missing: dict[str, str], *, wanted: bool) -> Energy | None:
        device = self.engine.device
        if device.no_energy is not None:
            missing["energy_j_per_image"] = device.no_energy
            return None
        if not wanted:
            missing["energy_j_per_image"] = NOT_ASKED_FOR
            return None
        if is_load(self.engine.mode):
            missing["energy_j_per_image"] = "energy is measured of one batch after the other alone"
            return None
        spent = measure_energy(self.engine.queue(step), device.energy_j, time.monotonic, batch_size)
        if spent.reason is not None:
            missing["energy_j_per_image"] = spent.reason
        return spent


def _figures(timing: Timing, batch_size: int) -> dict[str, Any]:
    """The latency and the throughput; null where a queue grows, as they would only tell how long it was measured."""
    if isinstance(timing, LoadTiming) and timing.growing:
        return {"latency_s": None, "latency_ci95_low_s": None, "latency_ci95_high_s": None, "blocks": []}
    low, high = timing.interval_s
    per_s = timing.per_s if isinstance(timing, LoadTiming) else 1 / timing.latency_s
    return {
        "latency_s": timing.latency_s,
        "latency_ci95_low_s": low,
        "latency_ci95_high_s": high,
        "blocks": timing.blocks,
        "throughput_img_s": batch_size * per_s,
    }


def _tail(timing: Timing, asked_for: int) -> Tail:
    """The percentiles; null where a queue grows."""
    if not isinstance(timing, LoadTiming):
        return tail_of(timing.times, asked_for=asked_for)
    if timing.growing is None:
        return tail_of(timing.times, asked_for=asked_for, correlation=timing.correlation)
    return Tail(seen={"samples": 0, "asked_for": asked_for})


def _timing_facts(timing: Timing) -> dict[str, Any]:
    return {
        **({"load": timing.facts} if isinstance(timing, LoadTiming) else {}),
        "iterations_per_block": timing.iterations,
        "warm_up_iterations": timing.warm_iterations,
        "warm_up_s": timing.warm_s,
    }
