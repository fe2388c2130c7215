"""The request of a sweep: what to measure, and how. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from fgbench import values
from fgbench.errors import FgbenchError
from fgbench.measure.points import TORCH
from fgbench.options import (
    AGAIN,
    BACKBONES,
    BATCH_SIZES,
    DEVICE,
    DTYPE,
    ENGINES,
    IMPLEMENTATIONS,
    MAX_TIME,
    MODELS,
    NUM_CLASSES,
    OUTPUT_SECTION,
    PLUGINS,
    RETRY,
    SELECTORS,
    SHAPES,
    THREADS,
    TIMEOUT,
    many,
    one,
    real_paths,
    switch,
    time,
    whole,
)
from fgbench.quantities import arrival_rates, memory_size
from fgbench.results import paper
from fgbench.results.image_size import ImageSize

MAX_REPEATS = 1000

COMPILE = switch("--compile", "torch.compile, for fixed shapes")
CHANNELS_LAST = switch("--channels-last", "memory format of images and weights")
CUDA_GRAPH = switch("--cuda-graph", "replay a CUDA graph, checked on other images")
MEMORY_LIMIT = one(
    "--memory-limit",
    "8GB: what does not fit into it is out of memory",
    "SIZE",
    read=partial(memory_size, what="--memory-limit"),
)
BUDGET = one(
    "--budget",
    "of measuring: the most informative points come first, a point that has begun is finished",
    "TIME",
    read=time("--budget"),
)
REPEAT = one(
    "--repeat",
    "measure every point so many times, in random order",
    "N",
    read=whole("number of repeats", 2, MAX_REPEATS),
)
TAIL = switch("--tail", "go on until there are iterations enough for p99 (368), within --max-time")
CONCURRENCY = many(
    "--concurrency",
    "so many requests in flight in one process: threads with a batch each",
    "N…",
    read=values.numbers_in_flight,
)
RATE = many(
    "--rate",
    "50/s: batches arrive at random times; latency counts from the arrival",
    "RATE…",
    read=arrival_rates,
    write=lambda rate: f"{rate!r}/s",
)
BY_PART = switch("--by-part", "the stages of the forward pass beside it: time and memory of each, torch in eager mode")
TRAIN = switch("--train", "a training step in place of the forward pass: forward, backward, optimizer step")
END_TO_END = one(
    "--end-to-end",
    "a folder of pictures: decoding, resizing, transfer and model beside the forward pass, a batch after the other",
    "DIR",
    read=os.path.realpath,
)
NO_ENERGY = switch("--no-energy", "do not measure energy: 5 s less per point on a GPU", value=False)
WHAT, HOW, HOW_LONG = "What to measure", "How to measure", "How long"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """What to measure, and how.

    Attributes:
        models: Names.
        image_sizes: Sides in pixels, or height × width; None: the device's default.
        batch_sizes: Images per batch; None: the device's default.
        backbones: timm's names; None: every model on the one that it was published with.
        selectors: Names, in place of the published ones; None: those.
        impls: ``"published"``, ``"fast"`` or both.
        engines: Names of engines.
        dtypes: Some of :data:`fgbench.options.ENGINE_DTYPES`.
        device: ``"cuda"`` or ``"cpu"``; None: cuda where there is one.
        num_classes: Classes of the head.
        threads: Of a CPU; None: as many as torch takes.
        compiled: Whether models are compiled by torch.
        channels_last: Whether images and weights have that memory format.
        cuda_graph: Whether a CUDA graph is replayed.
        concurrency: Requests in flight in one process, each number a mode of its own; None: one batch after the other.
        rates_per_s: Batches that arrive per second, each rate a mode of its own; None: each follows the last.
        memory_limit_bytes: What does not fit into it is out of memory; None: what the device has.
        by_part: Whether the stages of the forward pass are measured too.
        training: Whether a training step is measured in place of the forward pass.
        end_to_end: A folder of pictures, on which the way from the file to logits is measured too.
        energy: Whether energy is measured.
        tail: Whether a timing goes on until there are samples enough for the 99th percentile.
        cap_s: Seconds of timed blocks per point; None: the device's plan.
        timeout_s: Seconds for one point, or the building of a model.
        budget_s: Seconds of all measuring; None: no limit.
        repeats: How often every point is measured.
        again: Whether points in the store are measured once more.
        retry: Whether those without a figure, or with one that was disturbed, are.
        plugins: Plug-in files.

    """

    models: Annotated[Sequence[str], MODELS.but(default="the eight of the paper's Table 4"), WHAT] = paper.MODELS
    image_sizes: Annotated[Sequence[ImageSize] | None, SHAPES.but(default="224 448 768 1024; on a CPU 224"), WHAT] = (
        None
    )
    batch_sizes: Annotated[Sequence[int] | None, BATCH_SIZES.but(default="1 2 4 … 256; on a CPU 1 2 4 8"), WHAT] = None
    backbones: Annotated[Sequence[str] | None, BACKBONES.but(default="the published ones"), WHAT] = None
    selectors: Annotated[Sequence[str] | None, SELECTORS, WHAT] = None
    impls: Annotated[Sequence[str], IMPLEMENTATIONS.but(default="fast"), WHAT] = ("fast",)
    dtypes: Annotated[Sequence[str], DTYPE, WHAT] = ("float32",)
    engines: Annotated[Sequence[str], ENGINES, HOW] = (TORCH,)
    device: Annotated[str | None, DEVICE, HOW] = None
    num_classes: Annotated[int, NUM_CLASSES, HOW] = paper.NUM_CLASSES
    threads: Annotated[int | None, THREADS, HOW] = None
    compiled: Annotated[bool, COMPILE, HOW] = False
    channels_last: Annotated[bool, CHANNELS_LAST, HOW] = False
    cuda_graph: Annotated[bool, CUDA_GRAPH, HOW] = False
    concurrency: Annotated[Sequence[int] | None, CONCURRENCY, HOW] = None
    rates_per_s: Annotated[Sequence[float] | None, RATE, HOW] = None
    memory_limit_bytes: Annotated[int | None, MEMORY_LIMIT, HOW] = None
    by_part: Annotated[bool, BY_PART, HOW] = False
    training: Annotated[bool, TRAIN, HOW] = False
    end_to_end: Annotated[str | None, END_TO_END, HOW] = None
    cap_s: Annotated[
        float | None,
        MAX_TIME.but(help="of timed blocks, per point, warm-up not counted", default="6s; CPU 10s"),
        HOW_LONG,
    ] = None
    timeout_s: Annotated[
        float, TIMEOUT.but(help="a worker that has no result for a point by then is ended"), HOW_LONG
    ] = 600.0
    budget_s: Annotated[float | None, BUDGET, HOW_LONG] = None
    repeats: Annotated[int, REPEAT, HOW_LONG] = 1
    tail: Annotated[bool, TAIL, HOW_LONG] = False
    energy: Annotated[bool, NO_ENERGY, HOW_LONG] = True
    again: Annotated[bool, AGAIN, OUTPUT_SECTION] = False
    retry: Annotated[bool, RETRY, OUTPUT_SECTION] = False
    plugins: Annotated[Sequence[str], PLUGINS.but(read=real_paths), OUTPUT_SECTION] = ()

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            FgbenchError: For a compiled model in a CUDA graph, stages of what has none, or a folder that is not there.

        """
        self._check_parts()
        if self.cuda_graph and self.compiled:
            raise FgbenchError("each is a mode of its own:", "--compile and --cuda-graph", "leave one of them out")

    def _check_parts(self) -> None:
        """Refuse parts of a run that has none."""
        for hidden, flag in ((self.compiled, "--compile"), (self.cuda_graph, "--cuda-graph")):
            if self.by_part and hidden:
                do = f"leave {flag} or --by-part out"
                raise FgbenchError("stages run one by one in eager mode, and cannot be told apart with", flag, do)
        for asked, flag in ((self.by_part, "--by-part"), (self.end_to_end, "--end-to-end")):
            if self.training and asked:
                raise FgbenchError(f"{flag} divides a forward pass, and this is a", "--train", "leave one of them out")
        divided = self.by_part or self.end_to_end is not None
        for load, flag in ((self.concurrency, "--concurrency"), (self.rates_per_s, "--rate")):
            if load and (divided or self.training):
                mine = "--train" if self.training else "--by-part" if self.by_part else "--end-to-end"
                what = f"{mine} runs one batch after the other, and is not measured under"
                raise FgbenchError(what, flag, "leave one of them out")
        if self.end_to_end is not None and not all(isinstance(size, int) for size in self.image_sizes or ()):
            what = "--end-to-end resizes pictures to squares, and takes no size as"
            raise FgbenchError(what, "224x448", "give a side, as 224")
        if self.training and self.cuda_graph:
            raise FgbenchError("a training step is not captured in a", "--cuda-graph", "leave it or --train out")
        if self.end_to_end is not None and not Path(self.end_to_end).is_dir():
            raise FgbenchError(
                "no such folder of pictures:", self.end_to_end, "give a folder with files that Pillow reads"
            )


# Image sizes and batch sizes where none are given.
CPU_GRID = (224,), (1, 2, 4, 8)
GPU_GRID = paper.IMAGE_SIZES, (1, 2, 4, 8, 16, 32, 64, 128, 256)
