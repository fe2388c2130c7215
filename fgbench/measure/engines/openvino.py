"""OpenVINO on a CPU: the ONNX file of a subject, compiled for the batch that is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fgbench.deploy.onnx_export import INPUT
from fgbench.deploy.openvino_model import read_openvino
from fgbench.deploy.quantize import calibration, quantize_openvino
from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step
from fgbench.measure.engine import Batch, PrepareBatch
from fgbench.measure.engines.onnx_engine import OnnxEngine
from fgbench.measure.points import RunMode
from fgbench.measure.subject import Subject
from fgbench.packages import why_missing

INT8_FILE = "int8.xml"
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}  # of what is not quantized
CAPABILITIES = {"bfloat16": "BF16", "float16": "FP16"}


class OpenVino(OnnxEngine):
    """OpenVINO on a CPU, by its plug-in of that name, tuned for latency."""

    name = "openvino"
    devices = ("cpu",)
    dtypes = ("float32", "float16", "bfloat16", "int8")
    packages = ("onnx", "onnxscript", "openvino")
    extra = "openvino"
    concurrent = takes_pictures = True

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in the threads. Raises :class:`FgbenchError` for a precision that this processor does not have."""
        cls.check_dtype(mode.dtype)
        if mode.dtype == "int8" and (why := why_missing(cls.extra, ("nncf",))):
            raise FgbenchError(f"engine {cls.name!r} cannot quantize: {why}")
        if needed := CAPABILITIES.get(mode.dtype):
            import openvino

            there = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if needed not in there:
                has = ", ".join(dtype for dtype in cls.dtypes if CAPABILITIES.get(dtype, "FP32") in there)
                raise FgbenchError("OpenVINO has on this processor no", mode.dtype, f"it has: {has}")
        return super().settle(mode)

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """The versions of OpenVINO, of the exporter, and of NNCF where it quantizes."""
        import onnx
        import onnxscript
        import openvino

        version, _, build = openvino.__version__.partition("-")
        facts = {**super().describe(mode), "version": version, "build": build, "provider": "CPU"}
        facts |= {"onnx": onnx.__version__, "onnxscript": onnxscript.__version__}
        if mode.dtype == "int8":
            import nncf

            facts["nncf"] = nncf.__version__
        return facts

    def load(self, subject: Subject) -> PrepareBatch:
        """Read the exported file; every batch is compiled for its shape."""
        import openvino

        path, outputs = self.exported()
        core = openvino.Core()
        model = read_openvino(path.with_name(INT8_FILE) if self.mode.dtype == "int8" else path)
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,  # of all streams together
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.mode.dtype],
            "NUM_STREAMS": self.mode.concurrency or 1,
        }

        def prepare_batch(batch_size: int) -> Batch:
            (images,) = subject.inputs(batch_size)
            model.reshape({INPUT: list(images.shape)})
            compiled = core.compile_model(model, "CPU", settings)
            request = compiled.create_infer_request()
            given = images.numpy()
            request.set_tensor(INPUT, openvino.Tensor(given, shared_memory=True))

            def outputs_of(others: Tensor) -> dict[str, Any]:
                own = given.copy()
                np.copyto(given, others.numpy())
                request.infer()
                found = {name: request.get_tensor(name).data.copy() for name in outputs}
                np.copyto(given, own)
                return found

            seen = ("INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT", "NUM_STREAMS")

            def another(number: int) -> Step:
                other = compiled.create_infer_request()
                other.set_tensor(INPUT, openvino.Tensor(subject.inputs(batch_size, seed=number)[0].numpy()))
                step: Step = other.infer
                return step

            facts = {name.lower(): _text(compiled.get_property(name)) for name in seen}
            return Batch(
                request.infer, facts, outputs_of, another, feed=lambda others: np.copyto(given, others.numpy())
            )

        return prepare_batch

    def quantize(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Quantize by NNCF."""
        (images,) = subject.inputs(1)
        pictures, words = calibration(images)
        path, _ = self.exported_in(folder)
        return {**quantize_openvino(path, folder / INT8_FILE, pictures), "calibration": words}


def _text(value: Any) -> Any:
    """A property, ready for JSON."""
    return value if isinstance(value, (int, str)) else getattr(value, "get_type_name", value.__str__)()
