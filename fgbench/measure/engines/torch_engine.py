"""The common part of torch's engines: precision, memory format, compilation, one forward pass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step
from fgbench.measure.devices import Device
from fgbench.measure.engine import Batch, Engine, PrepareBatch, is_out_of_memory
from fgbench.measure.memory import settle_allocator
from fgbench.measure.parts import InParts, OnPart
from fgbench.measure.points import RunMode
from fgbench.measure.subject import HALVES, Subject, TakesImages
from fgbench.models.any_network import logits_of
from fgbench.models.model import Model
from fgbench.models.outputs import Outputs, to_arrays
from fgbench.models.training_step import OPTIMIZER, TrainingStep, classes_of, ready_to_train, targets_for

TRAINED = ("model", "module")  # kinds of subjects that are run on images


class TorchEngine(Engine):
    """Runs a network in torch, eager or compiled."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32", "tf32", "float16", "bfloat16", "amp")
    runs_in_parts = takes_pictures = True
    shares_threads = False
    half_of_amp: ClassVar[torch.dtype] = torch.bfloat16  # that autocast computes matrix products in
    matrix_sides: ClassVar[tuple[int, ...]]  # of the products that give the device's rate, ascending
    copied_elements: ClassVar[int]  # float32, far beyond what caches hold

    def __init__(self, mode: RunMode, device: Device) -> None:
        super().__init__(mode, device)
        self._threads_before, self._numbers_before = torch.get_num_threads(), torch.get_rng_state()
        self._numbers_of_gpus_before = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        torch.manual_seed(0)
        if mode.threads is not None:
            torch.set_num_threads(mode.threads)
        try:
            self.set_precision()
        except BaseException:
            self._restore()
            raise
        settle_allocator()

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in torch's number of threads on a CPU. Raises :class:`FgbenchError` for a mode that it does not have."""
        cls.check_dtype(mode.dtype)
        if mode.training:
            _check_training(mode)
        threads = (mode.threads or torch.get_num_threads()) if mode.device == "cpu" else None
        return replace(mode, threads=threads)

    @classmethod
    def is_reference(cls, mode: RunMode) -> bool:
        """Eager, in float32, in torch's own memory format; a training step has no outputs to compare."""
        if mode.training:
            return True
        return mode.dtype == "float32" and not (mode.compiled or mode.cuda_graph or mode.channels_last)

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """Torch's version beside the mode, and the optimizer of a training step."""
        optimizer = {"optimizer": OPTIMIZER} if mode.training else {}
        return {**super().describe(mode), "version": torch.__version__, **optimizer}

    @abstractmethod
    def typical(self, seconds: list[float]) -> float:
        """The seconds of several runs of one step → those that are typical of the device."""

    @abstractmethod
    def set_precision(self) -> None:
        """Set what float32 means in this process."""

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and inputs; with ``amp`` they stay in float32."""
        return HALVES.get(self.mode.dtype, torch.float32)

    @property
    def matrix_dtype(self) -> torch.dtype:
        """Of matrix products."""
        return self.half_of_amp if self.mode.dtype == "amp" else self.dtype

    @property
    def threads(self) -> int:
        """Threads of torch's operators."""
        return torch.get_num_threads()

    def why_not(self, subject: Subject) -> str | None:
        """Autocast chooses a precision by weights, and not every subject has some."""
        if self.mode.dtype == "amp" and not subject.has_weights:
            return "it has no weights that autocast could keep"
        if self.mode.training and subject.kind not in TRAINED:
            return "only a network that classifies images is trained"
        return None

    def load(self, subject: Subject) -> PrepareBatch:
        """Build the network on the device, in the mode's precision and memory format."""
        built = subject.build(self.mode.device)
        if self.mode.training:
            return self.load_training(subject, built)
        named = isinstance(built, Model)  # its selection is compared beside its logits
        network = self.prepare(Outputs(built) if named else built, subject.has_weights)
        forward = (lambda *inputs: network(*inputs)["logits"]) if named else network

        def prepare_batch(batch_size: int) -> Batch:
            if self.mode.compiled:
                forget_compiled()
            inputs = self.inputs(subject, batch_size)
            batch = self.batch(forward, inputs, lambda: self.inputs(subject, batch_size, 1))
            feed = inputs[0].copy_ if subject.kind in TRAINED else None
            batch = replace(batch, in_parts=self.in_parts(built, forward, inputs), feed=feed)
            if self.concurrent:
                batch = replace(batch, another=lambda n: self.step(forward, self.inputs(subject, batch_size, n)))
            if not (named or isinstance(subject, TakesImages)):
                return replace(batch, outputs=None)
            return batch if batch.outputs else replace(batch, outputs=lambda images: self.outputs(network, images))

        return prepare_batch

    def trainer(self, network: nn.Module) -> TrainingStep:
        """The training step of a network on the device, in the mode."""
        ready = ready_to_train(network).to(self.dtype)
        run = self.prepare(ready)
        scaled = self.mode.dtype == "amp" and self.half_of_amp is torch.float16
        scaler = torch.amp.GradScaler(self.mode.device) if scaled else None
        return TrainingStep(ready, run, around=self.autocast, scaler=scaler)

    def load_training(self, subject: Subject, network: nn.Module) -> PrepareBatch:
        """Training steps of a network on the device."""
        classes = classes_of(network, subject.inputs(1, device=self.mode.device)[0])
        trainer = self.trainer(network)

        def prepare_batch(batch_size: int) -> Batch:
            if self.mode.compiled:
                forget_compiled()
            targets = targets_for(batch_size, classes, self.mode.device)
            inputs = self.inputs(subject, batch_size)
            return self.batch(trainer, (*inputs, targets), lambda: (*self.inputs(subject, batch_size, 1), targets))

        return prepare_batch

    def in_parts(self, network: nn.Module, forward: Callable[..., Any], inputs: tuple[Any, ...]) -> InParts | None:
        """One forward pass stage by stage; None where it is compiled, captured, or has no stages."""
        if self.mode.compiled or self.mode.cuda_graph or not isinstance(network, Model):
            return None
        step = self.step(forward, inputs)

        def run(on_part: OnPart) -> object:
            network.on_step = on_part
            try:
                return step()
            finally:
                network.on_step = None

        return run

    def prepare(self, network: nn.Module, has_weights: bool = True) -> Callable[..., Any]:
        """Bring a network on the device into the mode."""
        if has_weights and self.mode.dtype != "int8":
            network = network.to(self.dtype)
        if self.mode.channels_last:
            network = network.to(memory_format=torch.channels_last)
        return torch.compile(network, dynamic=False) if self.mode.compiled else network

    def outputs(self, network: Callable[..., Any], images: Tensor) -> dict[str, Any]:
        """The outputs of a network for images (B, 3, S, S), by name."""
        given = images.to(self.mode.device, self.dtype)
        given = self._formatted(given) if self.mode.channels_last else given
        with torch.inference_mode(), self.autocast():
            found = network(given)
        named = isinstance(found, dict) and "logits" in found
        return to_arrays(found if named else {"logits": logits_of(found, "the network")})

    def inputs(self, subject: Subject, batch_size: int, seed: int = 0) -> tuple[Any, ...]:
        """The inputs of a subject in the mode's precision and memory format."""
        inputs = subject.inputs(batch_size, self.dtype, self.mode.device, seed)
        return tuple(self._formatted(value) for value in inputs) if self.mode.channels_last else inputs

    def batch(
        self, network: Callable[..., Any], inputs: tuple[Any, ...], others: Callable[[], tuple[Any, ...]]
    ) -> Batch:
        """Make a batch of a network on inputs; ``others`` makes different ones of the same shapes."""
        return Batch(self.step(network, inputs))

    def step(self, network: Callable[..., Any], inputs: tuple[Any, ...]) -> Step:
        """One forward pass, or one step of training, as a call without arguments."""
        if self.mode.training:
            return lambda: network(*inputs)

        def step() -> object:
            with torch.inference_mode(), self.autocast():
                return network(*inputs)

        return step

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast for ``amp``; nothing in the other modes."""
        if self.mode.dtype != "amp":
            return nullcontext()
        return torch.autocast(self.mode.device, dtype=self.half_of_amp)

    def enter_thread(self) -> None:
        """Give this thread as many threads for its operators as the others have: OpenMP has a number for each."""
        if self.mode.threads is not None:
            torch.set_num_threads(self.mode.threads)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says so, torch's own among them."""
        return is_out_of_memory(error, (MemoryError, torch.OutOfMemoryError))

    def close(self) -> None:
        """Give torch its threads and its random numbers back."""
        self._restore()

    def _restore(self) -> None:
        torch.set_num_threads(self._threads_before)
        torch.set_rng_state(self._numbers_before)
        if self._numbers_of_gpus_before is not None:
            torch.cuda.set_rng_state_all(self._numbers_of_gpus_before)

    def _formatted(self, value: Any) -> Any:
        is_image = isinstance(value, Tensor) and value.dim() == 4
        return value.contiguous(memory_format=torch.channels_last) if is_image else value


def _check_training(mode: RunMode) -> None:
    """Refuse modes that cannot train."""
    if mode.cuda_graph:
        raise FgbenchError("a training step is not captured in a CUDA graph:", "--train", "leave --cuda-graph out")
    if mode.dtype == "int8":
        raise FgbenchError("weights of a training step cannot be", "int8", "--dtype float32 trains")
    if mode.dtype == "float16":
        do = "--dtype amp has one on a GPU, bfloat16 needs none"
        raise FgbenchError("a training step with weights in float16 needs a scaler of its loss:", "--train", do)


def forget_compiled() -> None:
    """Forget the shapes that were compiled so far, before another one.

    torch.compile gives up on a function after eight recompilations and goes on in eager mode, with no more than a word
    in its log: the ninth batch size would be measured uncompiled. Where that still happens, it is an error.
    """
    torch.compiler.reset()
    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # the second one before torch 2.7
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, True)
