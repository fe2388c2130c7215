"""An independent Swin in plain PyTorch for one image, window by window and head by head; no code of the package.

Weights by name, as everywhere in timm since version 0.9: a stage begins with its merging.
"""

from __future__ import annotations

import math

import torch
from helpers.plain_models import Weights, layer_norm, linear, mlp
from torch import Tensor

EPS = 1e-5
MASKED = -100.0  # added to the logits of patches that are no neighbours in the picture


def attention(x: Tensor, weights: Weights, name: str, side: int, *, shifted: bool) -> Tensor:
    """(side², C) → (side², C): of every window each patch attends to all others."""
    table = weights[f"{name}.relative_position_bias_table"]
    heads, window = table.shape[1], (math.isqrt(len(table)) + 1) // 2
    assert side % window == 0
    shift = window // 2 if shifted and side > window else 0
    width = x.shape[1] // heads
    qkv = linear(x, weights, f"{name}.qkv")
    inside = [(r, c) for r in range(window) for c in range(window)]
    bias = torch.stack(
        [table[(a - c + window - 1) * (2 * window - 1) + b - d + window - 1] for a, b in inside for c, d in inside]
    ).view(len(inside), len(inside), heads)

    def band(place: int) -> int:
        """Which of three bands of the rolled picture a row or a column lies in."""
        return 0 if place < side - window or not shift else 1 if place < side - shift else 2

    out = torch.zeros_like(x)
    for top in range(0, side, window):
        for left in range(0, side, window):
            rolled = [(top + r, left + c) for r, c in inside]
            places = [(r + shift) % side * side + (c + shift) % side for r, c in rolled]
            zones = [(band(r), band(c)) for r, c in rolled]
            mask = torch.tensor([[0.0 if a == b else MASKED for b in zones] for a in zones], dtype=x.dtype)
            mixed = []
            for h in range(heads):
                q, k, v = (qkv[places, part * x.shape[1] + h * width :][:, :width] for part in range(3))
                logits = q @ k.T / math.sqrt(width) + bias[:, :, h] + mask
                mixed.append(torch.softmax(logits, dim=1) @ v)
            out[places] = torch.cat(mixed, dim=1)
    return linear(out, weights, f"{name}.proj")


def merge(x: Tensor, weights: Weights, name: str, side: int) -> Tensor:
    """(side², C) → (side²/4, 2C)."""
    rows = []
    for r in range(0, side, 2):
        for c in range(0, side, 2):
            corner = r * side + c
            rows.append(torch.cat([x[corner], x[corner + side], x[corner + 1], x[corner + side + 1]]))
    return linear(layer_norm(torch.stack(rows), weights, f"{name}.norm", EPS), weights, f"{name}.reduction")


def stages(weights: Weights, image: Tensor, root: str = "pyramid.net.", *, merged: bool = False) -> list[Tensor]:
    """(3, S, S) → the tokens (side², C) of every stage, merged for the next one if wanted; the last one normalised."""
    own = {name.removeprefix(root): w for name, w in weights.items() if name.startswith(root)}
    kernel = own["patch_embed.proj.weight"]
    patch = kernel.shape[-1]
    side = image.shape[-1] // patch
    pieces = image.unfold(1, patch, patch).unfold(2, patch, patch).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    x = layer_norm(pieces @ kernel.flatten(1).T + own["patch_embed.proj.bias"], own, "patch_embed.norm", EPS)
    found = []
    for stage in range(4):
        if f"layers.{stage}.downsample.reduction.weight" in own:
            x, side = merge(x, own, f"layers.{stage}.downsample", side), side // 2
            found[-1] = x if merged else found[-1]
        number = 0
        while f"layers.{stage}.blocks.{number}.norm1.weight" in own:
            name = f"layers.{stage}.blocks.{number}"
            normed = layer_norm(x, own, f"{name}.norm1", EPS)
            x = x + attention(normed, own, f"{name}.attn", side, shifted=number % 2 == 1)
            x = x + mlp(layer_norm(x, own, f"{name}.norm2", EPS), own, f"{name}.mlp")
            number += 1
        found.append(x)
    return [*found[:-1], layer_norm(found[-1], own, "norm", EPS) if "norm.weight" in own else found[-1]]
