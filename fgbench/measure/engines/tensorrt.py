"""TensorRT on an NVIDIA GPU: the ONNX file of a subject, built for the batch that is run.

Written after the documentation of TensorRT 10 (Python API: Builder, OnnxParser, IExecutionContext).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgbench.deploy.onnx_export import INPUT
from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step, do_nothing
from fgbench.measure.devices import Device
from fgbench.measure.engine import Batch, PrepareBatch
from fgbench.measure.engines.onnx_engine import OnnxEngine
from fgbench.measure.engines.torch_cuda import EventClock, EventQueue
from fgbench.measure.points import RunMode
from fgbench.measure.subject import Subject
from fgbench.models.outputs import to_arrays


class TensorRT(OnnxEngine):
    """TensorRT, without a runtime of others around it."""

    name = "tensorrt"
    devices = ("cuda",)
    dtypes = ("float32", "tf32", "float16", "bfloat16")
    packages = ("onnx", "onnxscript", "tensorrt")
    extra = "tensorrt"
    first_passes = 2
    takes_pictures = True

    def __init__(self, mode: RunMode, device: Device) -> None:
        super().__init__(mode, device)
        torch.cuda.set_stream(torch.cuda.Stream())  # on the default one TensorRT waits by itself

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """The version of TensorRT."""
        import tensorrt

        return {**super().describe(mode), "version": tensorrt.__version__}

    def load(self, subject: Subject) -> PrepareBatch:
        """Read the exported file; every batch is built for its shape, as a plan of fixed shapes is the fastest."""
        path, outputs = self.exported()

        def prepare_batch(batch_size: int) -> Batch:
            torch.cuda.empty_cache()  # what torch holds of earlier batches is not of this one
            (images,) = subject.inputs(batch_size, device="cuda")
            context, plan_bytes = self._context(path, tuple(images.shape))
            stream = torch.cuda.current_stream()
            tensors: dict[str, Tensor] = {INPUT: images} | {name: _empty(context, name) for name in outputs}
            for name, tensor in tensors.items():
                context.set_tensor_address(name, tensor.data_ptr())

            def step() -> Tensor:
                if not context.execute_async_v3(stream.cuda_stream):
                    raise RuntimeError("TensorRT could not run the batch")
                return tensors["logits"]

            def outputs_of(others: Tensor) -> dict[str, Any]:
                own = images.clone()
                images.copy_(others)
                step()
                torch.cuda.synchronize()
                found = to_arrays({name: tensors[name] for name in outputs})
                images.copy_(own)
                del own
                torch.cuda.empty_cache()
                return found

            facts = {"tensorrt_plan_bytes": plan_bytes, "tensorrt_work_bytes": context.engine.device_memory_size_v2}
            return Batch(step, facts, outputs_of, feed=images.copy_)

        return prepare_batch

    def clock(self, step: Step, glance: Callable[[], None] = do_nothing) -> EventClock:
        """Events on the stream that the batches run on."""
        return EventClock(step, glance)

    def queue(self, step: Step) -> EventQueue:
        """Iterations that are launched without waiting."""
        return EventQueue(step)

    def synchronize(self) -> None:
        """Wait for the stream that the batches run on."""
        torch.cuda.current_stream().synchronize()

    def close(self) -> None:
        """Give torch its stream back."""
        torch.cuda.set_stream(torch.cuda.default_stream())

    def _context(self, path: Path, shape: tuple[int, ...]) -> tuple[Any, int]:
        """Build the model for images of one shape, and open it; with the bytes of its plan."""
        import tensorrt

        logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        builder = tensorrt.Builder(logger)
        network = builder.create_network(0)
        parser = tensorrt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(path)):  # weights beyond 2 GB lie beside it
            raise FgbenchError("TensorRT cannot read the exported file:", parser.get_error(0).desc())
        settings, profile = builder.create_builder_config(), builder.create_optimization_profile()
        profile.set_shape(INPUT, shape, shape, shape)
        settings.add_optimization_profile(profile)
        settings.clear_flag(tensorrt.BuilderFlag.TF32)
        flags = {"tf32": "TF32", "float16": "FP16", "bfloat16": "BF16"}
        if self.mode.dtype in flags:
            settings.set_flag(getattr(tensorrt.BuilderFlag, flags[self.mode.dtype]))
        plan = builder.build_serialized_network(network, settings)
        if plan is None:
            raise FgbenchError("TensorRT cannot build the exported file for images of the shape", shape)
        engine = tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
        context = None if engine is None else engine.create_execution_context()
        if context is None:
            raise MemoryError("TensorRT could not open its plan: the memory of the GPU does not suffice")
        context.set_input_shape(INPUT, shape)
        return context, plan.nbytes


def _empty(context: Any, name: str) -> Tensor:
    """Memory for an output."""
    kinds = {"DataType.FLOAT": torch.float32, "DataType.INT64": torch.int64, "DataType.INT32": torch.int32}
    kind = kinds[str(context.engine.get_tensor_dtype(name))]
    return torch.empty(tuple(context.get_tensor_shape(name)), dtype=kind, device="cuda")
