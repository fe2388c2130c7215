"""The attention of a timm block, taken apart: what is projected, how it is combined, what a selector may read.

The steps are those of timm's ``Attention`` and ``EvaAttention``; the results are equal to theirs bit by bit where
the same kernels run. They are written out because a block must also answer for the class token alone, for two
images at once, and with the N×N map kept, which no timm module does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.backends import fused


class Projected(NamedTuple):
    """Queries (B, H, N_q, d), keys and values (B, H, N, d) of one block, normalised and rotated as it does."""

    q: Tensor
    k: Tensor
    v: Tensor


def project(attn: Any, x: Tensor, rope: Tensor | None = None, *, asking: Tensor | None = None) -> Projected:
    """Project normalised tokens x (B, N, D); ``asking`` (B, N_q, D) are the tokens that have a query, all by default.

    ``rope`` (…, G², d) turns the patches of x by their position; tokens before them, and ``asking``, are not turned.
    """
    if attn.qkv is None:  # three projections of their own
        q, k, v = attn.q_proj(x if asking is None else asking), attn.k_proj(x), attn.v_proj(x)
    elif asking is None:
        q, k, v = functional.linear(x, attn.qkv.weight, _bias(attn)).chunk(3, dim=-1)
    else:
        width, bias = attn.qkv.out_features // 3, _bias(attn)
        q = functional.linear(asking, attn.qkv.weight[:width], None if bias is None else bias[:width])
        k, v = functional.linear(x, attn.qkv.weight[width:], None if bias is None else bias[width:]).chunk(2, dim=-1)
    q, k, v = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        q, k = q if asking is not None else _rotate(attn, q, rope), _rotate(attn, k, rope)
    return Projected(q.type_as(v), k.type_as(v), v)


def attend(attn: Any, projected: Projected) -> Tensor:
    """Fused attention → (B, H, N_q, d). Written out where the module says so, so that a count sees what runs."""
    q, k, v = projected
    if not attn.fused_attn:
        return attend_densely(attn, projected)[0]
    return functional.scaled_dot_product_attention(q, k, v, dropout_p=_dropout(attn), scale=attn.scale)


def attend_recorded(attn: Any, projected: Projected) -> tuple[Tensor, Tensor | None]:
    """The same output, and the log-sum-exp (B, H, N) of every query's logits where the kernel returns it."""
    if not attn.fused_attn or _dropout(attn):
        return attend(attn, projected), None
    return fused.attend(*projected, attn.scale)


def attend_densely(attn: Any, projected: Projected) -> tuple[Tensor, Tensor, Tensor]:
    """The same through the N×N map, as the published models do → output, softmaxed map, logits."""
    q, k, v = projected
    logits = (q * attn.scale) @ k.transpose(-2, -1)
    probs = logits.softmax(dim=-1)
    return attn.attn_drop(probs) @ v, probs, logits


def merge_heads(attn: Any, asking: Tensor, out: Tensor) -> Tensor:
    """Heads (B, H, N_q, d) back to tokens (B, N_q, D); ``asking`` are the normalised tokens that had a query."""
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


def _rotate(attn: Any, part: Tensor, rope: Tensor) -> Tensor:
    """Turn the patches by their position; whatever stands before them stays."""
    prefix = part.shape[2] - rope.shape[-2]
    half = getattr(attn, "rotate_half", False)
    options = {"half": half} if half else {}  # older versions of timm know no other layout
    return torch.cat([part[:, :, :prefix], apply_rot_embed_cat(part[:, :, prefix:], rope, **options)], dim=2)
