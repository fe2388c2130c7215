"""Torch on a CUDA device: its precision, its allocator's memory, events on its stream, CUDA graphs."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step, do_nothing
from fgbench.measure.devices import NvidiaGpu
from fgbench.measure.engine import Batch, first_line
from fgbench.measure.engines.torch_engine import TorchEngine
from fgbench.measure.nvml import Gpu
from fgbench.measure.watch import GpuWatch
from fgbench.models.any_network import logits_of
from fgbench.models.outputs import to_arrays
from fgbench_selectors.backends.recording import record_backends

GRAPH_WARM_RUNS = 3  # kernels and workspaces must exist before a capture; torch's own notes ask for three
# Replay and eager run the same kernels; libraries may still split a sum differently inside a capture.
GRAPH_TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class TorchCuda(TorchEngine):
    """Torch on a CUDA device; with energy where the card counts it."""

    name = "torch_cuda"
    devices = ("cuda",)
    first_passes = 2  # the first one may compile kernels
    half_of_amp = torch.float16
    matrix_sides = (8192,)
    copied_elements = 2**28

    def typical(self, seconds: list[float]) -> float:
        """The median run: the clocks of the card settle over time."""
        return statistics.median(seconds)

    def set_precision(self) -> None:
        """Set TF32, which is a mode of its own, and off in every other.

        Raises:
            FgbenchError: For a precision that this GPU does not have.

        """
        dtype = self.mode.dtype
        if dtype == "tf32" and torch.cuda.get_device_capability()[0] < 8:
            raise FgbenchError("this GPU has no TF32:", torch.cuda.get_device_name(), "--dtype float32 runs everywhere")
        if dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise FgbenchError("this GPU has no bfloat16:", torch.cuda.get_device_name(), "--dtype float16 halves too")
        cudnn = torch.backends.cudnn
        self._flags_before = torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
        # Shapes are fixed, and the warm-up pays for the choice of convolutions.
        self._set_flags(dtype == "tf32", dtype == "tf32", True)

    def batch(
        self, network: Callable[..., Any], inputs: tuple[Any, ...], others: Callable[[], tuple[Any, ...]]
    ) -> Batch:
        """Make a batch, as a CUDA graph where the mode says so."""
        torch.cuda.empty_cache()  # the memory of the inputs' making is not the point's; that of a capture is
        torch.cuda.reset_peak_memory_stats()
        step = self.step(network, inputs)
        if not self.mode.cuda_graph:
            return Batch(step)
        with record_backends() as chosen:  # a replay chooses none
            step, replayed, difference = graph_step(step, inputs, others, GRAPH_TOLERANCE[self.matrix_dtype])

        def outputs(images: Tensor) -> dict[str, Any]:
            before = inputs[0].clone()
            inputs[0].copy_(images)
            step()
            found = to_arrays({"logits": logits_of(replayed, "the network")})
            inputs[0].copy_(before)
            return found

        return Batch(step, {"cuda_graph_relative_difference": difference, "back_ends": chosen}, outputs)

    def clock(self, step: Step, glance: Callable[[], None] = do_nothing) -> EventClock:
        """Events on torch's stream."""
        return EventClock(step, glance)

    def marks(self) -> EventMarks:
        """Events on torch's stream."""
        return EventMarks()

    def queue(self, step: Step) -> EventQueue:
        """Iterations that are launched without waiting."""
        return EventQueue(step)

    def synchronize(self) -> None:
        """Wait for torch's stream."""
        torch.cuda.synchronize()

    def watch(self, missing: dict[str, str]) -> GpuWatch:
        """Start to note the figures of NVML and of torch's allocator."""
        device = self.device
        assert isinstance(device, NvidiaGpu)
        return TorchCudaWatch(missing, device.gpu, device.memory_before, keep_peak=self.mode.cuda_graph)

    def limit_memory(self) -> None:
        """Have torch's allocator refuse what is beyond the mode's limit."""
        if self.mode.memory_limit_bytes is not None:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, self.mode.memory_limit_bytes / total))

    def close(self) -> None:
        """Give torch its settings back."""
        super().close()
        self._set_flags(*self._flags_before)

    @staticmethod
    def _set_flags(matmul_tf32: bool, cudnn_tf32: bool, cudnn_benchmark: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
        torch.backends.cudnn.allow_tf32 = cudnn_tf32
        torch.backends.cudnn.benchmark = cudnn_benchmark


class TorchCudaWatch(GpuWatch):
    """Adds the figures of torch's allocator.

    Args:
        missing: Receives by field why a figure is missing.
        gpu: The GPU.
        before: Bytes that were in use before this process used it.
        keep_peak: The replay of a graph takes no memory: it was taken when the graph was captured.

    """

    def __init__(self, missing: dict[str, str], gpu: Gpu, before: int | None, *, keep_peak: bool = False) -> None:
        super().__init__(missing, gpu, before)
        self.keep_peak = keep_peak
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def warmed(self) -> None:
        """Begin the peak, but for a graph."""
        super().warmed()
        if not self.keep_peak:
            torch.cuda.reset_peak_memory_stats()

    def allocated(self) -> dict[str, int | None]:
        """Peaks of torch's allocator."""
        return {
            "peak_memory_allocated_bytes": torch.cuda.max_memory_allocated(),
            "peak_memory_reserved_bytes": torch.cuda.max_memory_reserved(),
        }

    def begin_peak(self) -> int | None:
        """Bytes of tensors that are held now."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int | None:
        """The peak of tensors."""
        return torch.cuda.max_memory_allocated()


class EventClock:
    """Events between the iterations of a full queue; the host waits once, behind the last one."""

    def __init__(self, step: Step, glance: Callable[[], None] = do_nothing) -> None:
        self.step, self.glance = step, glance
        self._events: list[torch.cuda.Event] = []  # made once: making one takes the host's time between iterations

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations; the seconds of each on the device. ``glance`` is called while it works."""
        while len(self._events) <= iterations:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append(event)
        events = self._events[: iterations + 1]
        torch.cuda.synchronize()
        events[0].record()
        for event in events[1:]:
            self.step()
            event.record()
        self.glance()
        events[-1].synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in pairwise(events)]


class EventMarks:
    """Times on torch's stream: an event at each, in a queue that is not waited for between them."""

    def __init__(self) -> None:
        self._events: list[torch.cuda.Event] = []  # made once, as in EventClock
        self._used = 0

    def begin(self) -> None:
        """Wait for the stream, and note the first time."""
        torch.cuda.synchronize()
        self._used = 0
        self.mark()

    def mark(self) -> None:
        """Note the time behind what was launched."""
        if self._used == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))
        self._events[self._used].record()
        self._used += 1

    def end(self) -> list[float]:
        """The seconds between the times on the device."""
        events = self._events[: self._used]
        events[-1].synchronize()
        return [before.elapsed_time(after) / 1000 for before, after in pairwise(events)]


class EventQueue:
    """Iterations that are launched without waiting, counted when the device has done them."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._waiting: deque[torch.cuda.Event] = deque()
        self._launched = 0

    def launch(self) -> None:
        """Enqueue one iteration."""
        self.step()
        event = torch.cuda.Event()
        event.record()
        self._waiting.append(event)
        self._launched += 1

    def launched(self) -> int:
        """Iterations that were enqueued."""
        return self._launched

    def completed(self) -> int:
        """Iterations that the device has finished."""
        while self._waiting and self._waiting[0].query():
            self._waiting.popleft()
        return self._launched - len(self._waiting)

    def drain(self) -> None:
        """Wait for everything that was enqueued."""
        torch.cuda.synchronize()


def graph_step(
    step: Step, inputs: tuple[Any, ...], others: Callable[[], tuple[Any, ...]], tolerance: float
) -> tuple[Step, Any, float]:
    """Capture a forward pass in a CUDA graph, and check its replay against eager on other inputs.

    Args:
        step: The pass, on ``inputs``.
        inputs: What it reads: tensors.
        others: Makes other inputs of the same shapes.
        tolerance: The largest relative difference between replay and eager.

    Returns:
        The replay as a step, the tensor that it writes, and the relative difference on the other inputs.

    Raises:
        FgbenchError: Where the pass cannot be captured, or its replay computes something else.

    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(GRAPH_WARM_RUNS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            replayed = step()
    except RuntimeError as error:
        raise FgbenchError("this forward pass cannot be captured in a CUDA graph:", first_line(error)) from error
    before = [value.clone() for value in inputs]
    _overwrite(inputs, others())
    graph.replay()
    again = replayed.clone() if isinstance(replayed, Tensor) else torch.tensor(float("nan"))
    expected = step()
    _overwrite(inputs, before)
    difference = relative_difference(again, expected)
    if not difference <= tolerance:
        raise FgbenchError(
            "the CUDA graph computes something else on other images, relative difference", round(difference, 6)
        )
    return graph.replay, replayed, difference


def _overwrite(tensors: Any, values: Any) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def relative_difference(output: Any, expected: Any) -> float:
    """The largest difference of two tensors over the largest value; NaN where one of them has any."""
    output, expected = output.double(), expected.double()
    return float((output - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
