"""The rate of matrix products that this device reaches, in the precision of a mode: what MFU divides by."""

from __future__ import annotations

import torch

from fgbench.throughput.clocks import EventClock, HostClock
from fgbench.throughput.modes import WEIGHTS, half_of_amp, set_precision
from fgbench.throughput.points import Mode
from fgbench.throughput.timer import TimingPlan, time_iterations

SIDES = {"cuda": (8192,), "cpu": (1024, 4096)}  # the first whose product takes long enough to tell the rate
LONG_ENOUGH_S = 0.003
PLAN = TimingPlan(min_iterations=1, min_blocks=3, target=0.05, cap_s=0.6, block_s=0.1, warm_s=0.1, warm_cap_s=0.5)


def matrix_rate(mode: Mode) -> float:
    """Floating-point operations per second of products of two square matrices."""
    set_precision(mode)
    if mode.threads is not None:
        torch.set_num_threads(mode.threads)
    for side in SIDES[mode.device]:
        seconds = _product_s(mode, side)
        if seconds >= LONG_ENOUGH_S:
            break
    return 2 * side**3 / seconds


def _product_s(mode: Mode, side: int) -> float:
    """Seconds of the fastest block of products of two square matrices."""
    dtype = half_of_amp(mode) if mode.dtype == "amp" else WEIGHTS.get(mode.dtype)
    a, b = (torch.randn(side, side, device=mode.device, dtype=dtype) for _ in range(2))

    def step() -> object:
        with torch.inference_mode():
            return a @ b

    clock = EventClock(step) if mode.device == "cuda" else HostClock(step)
    return min(time_iterations(clock, PLAN).blocks)
