"""An independent reference of a Swin's stages, in plain PyTorch for one image: window by window, head by head."""

from __future__ import annotations

import math

import torch
from helpers.plain_models import Weights, layer_norm, linear, mlp
from torch import Tensor

EPS = 1e-5


def offset(a: tuple[int, int], b: tuple[int, int], window: int) -> int:
    """The row of the table of position biases for two places of a window."""
    return (a[0] - b[0] + window - 1) * (2 * window - 1) + a[1] - b[1] + window - 1


def region(y: int, x: int, size: int, window: int, shift: int) -> tuple[int, int]:
    """Which neighbouring part of the image a place of the shifted image comes from, in both directions."""

    def of(place: int) -> int:
        return 0 if place < size - window else 1 if place < size - shift else 2

    return of(y), of(x)


def attention(x: Tensor, weights: Weights, name: str, heads: int, window: int, shift: int) -> Tensor:
    """(G, G, D) → (G, G, D): attention within windows; shifted by `shift` places up and to the left."""
    size, _, width = x.shape
    d, table = width // heads, weights[f"{name}.relative_position_bias_table"]
    out = torch.zeros_like(x)
    for top in range(0, size, window):
        for left in range(0, size, window):
            places = [(top + r, left + c) for r in range(window) for c in range(window)]
            origins = [((y + shift) % size, (x_ + shift) % size) for y, x_ in places]
            qkv = linear(torch.stack([x[y, x_] for y, x_ in origins]), weights, f"{name}.qkv")
            mixed = []
            for h in range(heads):
                q, k, v = (qkv[:, part * width + h * d : part * width + (h + 1) * d] for part in range(3))
                logits = q @ k.T / math.sqrt(d)
                for i, a in enumerate(places):
                    for j, b in enumerate(places):
                        logits[i, j] += table[offset(a, b, window), h]
                        if shift and region(*a, size, window, shift) != region(*b, size, window, shift):
                            logits[i, j] -= 100
                mixed.append(torch.softmax(logits, dim=1) @ v)
            merged = linear(torch.cat(mixed, dim=1), weights, f"{name}.proj")
            for (y, x_), token in zip(origins, merged, strict=True):
                out[y, x_] = token
    return out


def merge(x: Tensor, weights: Weights, name: str) -> Tensor:
    """(G, G, D) → (G/2, G/2, 2D): four neighbours side by side, normalised, and a matrix."""
    joined = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], dim=2)
    return linear(layer_norm(joined, weights, f"{name}.norm", EPS), weights, f"{name}.reduction")


def stages(weights: Weights, image: Tensor, root: str, heads: tuple[int, ...], window: int) -> list[list[Tensor]]:
    """Image (3, S, S) → for each stage its output and, but for the last one, that after merging, (G, G, D) each."""
    kernel = weights[f"{root}patch_embed.proj.weight"]
    patch = kernel.shape[-1]
    pieces = image.unfold(1, patch, patch).unfold(2, patch, patch).permute(1, 2, 0, 3, 4).flatten(2)
    x = pieces @ kernel.flatten(1).T + weights[f"{root}patch_embed.proj.bias"]
    x = layer_norm(x, weights, f"{root}patch_embed.norm", EPS)
    found = []
    for index, count in enumerate(heads):
        i, own = 0, min(window, len(x))
        while f"{root}layers.{index}.blocks.{i}.norm1.weight" in weights:
            name = f"{root}layers.{index}.blocks.{i}"
            shift = own // 2 if i % 2 and len(x) > own else 0
            x = x + attention(layer_norm(x, weights, f"{name}.norm1", EPS), weights, f"{name}.attn", count, own, shift)
            x = x + mlp(layer_norm(x, weights, f"{name}.norm2", EPS), weights, f"{name}.mlp")
            i += 1
        found.append([x])
        if index + 1 < len(heads):
            x = merge(x, weights, f"{root}layers.{index + 1}.downsample")
            found[-1].append(x)
    return found


def normed_stages(weights: Weights, image: Tensor, root: str = "pyramid.net.") -> list[Tensor]:
    """Image (3, S, S) → the tokens (G², D) of every stage before merging, the last ones after the last norm."""
    tables = [weights[f"{root}layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in range(4)]
    heads, window = tuple(table.shape[1] for table in tables), (math.isqrt(len(tables[0])) + 1) // 2
    found = [stage[0].flatten(0, 1) for stage in stages(weights, image, root, heads, window)]
    return [*found[:-1], layer_norm(found[-1], weights, f"{root}norm", EPS)]
