"""Whether triton's kernels can be used for a tensor, found out by using them once. Imports triton only then."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fgbench_selectors.backends.blocks import left_by_blocks, logsumexp_by_blocks, prob_blocks
from fgbench_selectors.backends.precision import without_autocast

CAPABILITY = (8, 0)  # of CUDA devices: tensor cores that know bfloat16 and TF32
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MAX_HEAD_DIM = 256  # beyond it, a block of keys leaves no room on the chip

_verdicts: dict[tuple[torch.device, torch.dtype, int], bool] = {}


def kernels() -> Any:
    """The module with triton's kernels."""
    from fgbench_selectors.backends import triton_kernels  # it needs triton, which is not everywhere

    return triton_kernels


def usable(x: Tensor, head_dim: int) -> bool:
    """Whether triton's kernels take a tensor on a GPU with heads of ``head_dim``."""
    if not x.is_cuda or not x.numel() or x.dtype not in DTYPES or head_dim > MAX_HEAD_DIM:
        return False
    if torch.version.hip is None and torch.cuda.get_device_capability(x.device) < CAPABILITY:
        return False
    key = (x.device, x.dtype, rounded(head_dim))
    if key not in _verdicts:
        if torch.cuda.is_current_stream_capturing():  # nothing can be tried now; whoever captures has run it before
            return False
        _verdicts[key] = _try(*key)
    return _verdicts[key]


def rounded(head_dim: int) -> int:
    """The number of head dimensions that a kernel is compiled for: a power of two, as triton's products want it."""
    return max(16, 1 << (head_dim - 1).bit_length())


def _try(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernels compile and give what blocks give; said once where they do not."""
    with _disable_current_modes(), without_autocast(device), torch.cuda.device(device), torch.no_grad():
        debug = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")  # this waits for the host, once
        try:
            why = _what_is_wrong(device, dtype, head_dim)
        except ImportError:  # no triton here, which needs no word
            return False
        except Exception as error:  # whatever a compiler meets on a machine that nobody has tried
            why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        finally:
            torch.cuda.set_sync_debug_mode(debug)
    if why:
        warnings.warn(f"triton is not used on {device} for {dtype}, heads of {head_dim}: {why}", stacklevel=3)
    return why is None


def _what_is_wrong(device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 1, 2, 197, head_dim, generator=generator, device="cpu")
    q, k = drawn.to(device, dtype)
    v = torch.rand(1, 2, 197, generator=generator, device="cpu").to(device)
    scale = head_dim**-0.5
    expected = left_by_blocks(q, k, None, v, scale)
    maps = torch.cat([block for _, block in prob_blocks(q, k, scale, keep=True)], dim=1).view(1, 2, 197, 197)
    found = kernels().left(q, k, logsumexp_by_blocks(q, k, scale), v, scale), kernels().left_of_maps(maps, v)
    wrong = max(float((one - expected).abs().max() / expected.max()) for one in found)
    return None if wrong < 1e-3 else f"its result is off by {wrong:.1g}"
