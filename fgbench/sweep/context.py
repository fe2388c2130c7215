"""One session of measuring: its device, the points that were asked for, their keys, and what rows say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fgbench.backbone_shape import cut_off_line
from fgbench.errors import BrokenPluginError, CannotMeasureError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.measure.points import ModelSpec, PointGroup, Rates, RunMode, point_key
from fgbench.measure.timer import timing_plan
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.trial import try_files, try_points
from fgbench.results.environment import code_digest, processor, software
from fgbench.sweep.request import DEFAULTS, SweepRequest
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool
from fgbench_selectors.plugins import existing_file

SETUP_S = 300.0  # to name devices and check what was asked for
# Of a session, what could change a figure; the rest of what is known is kept beside it.
IN_KEY = (
    *("device_name", "device_memory_bytes", "cpu", "cpus", "settings"),
    *("torch", "cuda", "cudnn", "driver", "timm", "python", "code"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepContext:
    """What stays the same from the first point to the last."""

    request: SweepRequest
    device: str  # cuda or cpu
    uuid: str | None  # of the GPU
    groups: list[PointGroup]
    batch_sizes: tuple[int, ...]  # ascending
    facts: Mapping[str, Any]  # the environment of every row
    rates: dict[RunMode, Rates] = field(default_factory=dict)

    def key(self, group: PointGroup, batch_size: int) -> str:
        """The key of a point."""
        facts = {name: self.facts.get(name) for name in (*IN_KEY, "max_time_s")}
        return point_key(group, batch_size, facts)

    def worker(self, host: WorkerPool, group: PointGroup, tick: Callable[[], None] = lambda: None) -> Worker:
        """A fresh worker with the model of a group. Raises :class:`WorkerFailed`."""
        self._measure_rates(host, group.mode)
        worker = host.fork()
        try:
            limit_s, plugins = self.request.timeout_s, list(self.request.plugins)
            if plugins:
                worker.ask("plugins", limit_s, files=plugins)
            case, mode = asdict(group.case), asdict(group.mode)
            worker.ask("load", limit_s, tick=tick, case=case, mode=mode, uuid=self.uuid, cap_s=self.request.cap_s)
        except BaseException:
            worker.close()
            raise
        return worker

    def _measure_rates(self, host: WorkerPool, mode: RunMode) -> None:
        """The rates of matrix products and of copies, once per mode, each in a worker that may die of it."""
        if mode in self.rates:
            return
        found: dict[str, float] = {}
        why = None
        for question, name in (("rate", "flop_s"), ("copies", "bytes_s")):
            try:
                with host.fork() as worker:
                    found[name] = worker.ask(question, SETUP_S, mode=asdict(mode))[name]
            except WorkerFailed as failure:
                what = "the rate of matrix products could not be measured"
                why = f"{what}: {failure.reason}" if name == "flop_s" else why
        self.rates[mode] = Rates(**found, why=why)


def open_sweep(request: SweepRequest, host: WorkerPool, on_problem: OnProblem) -> SweepContext:
    """Name the device and check the request there.

    Raises :class:`FgbenchError` where nothing of it can be measured; the part that does not fit is reported.
    """
    request = _without_broken(host, request, on_problem)
    with _first_worker(host) as worker:
        for problem in _ask(worker, "plugins", files=list(request.plugins))["problems"]:
            on_problem(FgbenchError(problem))
        described = _ask(worker, "describe", device=request.device)
        modes = _modes(request, described)
        sizes, batches = DEFAULTS[described["device"]]
        cases = _cases(worker, request, request.image_sizes or sizes, on_problem)
    repeats = range(1, request.repeats + 1) if request.repeats > 1 else [None]
    return SweepContext(
        request=request,
        device=described["device"],
        uuid=described["uuid"],
        groups=[
            PointGroup(case=case, mode=mode, repeat=repeat) for case in cases for mode in modes for repeat in repeats
        ],
        batch_sizes=tuple(sorted(set(request.batch_sizes or batches))),
        facts=_facts(described) | {"max_time_s": timing_plan(described["device"], request.cap_s).cap_s},
    )


def _first_worker(host: WorkerPool) -> Worker:
    try:
        return host.fork()
    except WorkerFailed as failure:
        raise CannotMeasureError(f"nothing can be measured: {failure.reason}") from failure


def _without_broken(host: WorkerPool, request: SweepRequest, on_problem: OnProblem) -> SweepRequest:
    """A request without foreign code that cannot be loaded; each is tried in a process of its own, which it may end.

    Raises :class:`BrokenPluginError` where no model, or no selector, is left of those that were asked for.
    """
    for file in request.plugins:
        existing_file(Path(file))
    files = try_files(request.plugins, host)
    broken = [found for found in files.values() if isinstance(found, BrokenPluginError)]
    usable: dict[str, list[str]] = {}
    for names, kind in ((request.models, kind_of("fgbench.models")), (request.selectors, kind_of("fgbench.selectors"))):
        registered = kind.registry.entries()
        entries = [registered[name] for name in names or () if name in registered]
        why = {name: found.why for (_, name), found in try_points(kind, entries, host).items() if found.why}
        lost = [BrokenPluginError(name, registered[name].origin, reason) for name, reason in why.items()]
        usable[kind.registry.kind] = [name for name in names or () if name not in why]
        if lost and not usable[kind.registry.kind]:
            raise lost[0]
        broken += lost
    for problem in broken:
        on_problem(problem)
    return replace(
        request,
        plugins=[file for file, found in files.items() if not isinstance(found, BrokenPluginError)],
        models=usable["model"],
        selectors=request.selectors and usable["selector"],
    )


def _facts(described: Mapping[str, Any]) -> dict[str, Any]:
    host = processor()
    facts = {name: value for name, value in described.items() if name not in ("device", "uuid", "threads")}
    facts["device_name"] = facts["device_name"] or host["cpu"]
    facts["driver"] = (facts.get("nvml") or {}).get("driver_version")
    return {**facts, **software(), **host, "code": code_digest()}


def _cases(worker: Worker, request: SweepRequest, sizes: Sequence[int], on_problem: OnProblem) -> list[ModelSpec]:
    """Cases with their defaults filled in."""
    wanted = [
        {
            "model": model,
            "backbone": backbone,
            "selector": selector,
            "impl": impl,
            "image_size": size,
            "num_classes": request.num_classes,
        }
        for model in request.models
        for backbone in request.backbones or ("",)
        for selector in request.selectors or (None,)
        for impl in request.impls
        for size in sizes
    ]
    answers = _ask(worker, "resolve", cases=wanted)["cases"]
    found = list(dict.fromkeys(ModelSpec(**answer["case"]) for answer in answers if "case" in answer))
    refusals = list(dict.fromkeys(answer["refused"] for answer in answers if "refused" in answer))
    unknown = [answer["refused"] for answer in answers if answer.get("unknown")]
    if unknown or not found:
        raise FgbenchError((unknown or refusals)[0])
    for refusal in refusals:
        on_problem(FgbenchError(refusal))
    _report_cut_off(answers, on_problem)
    return found


def _report_cut_off(answers: Sequence[Mapping[str, Any]], on_problem: OnProblem) -> None:
    """Say which sizes lose pixels, a line per model and backbone."""
    cut: dict[str, dict[int, int]] = {}
    for answer in answers:
        if "case" in answer:
            case = answer["case"]
            sizes = cut.setdefault(f"{case['model']} on {case['backbone']}", {})
            sizes[case["image_size"]] = answer["cut_off"]
    for name, pixels in cut.items():
        if line := cut_off_line(name, pixels):
            on_problem(LeftOutNotice(line))


def _modes(request: SweepRequest, described: Mapping[str, Any]) -> list[RunMode]:
    on_cpu = described["device"] == "cpu"
    if on_cpu and request.cuda_graph:
        raise FgbenchError("CUDA graphs run on CUDA devices, and this is a", "cpu", "leave --cuda-graph out")
    if on_cpu and "tf32" in request.dtypes:
        raise FgbenchError("only CUDA devices have", "tf32", "--dtype float32 runs on a CPU")
    return [
        RunMode(
            device=described["device"],
            dtype=dtype,
            compiled=request.compiled,
            channels_last=request.channels_last,
            cuda_graph=request.cuda_graph,
            threads=(request.threads or described["threads"]) if on_cpu else None,
            memory_limit_bytes=request.memory_limit_bytes,
        )
        for dtype in request.dtypes
    ]


def _ask(worker: Worker, do: str, **arguments: Any) -> dict[str, Any]:
    """Ask before anything is measured: a refusal is an error of the request."""
    try:
        return worker.ask(do, SETUP_S, **arguments)
    except WorkerFailed as failure:
        if failure.refused:
            raise FgbenchError(failure.reason) from failure
        raise CannotMeasureError(f"nothing can be measured, '{do}' failed: {failure.reason}") from failure
