"""ONNX Runtime: on a CPU, and on NVIDIA GPUs by its CUDA or its TensorRT provider."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from fgbench.deploy.onnx_export import INPUT
from fgbench.deploy.quantize import calibration, quantize_onnx
from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step
from fgbench.measure.engine import Batch, PrepareBatch, has_words_of_no_memory
from fgbench.measure.engines.onnx_engine import OnnxEngine
from fgbench.measure.points import RunMode
from fgbench.measure.subject import Subject

INT8_FILE, HALF_FILE = "int8.onnx", "float16.onnx"


class OnnxRuntime(OnnxEngine):
    """Runs an ONNX file in ONNX Runtime, by one of its providers."""

    packages = ("onnx", "onnxscript", "onnxruntime")
    provider: ClassVar[str]
    settings: ClassVar[Mapping[str, str]] = MappingProxyType({})  # of the provider

    @classmethod
    def why_unusable(cls, device: str) -> str | None:
        """That the installed build has no such provider."""
        import onnxruntime

        there = onnxruntime.get_available_providers()
        if cls.provider not in there:
            return f"this build of onnxruntime has no {cls.provider}, only {', '.join(there)}"
        return None

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """The versions of ONNX Runtime and of the exporter, and the provider."""
        import onnx
        import onnxruntime
        import onnxscript

        build = getattr(onnxruntime, "get_build_info", lambda: None)()
        versions = {
            "version": onnxruntime.__version__,
            "build": build,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
        }
        return {**super().describe(mode), **versions, "provider": cls.provider}

    def load(self, subject: Subject) -> PrepareBatch:
        """Find the exported file; every batch has a session of its own, as one keeps what its largest batch took."""
        path, outputs = self.exported()

        def prepare_batch(batch_size: int) -> Batch:
            session = self.session(self.file(path))
            threads = session.get_session_options().intra_op_num_threads
            images = subject.inputs(batch_size)[0].numpy()

            def another(number: int) -> Step:
                step: Step = self.step(session, subject.inputs(batch_size, seed=number)[0].numpy())
                return step

            return Batch(
                self.step(session, images),
                {"intra_op_num_threads": threads, "providers": session.get_providers()},
                lambda given: dict(zip(outputs, session.run(outputs, {INPUT: given.numpy()}), strict=True)),
                another if self.concurrent else None,
                feed=(lambda given: np.copyto(images, given.numpy())) if self.takes_pictures else None,
            )

        return prepare_batch

    def file(self, exported: Path) -> Path:
        """The file that the mode runs."""
        return exported.with_name(INT8_FILE) if self.mode.dtype == "int8" else exported

    def session(self, path: Path) -> Any:
        """A session with the mode's threads."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(path), options, providers=self.providers())
        session.disable_fallback()
        if self.provider not in (loaded := session.get_providers()):
            raise FgbenchError(f"ONNX Runtime could not load its {self.provider}, only", ", ".join(loaded))
        return session

    def providers(self) -> list[Any]:
        """The provider with its settings, and those that run what it cannot."""
        return [(self.provider, dict(self.settings))]

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception says so; those of ONNX Runtime have no class for it."""
        of_runtime = type(error).__module__.partition(".")[0] == "onnxruntime"
        return super().is_out_of_memory(error) or (of_runtime and has_words_of_no_memory(error))

    def step(self, session: Any, images: Any) -> Any:
        """One run on images (B, 3, S, S) of the host, for the logits alone."""
        wanted, given = ["logits"], {INPUT: images}
        return lambda: session.run(wanted, given)

    def quantize(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Quantize by ONNX Runtime's own tools."""
        (images,) = subject.inputs(1)
        pictures, words = calibration(images)
        path, _ = self.exported_in(folder)
        return {**quantize_onnx(path, folder / INT8_FILE, pictures), "calibration": words}


class OnnxRuntimeCpu(OnnxRuntime):
    """ONNX Runtime on a CPU."""

    name = "onnxruntime_cpu"
    devices = ("cpu",)
    concurrent = True  # calls of one session share its threads
    takes_pictures = True
    dtypes = ("float32", "int8")
    provider = "CPUExecutionProvider"


class OnnxRuntimeCuda(OnnxRuntime):
    """ONNX Runtime on a CUDA device; images and logits stay there. The host times it, and waits for each run."""

    name = "onnxruntime_cuda"
    devices = ("cuda",)
    dtypes = ("float32", "float16")
    first_passes = 2  # kernels are chosen in the first
    provider = "CUDAExecutionProvider"
    settings = MappingProxyType({"use_tf32": "0"})  # which is on unless somebody asks

    def export(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Write the file; in half precision where the mode says so, with images and logits in float32."""
        facts, file = super().export(subject, folder), folder / HALF_FILE
        if self.mode.dtype != "float16":
            return facts
        if not file.exists():
            import onnx
            from onnxruntime.transformers.float16 import convert_float_to_float16

            path, _ = self.exported_in(folder)
            onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(file))
        return {**facts, "file_bytes": file.stat().st_size}

    def session(self, path: Path) -> Any:
        """A session, with the libraries of CUDA that torch brought."""
        import onnxruntime

        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        return super().session(path)

    def file(self, exported: Path) -> Path:
        """The file of the mode's precision."""
        return exported.with_name(HALF_FILE) if self.mode.dtype == "float16" else super().file(exported)

    def step(self, session: Any, images: Any) -> Any:
        """One run with images and logits on the device; it returns when the device has finished."""
        import onnxruntime

        binding = session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy(images, "cuda", 0)
        binding.bind_ortvalue_input(INPUT, value)
        binding.bind_output("logits", "cuda", 0)
        return lambda: session.run_with_iobinding(binding)


class OnnxRuntimeTensorRT(OnnxRuntimeCuda):
    """ONNX Runtime on a CUDA device by its TensorRT provider."""

    name = "onnxruntime_tensorrt"
    provider = "TensorrtExecutionProvider"

    def export(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Write the file in float32: TensorRT chooses where to halve."""
        return OnnxRuntime.export(self, subject, folder)

    def file(self, exported: Path) -> Path:
        """The file in float32."""
        return exported

    def providers(self) -> list[Any]:
        """TensorRT, and CUDA for what it cannot build."""
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT has no other switch here; read when it loads
        half = {"trt_fp16_enable": str(self.mode.dtype == "float16")}
        return [(self.provider, half), (OnnxRuntimeCuda.provider, dict(self.settings))]
