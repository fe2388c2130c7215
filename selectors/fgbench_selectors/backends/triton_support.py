"""Test once per device, dtype and head dimension whether the triton kernels work. Triton is imported only then."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fgbench_selectors.backends.blocks import left_by_blocks, logsumexp_by_blocks, prob_blocks
from fgbench_selectors.backends.precision import padded_head_dim, without_autocast

CAPABILITY = (8, 0)  # of CUDA devices: tensor cores with bfloat16 and TF32
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MAX_HEAD_DIM = 256  # a block of wider keys does not fit into shared memory
TOLERANCE = 1e-3  # of the largest value of the expected result

_verdicts: dict[tuple[torch.device, torch.dtype, int], bool] = {}


def kernels() -> Any:
    """The module with the triton kernels.

    Raises:
        ImportError: Where triton is not installed.

    """
    from fgbench_selectors.backends import triton_kernels  # triton is not installed everywhere

    return triton_kernels


def usable(x: Tensor, head_dim: int) -> bool:
    """Whether the triton kernels work for a tensor on its GPU, with ``head_dim`` dimensions per head."""
    if not x.is_cuda or not x.numel() or x.dtype not in DTYPES or head_dim > MAX_HEAD_DIM:
        return False
    if torch.version.hip is None and torch.cuda.get_device_capability(x.device) < CAPABILITY:
        return False
    key = (x.device, x.dtype, padded_head_dim(head_dim))
    if key not in _verdicts:
        if torch.cuda.is_current_stream_capturing():  # a test is impossible now; the run before the capture did it
            return False
        _verdicts[key] = _works(*key)
    return _verdicts[key]


def _works(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernels compile and agree with the ``blocks`` back end; warns once where they do not."""
    with _disable_current_modes(), without_autocast(device), torch.cuda.device(device), torch.no_grad():
        debug = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")  # the test waits for the GPU
        try:
            why = _difference(device, dtype, head_dim)
        except ImportError:  # triton is not installed, which needs no warning
            return False
        except Exception as error:  # a compiler can raise anything on a machine that was never tested
            why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        finally:
            torch.cuda.set_sync_debug_mode(debug)
    if why:
        warnings.warn(f"triton is not used on {device} for {dtype}, heads of {head_dim}: {why}", stacklevel=3)
    return why is None


def _difference(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """How far the kernels' results are from those of ``blocks`` on random input; None where they agree."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(2, 1, 2, 197, head_dim, generator=generator, device="cpu")
    q, k = random.to(device, dtype)
    v = torch.rand(1, 2, 197, generator=generator, device="cpu").to(device)
    scale = head_dim**-0.5
    expected = left_by_blocks(q, k, None, v, scale)
    maps = torch.cat([block for _, block in prob_blocks(q, k, scale, keep=True)], dim=1).view(1, 2, 197, 197)
    results = kernels().left(q, k, logsumexp_by_blocks(q, k, scale), v, scale), kernels().left_of_maps(maps, v)
    largest = max(float((result - expected).abs().max() / expected.max()) for result in results)
    return None if largest < TOLERANCE else f"its result is off by {largest:.1g}"
