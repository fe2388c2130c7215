"""torch's fused attention kernels, asked for what they know besides their output: the log-sum-exp of every row.

``scaled_dot_product_attention`` computes ℓ_i = logsumexp_j(scale · q_i·k_j) for every query and throws it away. The
kernels below it return it; :func:`attend` calls the one that it would have chosen itself.
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

ALIGNMENT = 8  # the kernels of a GPU want head dimensions that are a multiple of it
UNNAMED = "scaled_dot_product_attention"  # whatever that chooses
KERNELS = {  # by device and by what torch would choose
    ("cpu", SDPBackend.FLASH_ATTENTION.value): "flash_cpu",
    ("cuda", SDPBackend.FLASH_ATTENTION.value): "flash",
    ("cuda", SDPBackend.EFFICIENT_ATTENTION.value): "efficient",
    ("cuda", SDPBackend.CUDNN_ATTENTION.value): "cudnn",
}


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor | None]:
    """Attention, q, k, v (B, H, N, d) → its output (B, H, N, d), and ℓ (B, H, N) where the kernel returns it.

    The output is that of ``scaled_dot_product_attention``, by the same kernel; gradient flows through it. ℓ is float32
    (float64 for float64) and carries no gradient.
    """
    if q.is_meta:  # no kernel runs: the shapes are all there is
        lse = q.new_empty(q.shape[:3], dtype=accurate_dtype(q.dtype))
        return functional.scaled_dot_product_attention(q, k, v, scale=scale), lse
    kernel = _choose(q, k, v, scale)
    if not torch.compiler.is_compiling():  # in a graph, it is noted where it is chosen
        note("attention", kernel or UNNAMED)
    if kernel is None:
        return functional.scaled_dot_product_attention(q, k, v, scale=scale), None
    return _run(kernel, q, k, v, scale)


def logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """ℓ (B, H, N) alone, float32 or better, without gradient: by a fused kernel on a GPU, by blocks elsewhere."""
    if q.is_cuda:
        return kernel_logsumexp(q, k, scale)
    note("logsumexp", "blocks")  # faster than a CPU's kernel, which weighs values as well
    return logsumexp_by_blocks(q, k, scale)


def kernel_logsumexp(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """The same by a fused kernel wherever there is one."""
    q, k = q.detach(), k.detach()
    kernel = _choose(q, k, k, scale)
    note("logsumexp", kernel or "blocks")
    return logsumexp_by_blocks(q, k, scale) if kernel is None else _run(kernel, q, k, k, scale)[1]


def _run(kernel: str, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    aten: Any = torch.ops.aten
    if kernel == "flash_cpu":
        found = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=scale)
    elif kernel == "flash":
        found = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)
    elif kernel == "efficient":
        found = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=scale)
    else:
        found = aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, 0.0, False, False, scale=scale)
    batch, heads, tokens, _ = q.shape
    # Some kernels round the number of rows up, some return a last axis of one.
    return found[0], found[1].detach().reshape(batch, heads, -1)[..., :tokens]


def _choose(q: Tensor, k: Tensor, v: Tensor, scale: float) -> str | None:
    """The kernel that torch would choose; None where that is another one, or returns no log-sum-exp."""
    device = q.device.type
    if device not in ("cpu", "cuda") or 0 in q.shape or (device == "cuda" and q.shape[-1] % ALIGNMENT):
        return None
    if torch.compiler.is_compiling():
        if not q.stride(-1) == k.stride(-1) == v.stride(-1) == 1:  # as the constant takes for granted
            return None
        wants_gradient = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
        chosen: str | None = _choose_for_a_graph(q.device, q.dtype, int(q.shape[-1]), bool(wants_gradient))
        return chosen
    if torch._C._functorch.is_batchedtensor(q):  # vmap knows what the choice is made for, and not the choice
        return None
    return KERNELS.get((device, torch._fused_sdp_choice(q, k, v, None, 0.0, False, scale=scale)))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _choose_for_a_graph(device: torch.device, dtype: torch.dtype, head_dim: int, wants_gradient: bool) -> str | None:
    """The choice as a constant of a graph that is being compiled; it does not depend on how many tokens there are."""
    with _disable_current_modes(), torch.set_grad_enabled(wants_gradient):  # fake tensors have no kernel
        like = torch.empty(1, 1, 197, head_dim, device=device, dtype=dtype, requires_grad=wants_gradient)
        kernel = KERNELS.get((device.type, torch._fused_sdp_choice(like, like, like, None, 0.0, False)))
    note("attention", kernel or UNNAMED)
    return kernel
