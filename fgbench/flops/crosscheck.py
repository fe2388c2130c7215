"""Check of a count against two independent ones: torch's own flop counter, and the closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fgbench.errors import CheckFailedError
from fgbench.flops.counter import Count
from fgbench.models.backbone import MetaBackbone

PLAIN_BLOCK = {"attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"}


def torch_macs(run: Any, *inputs: Any) -> int:
    """Multiply–adds of matrix products and convolutions by ``torch.utils.flop_counter``."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(*inputs)
    return int(counter.get_total_flops()) // 2


def closed_form_macs(backbone: MetaBackbone) -> int | None:
    """Multiply–adds from the shapes of a plain block: qkv, two products, projection, two-layer MLP.

    Returns:
        The figure, or None for other blocks, such as gated MLPs or separate projections.

    """
    module: Any = backbone.module
    weights = backbone.block_weights
    classifies = isinstance(getattr(module, "head", None), nn.Linear) and not hasattr(module, "head_dist")
    if set(weights) != PLAIN_BLOCK or not classifies or module.global_pool != "token":
        return None
    tokens, patches = backbone.num_tokens, backbone.grid[0] * backbone.grid[1]
    per_token = sum(rows * columns for rows, columns in weights.values())
    attention = 2 * tokens**2 * backbone.num_heads * backbone.head_dim
    embedding = patches * 3 * backbone.patch_size**2 * backbone.embed_dim
    blocks = backbone.depth * (tokens * per_token + attention)
    return int(embedding + blocks + module.head.in_features * module.head.out_features)


def cross_check(what: str, backbone: MetaBackbone, count: Count) -> None:
    """Check that the macs of a count equal both independent figures.

    Args:
        what: The backbone and its image size, for the message.
        backbone: The backbone.
        count: Its count.

    Raises:
        CheckFailedError: If a figure differs.

    """
    references = {
        "torch.utils.flop_counter": torch_macs(backbone.module.forward, backbone.image()),
        "the closed form": closed_form_macs(backbone),
    }
    for name, macs in references.items():
        if macs is not None and macs != count.macs:
            raise CheckFailedError(f"{what}: {count.macs:,} macs were counted, {name} says", macs)
