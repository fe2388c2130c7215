"""Independent references of ACC-ViT, in plain PyTorch for one image; no code of the package.

As in restatement.py: weights by name and one image (3, S, S) → logits (classes,) and boxes of what was selected. The
collage is cut pixel by pixel of a cell, one cell after the other.
"""

from __future__ import annotations

import math

import torch
from helpers.plain_models import Answer, Encoder, Weights, block, decide, layer_norm, linear, rollout, top
from torch import Tensor

OF_CUB = (0.2, 0.2, 0.8, 0.8)


def heads_of(
    weights: Weights, image: Tensor, *, patch: int, heads: int, num_prefix: int = 1, ratio: float = 0.2
) -> tuple[list[Tensor], Tensor, list[int]]:
    """Logits of the four heads, the rollout of the patches (G²,), and the selected ones."""
    eps = 1e-6
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    outputs, maps = encoder.blocks(encoder.embed(image))
    scores = rollout(maps)[0, num_prefix:]
    chosen = decide(lambda scores: top(scores, math.floor(ratio * len(scores))), scores)
    selected = torch.stack([outputs[-2][0], *(outputs[-2][num_prefix + j] for j in chosen)])
    extra, _ = block(selected, weights, "object_block", heads, eps)
    read = [
        linear(layer_norm(outputs[-3][0], weights, "first_norm", eps), weights, "first_head"),
        linear(layer_norm(outputs[-2][0], weights, "second_norm", eps), weights, "second_head"),
        linear(encoder.norm(outputs[-1][0]), weights, "head"),
        linear(layer_norm(extra[0], weights, "object_norm", eps), weights, "object_head"),
    ]
    return read, scores, chosen


def accvit(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    ratio: float = 0.2,
    head_weights: tuple[float, ...] = OF_CUB,
) -> Answer:
    read, _, chosen = heads_of(weights, image, patch=patch, heads=heads, num_prefix=num_prefix, ratio=ratio)
    logits = torch.zeros_like(read[0])
    for weight, own in zip(head_weights, read, strict=True):
        logits = logits + weight * own
    return logits, Encoder(weights, patch, heads, num_prefix).boxes(chosen, img_size)


def shares_of_cells(scores: Tensor, side: int, cells: int) -> list[float]:
    """Scores (G²,) → the share of every cell: mean over the patches that it touches, over the sum."""
    grid = scores.reshape(side, side)
    means = []
    for r in range(cells):
        for c in range(cells):
            rows = range(math.floor(r * side / cells), math.ceil((r + 1) * side / cells))
            columns = range(math.floor(c * side / cells), math.ceil((c + 1) * side / cells))
            means.append(sum(float(grid[y, x]) for y in rows for x in columns) / (len(rows) * len(columns)))
    return [mean / sum(means) for mean in means]


def collages(
    images: Tensor, scores: Tensor, partner: list[int], side: int, cells: int = 4
) -> tuple[Tensor, list[float], list[float]]:
    """Images (B, 3, S, S), scores (B, G²) → collages, and the weights of own and partner's classes."""
    made, own, other = images.clone(), [1.0] * len(images), [0.0] * len(images)
    shares = [shares_of_cells(row, side, cells) for row in scores]
    orders = [sorted(range(cells**2), key=lambda cell, row=row: (-row[cell], cell)) for row in shares]
    length, half = images.shape[-1] // cells, cells**2 // 2
    for b, p in enumerate(partner):
        for place in range(half, cells**2):
            into, taken = orders[b][place], orders[p][place - half]
            (y, x), (v, u) = divmod(into, cells), divmod(taken, cells)
            piece = images[p, :, v * length : (v + 1) * length, u * length : (u + 1) * length]
            made[b, :, y * length : (y + 1) * length, x * length : (x + 1) * length] = piece
            own[b] -= shares[b][into]
            other[b] += shares[p][taken]
    return made, own, other
