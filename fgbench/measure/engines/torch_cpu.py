"""Torch on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import nn

from fgbench.deploy.quantize_torch import quantize_linear, quantized_weights
from fgbench.errors import FgbenchError
from fgbench.measure.engine import Batch
from fgbench.measure.engines.torch_engine import TorchEngine
from fgbench.measure.points import RunMode


class TorchCpu(TorchEngine):
    """Torch on a CPU; threads and memory are limited where that is asked for."""

    name = "torch_cpu"
    devices = ("cpu",)
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "tf32", "float16", "bfloat16", "amp", "int8")
    concurrent = True
    matrix_sides = (1024, 4096)  # the first whose product takes long enough to tell the rate
    copied_elements = 2**26
    quantized: Mapping[str, float] = MappingProxyType({})  # as quantized_weights says

    @classmethod
    def settle(cls, mode: RunMode) -> RunMode:
        """Fill in the threads. Raises :class:`FgbenchError` for what only CUDA devices have."""
        if mode.cuda_graph:
            raise FgbenchError("CUDA graphs run on CUDA devices, and this is a", "cpu", "leave --cuda-graph out")
        if mode.dtype == "tf32":
            raise FgbenchError("only CUDA devices have", "tf32", "--dtype float32 runs on a CPU")
        if mode.dtype == "int8" and (mode.compiled or mode.channels_last):
            raise FgbenchError("int8 runs in eager torch, and not with", "--compile or --channels-last")
        return super().settle(mode)

    def prepare(self, network: nn.Module, has_weights: bool = True) -> Callable[..., Any]:
        """Bring a network into the mode; for ``int8`` its linear layers are quantized."""
        if self.mode.dtype == "int8" and has_weights:
            before = sum(parameter.numel() for parameter in network.parameters())
            network = quantize_linear(network)
            self.quantized = quantized_weights(before, network)
            if not self.quantized["quantized_layers"]:
                raise FgbenchError("torch quantizes linear layers, and this network has none:", "--dtype int8")
        return super().prepare(network, has_weights)

    def batch(
        self, network: Callable[..., Any], inputs: tuple[Any, ...], others: Callable[[], tuple[Any, ...]]
    ) -> Batch:
        """Make a batch; that of a quantized network says how much of it is quantized."""
        return Batch(self.step(network, inputs), self.quantized)

    def typical(self, seconds: list[float]) -> float:
        """The fastest run: others use a CPU as well."""
        return min(seconds)

    def set_precision(self) -> None:
        """Have float32 products in full precision."""
        self._precision_before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")

    def close(self) -> None:
        """Give torch its threads and its precision back."""
        super().close()
        torch.set_float32_matmul_precision(self._precision_before)
