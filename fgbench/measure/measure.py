"""Measure one point in this process: what ``fgbench.measure`` calls. No torch before it is called."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgbench.errors import FgbenchError
from fgbench.measure.points import TORCH, ModelSpec, PointGroup, Rates, RunMode
from fgbench.quantities import LONGEST_S
from fgbench.results.image_size import ImageSize, image_size

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fgbench.measure.subject import Subject
    from fgbench.results.records import ThroughputRow

NAMED_ONLY = ("backbone", "selector", "impl", "num_classes")  # options of a subject that is named


def measure(
    subject: str | nn.Module | Subject,
    images: Tensor | int | str | tuple[int, int] = 224,
    *,
    batch_size: int | None = None,
    engine: str = TORCH,
    device: str | None = None,
    dtype: str = "float32",
    backbone: str | None = None,
    selector: str | None = None,
    impl: str | None = None,
    num_classes: int | None = None,
    compiled: bool = False,
    channels_last: bool = False,
    cuda_graph: bool = False,
    training: bool = False,
    threads: int | None = None,
    concurrency: int | None = None,
    rate_per_s: float | None = None,
    energy: bool = True,
    tail: bool = False,
    max_time_s: float | None = None,
    plugins: Sequence[str | Path] = (),
) -> ThroughputRow:
    """Measure time, memory and energy of one batch, in this process.

    ``fgbench throughput`` measures the same in a process of its own for every model, which this function does not:
    ``device_memory_bytes`` is what the process takes of a GPU beyond what was in use at its first measurement, memory
    that it has taken before may be in the way, a crash ends the caller, no time limit ends a run, two calls at the same
    time disturb each other, and nothing is stored.

    Args:
        subject: The name of a published model, which gets random weights; or a network, which is copied; or a subject
            of :mod:`fgbench.measure.subjects`.
        images: Images (B, 3, height, width); for noise their side in pixels, (height, width) or ``"224x448"``. A
            subject has its own inputs.
        batch_size: B; by default that of the images, or 1.
        engine: A name of ``fgbench list engines``.
        device: ``cuda`` or ``cpu``; by default the best that the engine can use.
        dtype: ``float32``, ``tf32``, ``float16``, ``bfloat16``, ``amp`` or ``int8``.
        backbone: Of a named model, as timm names it; by default the published one.
        selector: Of a named model; by default the published one.
        impl: Of a named model, ``published`` or ``fast``; by default ``fast``.
        num_classes: Of a named model; 200 by default.
        compiled: Whether to use torch.compile.
        channels_last: Whether images and weights have that memory format.
        cuda_graph: Whether to replay a CUDA graph.
        training: Whether to measure a training step: forward, backward, optimizer step.
        threads: On a CPU; as many as the engine takes by default.
        concurrency: Requests in flight, each a batch in a thread of its own; by default one batch after the other.
        rate_per_s: Batches that arrive per second, at random times; latencies count from the arrival.
        energy: Whether to measure energy, where the device counts it.
        tail: Whether to go on, within ``max_time_s``, until there are iterations enough for the 99th percentile.
        max_time_s: Limit of the timed blocks in seconds; 6 on a GPU and 10 on a CPU by default.
        plugins: Python files with engines, models or selectors.

    Returns:
        The row that ``fgbench throughput`` stores, which is not compared with others: ``best`` is False.

    Raises:
        FgbenchError: For an unknown name, options that do not fit, or an engine that cannot be used here.
        Exception: Whatever the subject raises while it runs, out of memory included.

    """
    from fgbench.measure.agreement import find_reference
    from fgbench.measure.engine_registry import describe_engine, open_engine
    from fgbench.measure.point import LoadedSubject, check_loadable
    from fgbench.measure.rows import environment_facts, make_row

    threads, concurrency = _whole("threads", threads), _whole("concurrency", concurrency)
    rate_per_s, max_time_s = _positive("rate_per_s", rate_per_s), _positive("max_time_s", max_time_s)
    batch_size, num_classes = _whole("batch_size", batch_size), _whole("num_classes", num_classes)
    _load_plugins(plugins)
    mode = RunMode(
        dtype=dtype,
        compiled=compiled,
        channels_last=channels_last,
        cuda_graph=cuda_graph,
        threads=threads,
        concurrency=concurrency,
        rate_per_s=rate_per_s,
        training=training,
    )
    described = describe_engine(engine, device, [mode])
    settled = described["modes"][0]
    mode = RunMode(**settled["mode"])
    named = {"backbone": backbone, "selector": selector, "impl": impl, "num_classes": num_classes}
    made, batch = _subject(subject, images, named), _batch_size(images, batch_size)
    opened = open_engine(mode, described["uuid"])
    try:
        check_loadable(made, opened)
        reference, why = (None, None) if settled["reference"] else find_reference(made, described["device"])
        with tempfile.TemporaryDirectory(prefix="fgbench-") as folder:
            opened.folder = Path(folder)
            exported = dict(opened.export(made, opened.folder))
            loaded = LoadedSubject(made, opened, max_time_s, reference=reference)
            result = loaded.measure(batch, energy=energy, tail=tail)
    finally:
        opened.close()
    result["missing"] |= {"agreement": why} if why else {}
    rates = _rates(mode.unloaded)  # after the point: its memory is told from what the process holds before
    facts = {**environment_facts(described), "max_time_s": loaded.plan.cap_s, "engine": settled["engine"]}
    facts |= {"export": exported} if exported else {}
    return make_row(PointGroup(case=made.spec, mode=mode), batch, result, facts, rates)


def _whole(name: str, value: object) -> int | None:
    """A whole number of 1 or more, numpy's included; None as it is. Raises :class:`FgbenchError` for another value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise FgbenchError(f"{name} must be a whole number of 1 or more, got", value)
    return int(value)


def _positive(name: str, value: object) -> float | None:
    """A number of seconds, or per second; None as it is. Raises :class:`FgbenchError` for another value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < LONGEST_S:
        raise FgbenchError(f"{name} must be a number above 0 and below {LONGEST_S:g}, got", value)
    return float(value)


def _load_plugins(files: Sequence[str | Path]) -> None:
    """Register plug-in files. Raises what is wrong with the first one."""
    from fgbench.plugins.files import add_plugin_files

    problems: list[FgbenchError] = []
    add_plugin_files([str(file) for file in files], problems.append)
    if problems:
        raise problems[0]


def _subject(
    subject: str | nn.Module | Subject, images: Tensor | int | str | tuple[int, int], named: dict[str, Any]
) -> Subject:
    """The subject of a name, a network or a subject. Raises :class:`FgbenchError` for what is none."""
    from torch import Tensor, nn

    from fgbench.measure.subjects.model import ModelSubject, resolve
    from fgbench.measure.subjects.module import ModuleSubject

    if not isinstance(subject, str):
        for option in NAMED_ONLY:
            if named[option] is not None:
                raise FgbenchError("only a model that is named has the option", option)
    if not isinstance(subject, (str, nn.Module)):
        if not hasattr(subject, "build"):
            raise FgbenchError("cannot measure", subject, "give a model's name, an nn.Module or a subject")
        return subject
    if isinstance(images, Tensor) and (images.dim() != 4 or images.shape[1] != 3):
        raise FgbenchError("images must have the shape (B, 3, height, width), not", tuple(images.shape))
    if isinstance(images, Tensor) and not len(images):
        raise FgbenchError("a batch has 1 image or more, got images of the shape", tuple(images.shape))
    size = _size(tuple(images.shape[2:]) if isinstance(images, Tensor) else images)
    given = images if isinstance(images, Tensor) else None
    if isinstance(subject, nn.Module):
        return ModuleSubject(subject, size, given)
    spec, _ = resolve(
        ModelSpec(
            model=subject,
            backbone=named["backbone"] or "",
            selector=named["selector"],
            impl=named["impl"],
            image_size=size,
            num_classes=named["num_classes"] or 200,
        )
    )
    return ModelSubject(spec, given)


def _size(value: object) -> ImageSize:
    try:
        return image_size(value)
    except ValueError:
        raise FgbenchError("images must be a side in pixels, (height, width) or a tensor, got", value) from None


def _batch_size(images: Tensor | int | str | tuple[int, int], batch_size: int | None) -> int:
    from torch import Tensor

    if not isinstance(images, Tensor):
        return 1 if batch_size is None else batch_size
    if batch_size not in (None, len(images)):
        raise FgbenchError(f"there are {len(images)} images, and the batch size is", batch_size)
    return len(images)


@functools.cache
def _rates(mode: RunMode) -> Rates:
    """The rates of the device, once per mode and process."""
    from fgbench.measure.rates import copy_rate, matrix_rate, open_torch

    try:
        engine = open_torch(replace(mode, compiled=False))
    except FgbenchError as error:
        return Rates(why=f"the rate of matrix products could not be measured: {error}")
    try:
        return Rates(flop_s=matrix_rate(engine), bytes_s=copy_rate(engine))
    finally:
        engine.close()
