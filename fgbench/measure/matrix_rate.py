"""The rate of matrix products that this device reaches, in the precision of a mode: what MFU divides by."""

from __future__ import annotations

import math
import statistics

import torch

from fgbench.measure.clocks import EventClock, HostClock, Step
from fgbench.measure.modes import WEIGHTS, half_of_amp, set_precision
from fgbench.measure.points import RunMode

SIDES = {"cuda": (8192,), "cpu": (1024, 4096)}  # the first whose product takes long enough to tell the rate
LONG_ENOUGH_S = 0.003
SPENT_S, WARM = 0.3, 3  # on products that count; products before them


def matrix_rate(mode: RunMode) -> float:
    """Floating-point operations per second of products of two square matrices."""
    set_precision(mode)
    if mode.threads is not None:
        torch.set_num_threads(mode.threads)
    for side in SIDES[mode.device]:
        seconds = _product_s(mode, side)
        if seconds >= LONG_ENOUGH_S:
            break
    return 2 * side**3 / seconds


def _product_s(mode: RunMode, side: int) -> float:
    dtype = half_of_amp(mode) if mode.dtype == "amp" else WEIGHTS.get(mode.dtype)
    a, b = (torch.randn(side, side, device=mode.device, dtype=dtype) for _ in range(2))

    def step() -> object:
        with torch.inference_mode():
            return a @ b

    return best_s(step, mode.device)


def best_s(step: Step, device: str) -> float:
    """Seconds of one step.

    On a GPU the median counts, as clocks allow it over time; on a CPU, which others use as well, the fastest.
    """
    clock = EventClock(step) if device == "cuda" else HostClock(step)
    expected = clock.run(WARM)[-1]
    times = clock.run(max(WARM, math.ceil(SPENT_S / expected)))
    return statistics.median(times) if device == "cuda" else min(times)
