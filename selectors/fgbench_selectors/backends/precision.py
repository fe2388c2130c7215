"""float32 or better, whatever the backbone computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

ALWAYS_THERE = ("cpu", "cuda")  # not asked for, because old compilers of graphs cannot trace the question


def accurate(x: Tensor) -> Tensor:
    """Half precision is widened to float32; everything else stays as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def accurate_dtype(dtype: torch.dtype) -> torch.dtype:
    """What is added up in: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Keep autocast from rounding what is added up in float32."""
    if device.type in ALWAYS_THERE or torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
