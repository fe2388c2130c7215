"""Number formats that back ends compute in, and the head dimensions that their kernels are compiled for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HAVE_AUTOCAST = ("cpu", "cuda")  # a constant, since torch.compile cannot trace the query of it in old versions
MIN_HEAD_DIM = 16  # the smallest side of a product in triton


def accurate(x: Tensor) -> Tensor:
    """The tensor in float32 if it is in half precision; the tensor itself otherwise."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def accurate_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums over values of ``dtype``: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which autocast does not round sums that are taken in float32.

    An exported graph has no autocast: the operators of the context stand in it as they are.
    """
    if is_exporting():
        return nullcontext()
    if device.type in HAVE_AUTOCAST or torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def is_exporting() -> bool:
    """Whether ``torch.export`` traces this code."""
    asked: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch 2.6
    return asked()


def padded_head_dim(head_dim: int) -> int:
    """The number of head dimensions that triton compiles a kernel for: the next power of two, at least 16."""
    return max(MIN_HEAD_DIM, 1 << (head_dim - 1).bit_length())
