"""A timm block in steps: both residual branches, and the check that it is a plain transformer's; a norm of our own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError

BLOCK_ATTRIBUTES = ("norm1", "attn", "drop_path1", "norm2", "mlp", "drop_path2")
FIXED_EPS = 1e-5
ATTENTION_ATTRIBUTES = ("qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop", "scale", "num_heads", "fused_attn")


def finish_block(block: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    """Add both residual branches, with the block's layer scale and stochastic depth."""
    return add_mlp(block, add_attention(block, tokens, attended))


def add_attention(block: Any, tokens: Tensor, attended: Tensor) -> Tensor:
    """Add the branch of attention to the tokens (B, N, D) before it."""
    out: Tensor = tokens + block.drop_path1(_scaled(block, 1, attended))
    return out


def add_mlp(block: Any, tokens: Tensor) -> Tensor:
    """Add the branch of the MLP to the tokens (B, N, D) after attention."""
    out: Tensor = tokens + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(tokens))))
    return out


def _scaled(block: Any, branch: int, x: Tensor) -> Tensor:
    scale = getattr(block, f"ls{branch}", None)
    if scale is not None:
        scaled: Tensor = scale(x)
        return scaled
    gamma = getattr(block, f"gamma_{branch}", None)
    return x if gamma is None else gamma * x


def check_block(name: str, block: Any) -> None:
    """Raise an error for a block that is not a plain transformer's."""
    attn = getattr(block, "attn", None)
    missing = [name for name in BLOCK_ATTRIBUTES if not hasattr(block, name)]
    missing += [f"attn.{name}" for name in ATTENTION_ATTRIBUTES if not hasattr(attn, name)]
    shared_keys = getattr(attn, "num_kv_heads", None) not in (None, getattr(attn, "num_heads", None))
    if missing or shared_keys or type(block).__name__ not in ("Block", "EvaBlock"):
        why = f"its blocks are {type(block).__name__}" + (f" without {', '.join(missing)}" if missing else "")
        why = "its heads share keys and values (grouped-query attention)" if shared_keys else why
        raise FgbenchError(f"backbone {name!r} cannot be run block by block: {why}", do="choose a plain ViT")


class FixedNorm(nn.Module):
    """Layer normalisation over the last axis with ε = 10⁻⁵; a weight and a bias for each place.

    It is no ``nn.LayerNorm``, so that a file which sets the ε of a model's norms leaves its ε as it is.

    Args:
        width: Of the last axis.

    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Values (…, width) → the same shape, in the dtype of the values."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, weight.shape, weight, bias, FIXED_EPS)
