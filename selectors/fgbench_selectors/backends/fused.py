"""torch's fused attention kernels, called so that they return the log-sum-exp of every row as well.

``scaled_dot_product_attention`` computes ℓ_i = logsumexp_j(scale · q_i·k_j) for every query and discards it. The
kernels below it return it; :func:`attend` calls the kernel that ``scaled_dot_product_attention`` would choose.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import _disable_current_modes

from fgbench_selectors.backends.blocks import logsumexp_by_blocks
from fgbench_selectors.backends.precision import accurate_dtype
from fgbench_selectors.backends.recording import note

ALIGNMENT = 8  # head dimensions must be a multiple of it for the kernels of a GPU
UNNAMED = "scaled_dot_product_attention"  # name of a kernel that returns no log-sum-exp
KERNELS = {  # names by device and by torch's choice
    ("cpu", SDPBackend.FLASH_ATTENTION.value): "flash_cpu",
    ("cuda", SDPBackend.FLASH_ATTENTION.value): "flash",
    ("cuda", SDPBackend.EFFICIENT_ATTENTION.value): "efficient",
    ("cuda", SDPBackend.CUDNN_ATTENTION.value): "cudnn",
}


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor | None]:
    """Attention, and ℓ where the kernel returns it.

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        v: Values (B, H, N, d).
        scale: Factor of q·k.

    Returns:
        The output (B, H, N, d) of ``scaled_dot_product_attention`` by the same kernel, with gradient; and ℓ (B, H, N)
        in float32 (float64 for float64) without gradient, or None if no such kernel takes these arguments.

    """
    if q.is_meta:  # no kernel runs: tensors have shapes only
        lse = q.new_empty(q.shape[:3], dtype=accurate_dtype(q.dtype))
        return functional.scaled_dot_product_attention(q, k, v, scale=scale), lse
    kernel = _choose(q, k, v, scale)
    if not torch.compiler.is_compiling():  # in a graph, the kernel is noted where it is chosen
        note("attention", kernel or UNNAMED)
    if kernel is None:
        return functional.scaled_dot_product_attention(q, k, v, scale=scale), None
    return _run(kernel, q, k, v, scale)


def logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """ℓ (B, H, N) alone, without gradient: by a fused kernel on a GPU, by blocks of rows elsewhere.

    Args:
        q: Queries (B, H, N, d).
        k: Keys (B, H, N, d).
        scale: Factor of q·k.

    Returns:
        (B, H, N), float32 or better.

    """
    if q.is_cuda:
        return kernel_logsumexp(q, k, scale)
    note("logsumexp", "blocks")  # faster than a CPU's kernel, which multiplies by values as well
    return logsumexp_by_blocks(q, k, scale)


def kernel_logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """ℓ (B, H, N) by a fused kernel on every device that has one; arguments as of :func:`logsumexp`."""
    q, k = q.detach(), k.detach()
    kernel = _choose(q, k, k, scale)
    note("logsumexp", kernel or "blocks")
    return logsumexp_by_blocks(q, k, scale) if kernel is None else _run(kernel, q, k, k, scale)[1]


def _run(kernel: str, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    aten: Any = torch.ops.aten
    if kernel == "flash_cpu":
        outputs = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=scale)
    elif kernel == "flash":
        outputs = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)
    elif kernel == "efficient":
        outputs = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=scale)
    else:
        outputs = aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, False, False, scale=scale)
    batch, heads, tokens, _ = q.shape
    # Some kernels round the number of rows up, some return a last axis of one.
    return outputs[0], outputs[1].detach().reshape(batch, heads, -1)[..., :tokens]


def _choose(q: Tensor, k: Tensor, v: Tensor, scale: float) -> str | None:
    """The kernel that torch would choose; None where that kernel returns no log-sum-exp."""
    device = q.device.type
    if device not in ("cpu", "cuda") or 0 in q.shape or (device == "cuda" and q.shape[-1] % ALIGNMENT):
        return None
    if torch.compiler.is_compiling():
        if not q.stride(-1) == k.stride(-1) == v.stride(-1) == 1:  # the constant below assumes it
            return None
        wants_gradient = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
        chosen: str | None = _choose_for_a_graph(q.device, q.dtype, int(q.shape[-1]), bool(wants_gradient))
        return chosen
    if torch._C._functorch.is_batchedtensor(q):  # vmap has no rule for _fused_sdp_choice
        return None
    return KERNELS.get((device, torch._fused_sdp_choice(q, k, v, None, 0.0, False, scale=scale)))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _choose_for_a_graph(device: torch.device, dtype: torch.dtype, head_dim: int, wants_gradient: bool) -> str | None:
    """The choice as a constant of the graph that is compiled; it does not depend on the number of tokens."""
    with _disable_current_modes(), torch.set_grad_enabled(wants_gradient):  # fake tensors have no kernel
        like = torch.empty(1, 1, 197, head_dim, device=device, dtype=dtype, requires_grad=wants_gradient)
        kernel = KERNELS.get((device.type, torch._fused_sdp_choice(like, like, like, None, 0.0, False)))
    note("attention", kernel or UNNAMED)
    return kernel
