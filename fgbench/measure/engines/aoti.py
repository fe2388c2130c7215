"""Ahead-of-time Inductor: a network that torch exports and compiles once, and that runs without Python's model."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fgbench.deploy.onnx_export import EXAMPLE, ExportError, trace
from fgbench.measure.devices import NvidiaGpu
from fgbench.measure.engine import Batch, PrepareBatch, first_line
from fgbench.measure.engines.torch_cpu import TorchCpu
from fgbench.measure.engines.torch_cuda import TorchCuda
from fgbench.measure.engines.torch_engine import TorchEngine
from fgbench.measure.points import RunMode
from fgbench.measure.subject import Subject, TakesImages
from fgbench.measure.watch import GpuWatch
from fgbench.models.outputs import to_arrays

if TYPE_CHECKING:
    from torch import Tensor

COMPILERS = ("g++", "clang++", "c++")
CACHE = "TORCHINDUCTOR_CACHE_DIR"


class Aoti(TorchEngine):
    """Runs a package of AOTInductor."""

    concurrent = False  # one runner of a package serves one call at a time
    runs_in_parts = False

    @classmethod
    def why_unusable(cls, device: str) -> str | None:
        """That there is no compiler for C++."""
        if _compiler() is None:
            return f"it needs a compiler for C++ ({os.environ.get('CXX') or ' or '.join(COMPILERS)})"
        return None

    @classmethod
    def describe(cls, mode: RunMode) -> dict[str, Any]:
        """Torch's version, and the first line that the compiler says of itself."""
        command = [*(_compiler() or ["false"]), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return {**super().describe(mode), "compiler": said.partition("\n")[0]}

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in the threads. Raises :class:`FgbenchError` for what only torch itself has."""
        cls.refuse_options(mode)
        return super().settle(mode)

    @classmethod
    def is_reference(cls, mode: RunMode) -> bool:
        """False: it is compiled."""
        return False

    def why_not(self, subject: Subject) -> str | None:
        """Only what reads images is exported."""
        return None if isinstance(subject, TakesImages) else "it does not read images"

    def export(self, subject: Subject, folder: Path) -> Mapping[str, Any]:
        """Export and compile the network, in the mode's precision."""
        path, facts = self._package(folder), self._package(folder).with_suffix(".json")
        if not facts.exists():
            start = time.monotonic()
            network = subject.build(self.mode.device).to(self.dtype)
            (images,) = subject.inputs(EXAMPLE, self.dtype, self.mode.device)
            self._compile(network, images, path)
            known = {"export_s": time.monotonic() - start, "file_bytes": path.stat().st_size}
            facts.write_text(json.dumps(known), encoding="utf-8")
        found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
        return found

    def load(self, subject: Subject) -> PrepareBatch:
        """Load the package."""
        assert self.folder is not None
        package: Callable[[Tensor], Mapping[str, Tensor]] = torch._inductor.aoti_load_package(
            str(self._package(self.folder))
        )

        def outputs(images: Tensor) -> dict[str, Any]:
            with torch.inference_mode():
                return to_arrays(package(images.to(self.mode.device, self.dtype)))

        def prepare_batch(batch_size: int) -> Batch:
            inputs = self.inputs(subject, batch_size)
            batch = self.batch(package, inputs, lambda: self.inputs(subject, batch_size, 1))
            return Batch(batch.run, batch.facts, outputs, feed=inputs[0].copy_)

        return prepare_batch

    def _package(self, folder: Path) -> Path:
        return folder / f"{self.mode.device}-{self.mode.dtype}.pt2"

    @staticmethod
    def _compile(network: nn.Module, images: Tensor, path: Path) -> None:
        graph = trace(network, images)
        try:
            with torch.no_grad(), _compiled_in(path.with_suffix(".build")):
                torch._inductor.aoti_compile_and_package(graph, package_path=str(path))
        except Exception as error:
            lines = (line.strip() for line in str(error).splitlines())
            why = next((line for line in lines if "error:" in line), first_line(error))
            raise ExportError(f"it cannot be compiled ahead of time: {why}") from error


def _compiler() -> list[str] | None:
    """The command of a compiler for C++; None where there is none."""
    wanted = shlex.split(os.environ.get("CXX", ""))
    found = next(filter(shutil.which, wanted[:1] or COMPILERS), None)
    return None if found is None else wanted or [found]


@contextlib.contextmanager
def _compiled_in(folder: Path) -> Iterator[None]:
    """What is compiled in here is in a folder that goes away, and what was compiled earlier is not found."""
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(CACHE)
        if before is not None:
            os.environ[CACHE] = before


class AotiCpu(Aoti, TorchCpu):
    """Ahead-of-time Inductor on a CPU."""

    name = "aoti_cpu"
    devices = ("cpu",)
    dtypes = ("float32", "float16", "bfloat16")


class AotiCuda(Aoti, TorchCuda):
    """Ahead-of-time Inductor on a CUDA device."""

    name = "aoti_cuda"
    devices = ("cuda",)
    dtypes = ("float32", "float16", "bfloat16")

    def watch(self, missing: dict[str, str]) -> GpuWatch:
        """Start to note the figures of NVML: weights of a package are not in torch's allocator."""
        device = self.device
        assert isinstance(device, NvidiaGpu)
        return GpuWatch(missing, device.gpu, device.memory_before)
