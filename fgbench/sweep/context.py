"""The context of a sweep: its engines on their devices, its points with their keys, the environment of its rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fgbench.backbone_shape import cut_off_line
from fgbench.errors import BrokenPluginError, FgbenchError, LeftOutNotice, OnProblem
from fgbench.measure.points import TORCH, ModelSpec, PointGroup, Rates, RunMode, point_key
from fgbench.measure.rows import environment_facts
from fgbench.measure.timer import timing_plan
from fgbench.plugins.kinds import kind_of
from fgbench.plugins.trial import try_files
from fgbench.results.image_size import ImageSize
from fgbench.results.records import Status
from fgbench.results.reduced_name import function_file, is_function
from fgbench.sweep.picture_files import Pictures, check_parts, readable_pictures
from fgbench.sweep.preparations import Preparations
from fgbench.sweep.request import CPU_GRID, GPU_GRID, SweepRequest
from fgbench.sweep.setup import SETUP_S, ask, first_worker, key_facts, measure_rates, usable_names
from fgbench.workers.pool import Worker, WorkerFailed, WorkerPool
from fgbench_selectors.plugins import existing_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An engine in one mode, on its device."""

    device: str  # cuda or cpu
    uuid: str | None  # of a GPU
    facts: Mapping[str, Any]  # the environment of rows
    exports: bool = False  # whether the engine writes files before it loads a model
    is_reference: bool = True  # whether the outputs of others are compared with its
    runs_in_parts: bool = False  # whether the engine runs models stage by stage
    takes_pictures: bool = False  # whether it can be fed


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepContext:
    """The part of a sweep that stays the same from its first point to its last."""

    request: SweepRequest
    groups: list[PointGroup]
    batch_sizes: tuple[int, ...]  # ascending
    platforms: Mapping[RunMode, Platform]
    rates: dict[RunMode, Rates] = field(default_factory=dict)
    preparations: Preparations = field(default_factory=Preparations)
    pictures: Pictures | None = None  # of the way from files to logits

    @property
    def device(self) -> str:
        """The device of the first engine: cuda or cpu."""
        return next(iter(self.platforms.values())).device

    def key(self, group: PointGroup, batch_size: int, part: str | None = None, **session: Any) -> str:
        """The key of a point, or of a part of it that more facts of a session may change."""
        facts = self.platforms[group.mode].facts
        more = ("max_time_s",) if group.mode.engine == TORCH else ("max_time_s", "engine")
        return point_key(group, batch_size, key_facts(facts, *more) | session, part)

    def facts(self, group: PointGroup) -> dict[str, Any]:
        """The environment of the rows of a group."""
        exported = self.preparations.export_facts(group)
        facts = {**self.platforms[group.mode].facts, **function_file(group.case.model)}
        return {**facts, **({"export": dict(exported)} if exported else {})}

    def missing(self, group: PointGroup) -> dict[str, str]:
        """By field, why rows of a group lack it although they were measured."""
        why = self.preparations.why_no_reference(group, self.platforms[group.mode].device)
        return {"agreement": why} if why else {}

    def worker(self, pool: WorkerPool, group: PointGroup, tick: Callable[[], None] = lambda: None) -> Worker:
        """A fresh worker with the model of a group.

        Raises:
            WorkerFailed: Where there is none, or the model cannot be loaded.
            CannotExportError: Where the engine needs a file of the model that cannot be written.

        """
        platform = self.platforms[group.mode]
        mode = group.mode.unloaded
        if mode not in self.rates:
            self.rates[mode] = measure_rates(pool, mode, platform.uuid, tick)
        limit_s, plugins = self.request.timeout_s, list(self.request.plugins)
        made, prepared = (pool, group), dict[str, Any]()
        if platform.exports:
            prepared["folder"] = self.preparations.folder(*made, platform.uuid, limit_s, plugins, tick)
        if not platform.is_reference:
            prepared["reference"] = self.preparations.reference(*made, platform.device, limit_s, plugins, tick)
        worker = pool.fork()
        try:
            if plugins:
                worker.ask("plugins", limit_s, tick=tick, files=plugins)
            prepared |= {"case": asdict(group.case), "mode": asdict(group.mode), "uuid": platform.uuid}
            worker.ask("load", limit_s, tick=tick, cap_s=self.request.cap_s, **prepared)
        except BaseException:
            worker.close()
            raise
        return worker


def open_sweep(request: SweepRequest, pool: WorkerPool, on_problem: OnProblem) -> SweepContext:
    """Describe the engines on their devices, and check the request against them.

    Args:
        request: What to measure.
        pool: Starts the worker that is asked.
        on_problem: Receives the parts of the request that do not fit, where others do.

    Returns:
        The context of the sweep.

    Raises:
        FgbenchError: Where nothing of the request can be measured.

    """
    request = _without_broken(pool, request, on_problem)
    with first_worker(pool) as worker:
        for problem in ask(worker, "plugins", files=list(request.plugins))["problems"]:
            on_problem(FgbenchError(problem))
        platforms = _platforms(worker, request, on_problem)
        check_parts(request, platforms, on_problem)
        pictures = None if request.end_to_end is None else readable_pictures(worker, request.end_to_end, on_problem)
    on_cpu = any(platform.device == "cpu" for platform in platforms.values())
    sizes, batches = CPU_GRID if on_cpu else GPU_GRID
    cases = _cases(pool, request, request.image_sizes or sizes, on_problem)
    repeats = range(1, request.repeats + 1) if request.repeats > 1 else [None]
    return SweepContext(
        request=request,
        groups=[
            PointGroup(case=case, mode=mode, repeat=repeat)
            for case in cases
            for mode in platforms
            for repeat in repeats
        ],
        batch_sizes=tuple(sorted(set(request.batch_sizes or batches))),
        platforms=platforms,
        pictures=pictures,
    )


def why_unusable(pool: WorkerPool, engine: str, file: Path | None) -> str | None:
    """Ask a worker of its own why an engine cannot be used here.

    Args:
        pool: Starts the worker.
        engine: A registered name.
        file: The plug-in file that it comes from; None for an entry point.

    Returns:
        The reason in words, that the worker crashed among them; None where the engine can be used.

    Raises:
        CannotMeasureError: Where no worker starts.

    """
    with first_worker(pool) as worker:
        try:
            worker.ask("plugins", SETUP_S, files=[str(file)] if file else [])
            why: str | None = worker.ask("why_unusable", SETUP_S, engine=engine)["why"]
        except WorkerFailed as failure:
            return failure.reason
    return why


def _without_broken(pool: WorkerPool, request: SweepRequest, on_problem: OnProblem) -> SweepRequest:
    """A request without foreign code that cannot be loaded; each is tried in a process of its own, which it may end.

    Raises :class:`BrokenPluginError` where no model, selector or engine is left of those that were asked for.
    """
    for file in request.plugins:
        existing_file(Path(file))
    files = try_files(request.plugins, pool)
    problems = [outcome for outcome in files.values() if isinstance(outcome, BrokenPluginError)]
    usable: dict[str, list[str]] = {}
    for kind, names in (("models", request.models), ("selectors", request.selectors), ("engines", request.engines)):
        usable[kind], broken = usable_names(pool, kind_of(f"fgbench.{kind}"), names or ())
        if broken and not usable[kind]:
            raise broken[0]
        problems += broken
    for problem in problems:
        on_problem(problem)
    return replace(
        request,
        plugins=[file for file, outcome in files.items() if not isinstance(outcome, BrokenPluginError)],
        models=usable["models"],
        selectors=request.selectors and usable["selectors"],
        engines=usable["engines"],
    )


def _platforms(worker: Worker, request: SweepRequest, on_problem: OnProblem) -> dict[RunMode, Platform]:
    """Every engine in every mode. Raises :class:`FgbenchError` where no engine can be used."""
    options: dict[str, Any] = {
        "compiled": request.compiled,
        "channels_last": request.channels_last,
        "cuda_graph": request.cuda_graph,
        "threads": request.threads,
        "memory_limit_bytes": request.memory_limit_bytes,
        "training": request.training,
    }
    modes = [
        asdict(RunMode(dtype=dtype, concurrency=servers, rate_per_s=rate, **options))
        for dtype in request.dtypes
        for servers in request.concurrency or (None,)
        for rate in request.rates_per_s or (None,)
    ]
    platforms: dict[RunMode, Platform] = {}
    refusals: list[FgbenchError] = []
    for engine in dict.fromkeys(request.engines):
        try:
            described = ask(worker, "describe", device=request.device, engine=engine, modes=modes)
        except FgbenchError as error:
            refusals.append(error)
            continue
        refusals += map(FgbenchError, described["refused"])
        facts = environment_facts(described) | {"max_time_s": timing_plan(described["device"], request.cap_s).cap_s}
        for settled in described["modes"]:
            platforms[RunMode(**settled["mode"])] = Platform(
                device=described["device"],
                uuid=described["uuid"],
                facts=facts | {"engine": settled["engine"]},
                exports=settled["exports"],
                is_reference=settled["reference"],
                runs_in_parts=settled["runs_in_parts"],
                takes_pictures=settled["takes_pictures"],
            )
    _report(refusals, on_problem, nothing_left=not platforms)
    return platforms


def _cases(
    pool: WorkerPool, request: SweepRequest, sizes: Sequence[ImageSize], on_problem: OnProblem
) -> list[ModelSpec]:
    """Cases with their defaults filled in. Each function is called in a worker of its own, which it may end."""
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
    together = itertools.groupby(wanted, lambda case: case["model"] if is_function(str(case["model"])) else "")
    answers = [answer for function, some in together for answer in _resolved(pool, request, function, list(some))]
    found = list(dict.fromkeys(ModelSpec(**answer["case"]) for answer in answers if "case" in answer))
    refusals = list(dict.fromkeys(answer["refused"] for answer in answers if "refused" in answer))
    unknown = [answer["refused"] for answer in answers if answer.get("unknown")]
    if unknown:
        raise FgbenchError(unknown[0])
    _report(list(map(FgbenchError, refusals)), on_problem, nothing_left=not found)
    _report_cut_off(answers, on_problem)
    return found


def _resolved(
    pool: WorkerPool, request: SweepRequest, function: Any, cases: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The answers of a fresh worker to some cases: those of one function, or of all other models.

    A function that ends its worker for one case is asked for the others in another worker, unless it took too long.
    """
    answers: list[dict[str, Any]] = []
    left = list(cases)
    while left:
        with first_worker(pool) as worker:
            ask(worker, "plugins", files=list(request.plugins))
            if not function:
                found: list[dict[str, Any]] = ask(worker, "resolve", cases=cases)["cases"]
                return found
            try:
                while left:
                    case = left.pop(0)
                    answers += worker.ask("resolve", request.timeout_s, cases=[case])["cases"]
            except WorkerFailed as failure:
                what = f"{function!r} cannot be built at {case['image_size']}"
                answers.append({"refused": f"{what}: {failure.reason}"})
                left = [] if failure.status == Status.TIMEOUT else left
    return answers


def _report(refusals: Sequence[FgbenchError], on_problem: OnProblem, *, nothing_left: bool) -> None:
    """Report what does not fit. Raises the last one where nothing is left to be measured."""
    for refusal in refusals[:-1] if nothing_left else refusals:
        on_problem(refusal)
    if nothing_left:
        raise refusals[-1]


def _report_cut_off(answers: Sequence[Mapping[str, Any]], on_problem: OnProblem) -> None:
    """Say which sizes lose pixels, a line per model and backbone."""
    cut: dict[str, dict[ImageSize, int]] = {}
    for answer in answers:
        if "case" in answer:
            case = answer["case"]
            sizes = cut.setdefault(f"{case['model']} on {case['backbone']}", {})
            sizes[case["image_size"]] = answer["cut_off"]
    for name, pixels in cut.items():
        if line := cut_off_line(name, pixels):
            on_problem(LeftOutNotice(line))
