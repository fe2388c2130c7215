"""A worker: it answers one request after the other by a result, a refusal, or its end."""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import scipy.special  # noqa: F401  # loaded once, before workers are forked: intervals need it
import torch

from fgbench.errors import FgbenchError, UnknownNameError
from fgbench.measure.agreement import Reference, make_reference, pictures_of
from fgbench.measure.engine import Engine, first_line, is_out_of_memory
from fgbench.measure.engine_registry import describe_engine, open_engine, why_unusable
from fgbench.measure.parts import measure_end_to_end, measure_stages
from fgbench.measure.point import LoadedSubject, OnProgress, check_loadable
from fgbench.measure.points import TORCH, ModelSpec, RunMode
from fgbench.measure.rates import copy_rate, matrix_rate, open_torch
from fgbench.measure.selections import measure_kernels, measure_selection
from fgbench.measure.subject import HALVES
from fgbench.measure.subjects.kernel import kernel_names
from fgbench.measure.subjects.model import ModelSubject, resolve
from fgbench.measure.subjects.selector import num_tokens, selection_subject
from fgbench.plugins.code import foreign_code
from fgbench.plugins.files import add_plugin_files
from fgbench.plugins.kinds import selectors
from fgbench.plugins.trial_worker import attempt
from fgbench.results.records import Status
from fgbench.workers.messages import Message, Messages
from fgbench_selectors.plugins import in_other_words

TELL_S = 1.0  # between figures so far: whoever shows them takes a core for a moment


class Worker:
    """Answers requests; keeps the model that was loaded last."""

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.engine: Engine | None = None
        self.loaded: LoadedSubject | None = None
        self.requests: dict[str, Callable[..., Message]] = {
            "try": attempt,
            "plugins": self.plugins,
            "resolve": self.resolve,
            "why_unusable": self.why_unusable,
            "describe": self.describe,
            "rate": self.rate,
            "copies": self.copies,
            "reference": self.reference,
            "export": self.export,
            "load": self.load,
            "unload": self.unload,
            "measure": self.measure,
            "measure_stages": self.measure_stages,
            "measure_end_to_end": self.measure_end_to_end,
            "pictures": self.pictures,
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
                self.messages.send({"failed": Status.ERROR, "reason": "the result is not finite", "refused": False})

    def answer(self, do: str, **arguments: Any) -> Message:
        """The result of a request, or why there is none."""
        try:
            return {"done": self.requests[do](**arguments)}
        except BaseException as error:  # sys.exit in a plug-in as well
            traceback.print_exc()  # into the worker's log
            known = isinstance(error, FgbenchError)
            return {
                "failed": Status.OOM if self._is_out_of_memory(error) else Status.ERROR,
                "reason": str(error) if known else _described(error),
                "refused": known,
            }

    def plugins(self, files: list[str]) -> Message:
        """Load plug-in files; what is broken is named."""
        problems: list[FgbenchError] = []
        add_plugin_files(files, problems.append)
        return {"problems": [str(problem) for problem in problems]}

    def resolve(self, cases: list[Message]) -> Message:
        """Fill in the defaults of models; one that does not fit says why."""
        answers: list[Message] = []
        for case in cases:
            try:
                resolved, cut = resolve(ModelSpec(**case))
                answers.append({"case": asdict(resolved), "cut_off": cut})
            except FgbenchError as error:
                answers.append({"refused": str(error), "unknown": isinstance(error, UnknownNameError)})
            except Exception as error:  # of foreign code: the other models are measured
                traceback.print_exc()
                why = f"{case['model']!r} cannot be built: {_described(error)}"
                answers.append({"refused": why, "unknown": False})
        return {"cases": answers}

    def why_unusable(self, engine: str) -> Message:
        """Why an engine cannot be used here, or null."""
        return {"why": why_unusable(engine)}

    def describe(self, device: str | None, engine: str = TORCH, modes: Sequence[Message] = ()) -> Message:
        """Describe an engine on the device that was asked for, or on the best one, and fill in its modes."""
        return describe_engine(engine, device, [RunMode(**mode) for mode in modes])

    def rate(self, mode: Message, uuid: str | None) -> Message:
        """Measure the rate of matrix products."""
        return {"flop_s": matrix_rate(open_torch(RunMode(**mode), uuid))}

    def copies(self, mode: Message, uuid: str | None) -> Message:
        """Measure the rate of copies."""
        return {"bytes_s": copy_rate(open_torch(RunMode(**mode), uuid))}

    def reference(self, case: Message, device: str) -> Message:
        """The outputs of a model in torch's float32."""
        return make_reference(ModelSubject(ModelSpec(**case)), device).message()

    def export(self, case: Message, mode: Message, uuid: str | None, folder: str) -> Message:
        """Write the files that an engine loads. Memory is limited where the model runs, not here."""
        subject = ModelSubject(ModelSpec(**case))
        self.engine = open_engine(RunMode(**mode), uuid)
        check_loadable(subject, self.engine)
        return {"facts": dict(self.engine.export(subject, Path(folder)))}

    def load(
        self,
        case: Message,
        mode: Message,
        uuid: str | None,
        cap_s: float | None,
        folder: str | None = None,
        reference: Message | None = None,
    ) -> Message:
        """Build a model and load it into its engine; what it is compared with has been made before."""
        subject, engine = ModelSubject(ModelSpec(**case)), self._open(mode, uuid)
        engine.folder = None if folder is None else Path(folder)
        compared = None if reference is None else Reference.of_message(pictures_of(subject), reference)
        self.loaded = LoadedSubject(subject, engine, cap_s, reference=compared)
        return {}

    def unload(self) -> Message:
        """Let go of the loaded model: libraries remove what they have unpacked."""
        self.loaded = self.engine = None
        gc.collect()
        return {}

    def measure(self, batch_size: int, energy: bool, tail: bool = False) -> Message:
        """Measure one batch size of the loaded model."""
        assert self.loaded is not None, "load comes first"
        return self.loaded.measure(batch_size, energy=energy, tail=tail, progress=self._progress())

    def measure_stages(self, batch_size: int) -> Message:
        """Measure the stages of the loaded model at one batch size."""
        assert self.loaded is not None, "load comes first"
        return {"parts": measure_stages(self.loaded, batch_size, progress=self._progress())}

    def measure_end_to_end(self, batch_size: int, image_size: int, files: list[str]) -> Message:
        """Measure the way from files to logits at one batch size of the loaded model."""
        assert self.loaded is not None, "load comes first"
        from fgbench.sweep.pictures import PicturesInParts  # others need not load torchvision's transforms

        way = PicturesInParts(files, batch_size, image_size)
        return {"parts": measure_end_to_end(self.loaded, batch_size, way, progress=self._progress())}

    def pictures(self, files: list[str]) -> Message:
        """Read pictures; by the path of each that cannot be read, why."""
        from fgbench.sweep.pictures import unreadable

        return {"unreadable": unreadable(files)}

    def _progress(self) -> OnProgress:
        """What tells the figures so far, now and then."""
        sent = -TELL_S

        def progress(latency_s: float, blocks: int) -> None:
            nonlocal sent
            if time.monotonic() - sent >= TELL_S:
                sent = time.monotonic()
                self.messages.send({"now": {"latency_s": latency_s, "blocks": blocks}})

        return progress

    def selector_codes(self, names: list[str]) -> Message:
        """A digest of the code of each selector that is not fgbench's own."""
        return {"codes": {name: foreign_code(selectors.load(name)) for name in names}}

    def count_selection(
        self, selector: str | None, impl: str | None, image_size: int, batch_size: int, dtype: str
    ) -> Message:
        """Count the work of a selector by itself, or of its backbone, without running it."""
        subject = selection_subject(selector, impl, image_size)
        count = subject.count(batch_size, HALVES.get(dtype, torch.float32))
        return {"num_tokens": num_tokens(image_size), "macs": count.macs, "flops": count.flops(), "bytes": count.bytes}

    def measure_selection(
        self,
        selector: str | None,
        impl: str | None,
        image_size: int,
        batch_size: int,
        mode: Message,
        uuid: str | None,
        cap_s: float,
    ) -> Message:
        """Measure a selector by itself, or its backbone."""
        subject = selection_subject(selector, impl, image_size)
        return measure_selection(subject, self._open(mode, uuid), batch_size, cap_s)

    def measure_backends(self, maps: int, num_tokens: int, mode: Message, uuid: str | None, cap_s: float) -> Message:
        """Measure v·A by every back end."""
        engine = self._open(mode, uuid)
        return {"backends": measure_kernels(engine, maps, num_tokens, kernel_names(engine.mode.device), cap_s)}

    def _open(self, mode: Message, uuid: str | None) -> Engine:
        """Open an engine, with its memory limited to what there is."""
        self.engine = open_engine(RunMode(**mode), uuid)
        self.engine.limit_memory()
        return self.engine

    def _is_out_of_memory(self, error: BaseException) -> bool:
        return self.engine.is_out_of_memory(error) if self.engine is not None else is_out_of_memory(error)


def _described(error: BaseException) -> str:
    """An exception in one line."""
    return in_other_words(error) or f"{type(error).__name__}: {first_line(error)}"


def serve(messages: Messages) -> None:
    """Answer requests until the connection ends."""
    Worker(messages).serve()
