"""The attention of a timm block in steps: projection, attention, merging of heads.

The steps are those of timm's ``Attention`` and ``EvaAttention``; where the same kernels run, the results are equal bit
by bit. They are written out because models also need attention of the class token alone, over the tokens of two images,
and with the N×N map, which no timm module has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.backends import fused


class Projected(NamedTuple):
    """Queries (B, H, N_q, d), keys and values (B, H, N, d) of one block, after its norms and rotations."""

    q: Tensor
    k: Tensor
    v: Tensor


def project(attn: Any, x: Tensor, rope: Tensor | None = None, *, asking: Tensor | None = None) -> Projected:
    """Project tokens to queries, keys and values.

    Args:
        attn: Attention of a timm block.
        x: Normalised tokens (B, N, D).
        rope: Rotary positions (…, G², d) of the patches; prefix tokens and ``asking`` are not rotated.
        asking: The tokens (B, N_q, D) that have a query; all by default.

    """
    if attn.qkv is None:  # three projections of their own
        q, k, v = attn.q_proj(x if asking is None else asking), attn.k_proj(x), attn.v_proj(x)
    elif not isinstance(attn.qkv.weight, Tensor):  # quantized: its module computes all three at once
        third = attn.qkv.out_features // 3
        k, v = (every := attn.qkv(x))[..., third:].chunk(2, dim=-1)
        q = (every if asking is None else attn.qkv(asking))[..., :third]
    elif asking is None:
        q, k, v = functional.linear(x, attn.qkv.weight, _bias(attn)).chunk(3, dim=-1)
    else:
        width, bias = attn.qkv.out_features // 3, _bias(attn)
        q = functional.linear(asking, attn.qkv.weight[:width], None if bias is None else bias[:width])
        k, v = functional.linear(x, attn.qkv.weight[width:], None if bias is None else bias[width:]).chunk(2, dim=-1)
    q, k, v = (x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        q, k = q if asking is not None else _rotate(attn, q, rope), _rotate(attn, k, rope)
    return Projected(q.type_as(v), k.type_as(v), v)


def attend(attn: Any, projected: Projected, key_bias: Tensor | None = None) -> Tensor:
    """Attention (B, H, N_q, d) by a fused kernel, or written out where ``attn.fused_attn`` is False.

    ``key_bias`` (B, 1, 1, N) is added to the logits of every key.
    """
    q, k, v = projected
    if not attn.fused_attn:
        return attend_densely(attn, projected, key_bias)[0]
    bias = None if key_bias is None else key_bias.to(q.dtype)
    return functional.scaled_dot_product_attention(q, k, v, bias, dropout_p=_dropout(attn), scale=attn.scale)


def attend_recorded(attn: Any, projected: Projected) -> tuple[Tensor, Tensor | None]:
    """The output of :func:`attend`, and the log-sum-exp (B, H, N) of the logits where the kernel returns it."""
    if not attn.fused_attn or _dropout(attn):
        return attend(attn, projected), None
    return fused.attend(*projected, attn.scale)


def attend_densely(attn: Any, projected: Projected, key_bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The output, the softmaxed map (B, H, N_q, N) and the logits, as the published models compute them."""
    probs, logits = dense_map(attn, projected, key_bias)
    return attn.attn_drop(probs) @ projected.v, probs, logits


def dense_map(attn: Any, projected: Projected, key_bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The softmaxed map (B, H, N_q, N), and its logits with ``key_bias`` (B, 1, 1, N)."""
    logits = (projected.q * attn.scale) @ projected.k.transpose(-2, -1)
    if key_bias is not None:
        logits = logits + key_bias.to(logits.dtype)
    return logits.softmax(dim=-1), logits


def merge_heads(attn: Any, asking: Tensor, out: Tensor) -> Tensor:
    """Merge the outputs of heads into tokens.

    Args:
        attn: Attention of a timm block.
        asking: The normalised tokens (B, N_q, D) that have a query.
        out: Outputs of the heads (B, H, N_q, d).

    Returns:
        Tokens (B, N_q, D).

    """
    merged = out.transpose(1, 2).flatten(2)
    if getattr(attn, "norm", None) is not None:
        merged = attn.norm(merged)
    if getattr(attn, "gate", None) is not None:
        merged = merged * attn.gate(asking).sigmoid()
    result: Tensor = attn.proj_drop(attn.proj(merged))
    return result


def _dropout(attn: Any) -> float:
    p: float = attn.attn_drop.p
    return p if attn.training else 0.0


def _bias(attn: Any) -> Tensor | None:
    if getattr(attn, "q_bias", None) is not None:  # EVA: the keys' bias is a buffer of zeros
        return torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    bias: Tensor | None = attn.qkv.bias
    return bias


def _rotate(attn: Any, x: Tensor, rope: Tensor) -> Tensor:
    """Rotate queries or keys of patches by their position; those of prefix tokens stay."""
    prefix = x.shape[2] - rope.shape[-2]
    half = getattr(attn, "rotate_half", False)
    options = {"half": half} if half else {}  # older versions of timm do not have this option
    return torch.cat([x[:, :, :prefix], apply_rot_embed_cat(x[:, :, prefix:], rope, **options)], dim=2)
