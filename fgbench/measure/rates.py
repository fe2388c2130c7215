"""The rates of a device: of matrix products, which MFU divides by, and of copies, the slope of a roofline."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from fgbench.errors import FgbenchError
from fgbench.measure.clocks import Step
from fgbench.measure.engine_registry import open_engine
from fgbench.measure.engines.torch_engine import TorchEngine
from fgbench.measure.points import TORCH, RunMode

LONG_ENOUGH_S = 0.003
SPENT_S, WARM = 0.3, 3  # on steps that count; steps before them


def open_torch(mode: RunMode, uuid: str | None = None) -> TorchEngine:
    """Open torch on the device of a mode: rates are the device's, whatever engine runs on it.

    Args:
        mode: The mode of the engine that runs there.
        uuid: Of the GPU; the first one by default.

    Raises:
        FgbenchError: Where torch does not compute in the mode's precision.

    """
    if mode.dtype not in TorchEngine.dtypes:
        raise FgbenchError("torch does not multiply matrices in", mode.dtype)
    engine = open_engine(replace(mode, engine=TORCH), uuid)
    assert isinstance(engine, TorchEngine)
    return engine


def matrix_rate(engine: TorchEngine) -> float:
    """Measure the rate of products of two square matrices, in the precision of the engine's mode.

    Returns:
        Floating-point operations per second.

    """
    for side in engine.matrix_sides:
        seconds = _product_s(engine, side)
        if seconds >= LONG_ENOUGH_S:
            break
    return 2 * side**3 / seconds


def copy_rate(engine: TorchEngine) -> float:
    """Measure the rate at which one large tensor is copied into another.

    Returns:
        Bytes read and written per second.

    """
    source = torch.ones(engine.copied_elements, device=engine.mode.device)
    target = torch.zeros_like(source)  # every page is there
    return 2 * source.nbytes / typical_s(engine, lambda: target.copy_(source))


def typical_s(engine: TorchEngine, step: Step) -> float:
    """Seconds of one step, as they are typical of the device."""
    clock = engine.clock(step)
    expected = clock.run(WARM)[-1]
    return engine.typical(clock.run(max(WARM, math.ceil(SPENT_S / expected))))


def _product_s(engine: TorchEngine, side: int) -> float:
    a, b = (torch.randn(side, side, device=engine.mode.device, dtype=engine.matrix_dtype) for _ in range(2))

    def step() -> object:
        with torch.inference_mode():
            return a @ b

    return typical_s(engine, step)
