"""The rate at which this device copies memory, in bytes read and written per second: the slope of a roofline."""

from __future__ import annotations

import torch

from fgbench.measure.matrix_rate import best_s
from fgbench.measure.points import RunMode

ELEMENTS = {"cuda": 2**28, "cpu": 2**26}  # float32, far beyond what caches hold


def copy_rate(mode: RunMode) -> float:
    """Bytes read and written per second while one large tensor is copied into another."""
    if mode.threads is not None:
        torch.set_num_threads(mode.threads)
    source = torch.ones(ELEMENTS[mode.device], device=mode.device)
    target = torch.zeros_like(source)  # every page is there
    return 2 * source.nbytes / best_s(lambda: target.copy_(source), mode.device)
