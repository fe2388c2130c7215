"""What a worker does: one request after the other, each answered by a result, a refusal, or the worker's end."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.measure.bench import Bench, resolve_and_fit
from fgbench.measure.copy_rate import copy_rate
from fgbench.measure.matrix_rate import matrix_rate
from fgbench.measure.memory import available_bytes, limit_memory
from fgbench.measure.modes import first_line
from fgbench.measure.nvml import Gpu
from fgbench.measure.points import ModelSpec, RunMode
from fgbench.measure.subjects import selector
from fgbench.plugins.code import foreign_code
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.registry import selectors
from fgbench.plugins.trying import attempt
from fgbench.workers.messages import Message, Messages

SPARED = 0.9  # of the memory that is free; the rest is the system's
TELL_S = 1.0  # between figures so far: whoever shows them takes a core for a moment
NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc",
             "alloc_failed", "failed to allocate")  # fmt: skip


class Worker:
    """Answers requests; keeps the model that was loaded last."""

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.bench: Bench | None = None
        self.requests: dict[str, Callable[..., Message]] = {
            "try": attempt,
            "plugins": self.plugins,
            "resolve": self.resolve,
            "describe": self.describe,
            "rate": self.rate,
            "copies": self.copies,
            "load": self.load,
            "measure": self.measure,
            "selector_codes": self.selector_codes,
            "count_selection": self.count_selection,
            "measure_selection": self.measure_selection,
            "measure_backends": self.measure_backends,
        }

    def serve(self) -> None:
        """Answer until the connection ends. A copy of this process that foreign code forks does not."""
        here = os.getpid()
        while True:
            answer = self.answer(**self.messages.receive())
            if os.getpid() != here:
                return
            try:
                self.messages.send(answer)
            except ValueError:  # a clock that stood still
                self.messages.send({"failed": "error", "reason": "the result is not finite", "refused": False})

    def answer(self, do: str, **arguments: Any) -> Message:
        """The result of a request, or why there is none."""
        try:
            return {"done": self.requests[do](**arguments)}
        except BaseException as error:  # sys.exit in a plug-in as well
            traceback.print_exc()  # into the worker's log
            known = isinstance(error, FgbenchError)
            return {
                "failed": "oom" if is_out_of_memory(error) else "error",
                "reason": str(error) if known else f"{type(error).__name__}: {first_line(error)}",
                "refused": known,
            }

    def plugins(self, files: list[str]) -> Message:
        """Load plug-in files; what is broken is named."""
        problems: list[FgbenchError] = []
        add_plugin_files(files, problems.append)
        return {"problems": [str(problem) for problem in problems]}

    def resolve(self, cases: list[Message]) -> Message:
        """Fill in the defaults of cases; what does not fit says why."""
        found: list[Message] = []
        for case in cases:
            try:
                resolved, cut = resolve_and_fit(ModelSpec(**case))
                found.append({"case": asdict(resolved), "cut_off": cut})
            except FgbenchError as error:
                found.append({"refused": str(error), "unknown": isinstance(error, UnknownNameError)})
        return {"cases": found}

    def describe(self, device: str | None) -> Message:
        """The device that was asked for, or the best there is, and the libraries that run on it."""
        there = torch.cuda.is_available()
        facts: Message = {"torch": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
        if device == "cuda" and not there:
            built = "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA device is there"
            raise FgbenchError(f"cannot measure on cuda: {built}", do="--device cpu measures here")
        if device == "cpu" or not there:
            return {"device": "cpu", "device_name": None, "uuid": None, **facts, "cuda": None}
        device_facts = torch.cuda.get_device_properties(0)
        uuid = str(getattr(device_facts, "uuid", "")) or None
        gpu = Gpu.open(uuid)
        return {
            "device": "cuda",
            "device_name": device_facts.name,
            "uuid": uuid,
            "device_memory_bytes": device_facts.total_memory,
            "compute_capability": f"{device_facts.major}.{device_facts.minor}",
            "cudnn": torch.backends.cudnn.version(),
            **facts,
            "threads": None,
            "nvml": asdict(gpu.facts()),
        }

    def rate(self, mode: Message) -> Message:
        """The measured rate of matrix products."""
        return {"flop_s": matrix_rate(RunMode(**mode))}

    def copies(self, mode: Message) -> Message:
        """The measured rate of copies."""
        return {"bytes_s": copy_rate(RunMode(**mode))}

    def load(self, case: Message, mode: Message, uuid: str | None, cap_s: float | None) -> Message:
        """Build a model and bring it to its device."""
        asked = RunMode(**mode)
        _limit(asked)
        gpu = Gpu.open(uuid) if asked.device == "cuda" else None
        self.bench = Bench(ModelSpec(**case), asked, gpu=gpu, cap_s=cap_s)
        return {}

    def measure(self, batch_size: int, energy: bool) -> Message:
        """Measure one batch size of the loaded model."""
        assert self.bench is not None, "load comes first"

        told = -TELL_S

        def progress(latency_s: float, blocks: int) -> None:
            nonlocal told
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                self.messages.send({"now": {"latency_s": latency_s, "blocks": blocks}})

        return self.bench.measure(batch_size, energy=energy, progress=progress)

    def selector_codes(self, names: list[str]) -> Message:
        """A digest of the code of each selector that is not fgbench's own."""
        return {"codes": {name: foreign_code(selectors.load(name)) for name in names}}

    def count_selection(self, point: Message) -> Message:
        """The work of a selection, or of its backbone, without running it."""
        asked = _point(point)
        found = selector.count_point(asked)
        return {"num_tokens": asked.num_tokens, "macs": found.macs, "flops": found.flops(), "bytes": found.bytes}

    def measure_selection(self, point: Message, cap_s: float) -> Message:
        """Measure one selection, or its backbone."""
        asked = _point(point)
        _limit(asked.mode)
        return selector.measure_point(asked, cap_s)

    def measure_backends(self, maps: int, num_tokens: int, mode: Message, cap_s: float) -> Message:
        """Measure v·A by every back end."""
        asked = RunMode(**mode)
        _limit(asked)
        names = selector.known_backends(asked.device)
        return {"backends": selector.measure_backends(maps, num_tokens, names, asked, cap_s)}


def _point(point: Message) -> selector.SelectionPoint:
    return selector.SelectionPoint(**{**point, "mode": RunMode(**point["mode"])})


def _limit(mode: RunMode) -> None:
    """Have an allocation that a CPU's memory does not hold fail, before the system kills somebody."""
    if mode.device != "cpu":
        return
    free = available_bytes()
    most = mode.memory_limit_bytes or (None if free is None else int(SPARED * free))
    if most is not None:
        limit_memory(most)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that led to it, says that memory ran out, in the words of whoever met it."""
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(error, (RuntimeError, OSError)) and any(words in str(error).lower() for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def serve(messages: Messages) -> None:
    """Answer requests until the connection ends."""
    Worker(messages).serve()
