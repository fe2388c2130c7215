"""Independent reference of IELT, in plain PyTorch for one image: votes are counted one by one.

As in restatement.py: weights by name and one image (3, S, S) → logits (classes,) and boxes of what was selected.
"""

from __future__ import annotations

from functools import partial

import torch
from helpers.plain_models import Answer, Encoder, Weights, block, decide, layer_norm, linear, patch_box, top
from torch import Tensor


def ballots(rows: Tensor, votes: int) -> list[int]:
    """(H, M) attention → how many heads have each token among the `votes` that they attend to most."""
    counts = [0] * rows.shape[1]
    for row in rows:
        for j in top(row, votes):
            counts[j] += 1
    return counts


def most(votes: list[int], k: int) -> list[int]:
    return sorted(range(len(votes)), key=lambda j: (-votes[j], j))[:k]


def smooth_votes(votes: list[int], side: int) -> list[int]:
    """Every vote counts 4 for its own patch, 2 for those beside it, 1 for those at its corners."""
    out = [0] * len(votes)
    for j, count in enumerate(votes):
        r, c = divmod(j, side)
        for y in range(max(r - 1, 0), min(r + 2, side)):
            for x in range(max(c - 1, 0), min(c + 2, side)):
                out[y * side + x] += count * (2 - abs(y - r)) * (2 - abs(x - c))
    return out


def voted_patches(rows: Tensor, side: int, votes: int, k: int) -> list[int]:
    return most(smooth_votes(ballots(rows, votes), side), k)


def voted_keys(rows: Tensor, votes: int, k: int) -> list[int]:
    return most(ballots(rows, votes), k)


def ielt(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    num_tokens: int | tuple[int, ...] | list[int] = (16, 14, 12, 10, 8, 6, 8, 10, 12, 14, 16),
    num_key_tokens: int = 24,
    votes: int = 24,
    eps: float = 1e-6,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    side = encoder.side(img_size)
    outputs, maps = encoder.blocks(encoder.embed(image), encoder.depth - 1)
    counts = [num_tokens] * len(maps) if isinstance(num_tokens, int) else num_tokens
    class_token = outputs[-1][0]
    gathered, boxes = [class_token], []
    for output, m, k in zip(outputs, maps, counts, strict=True):
        rows = torch.softmax(m[:, 0, :], dim=1)[:, num_prefix:]
        for j in decide(partial(voted_patches, side=side, votes=votes, k=k), rows):
            gathered.append(output[num_prefix + j])
            boxes.append(patch_box(j, side, patch, patch))
    x, m = block(torch.stack(gathered), weights, "cross_layer_block", heads, eps)
    refined = layer_norm(x, weights, "cross_layer_norm", eps)
    rows = torch.softmax(m[:, 0, :], dim=1)[:, 1:]
    keys = decide(partial(voted_keys, votes=votes, k=num_key_tokens), rows)
    y, _ = encoder.block(torch.stack([class_token, *(refined[1 + p] for p in keys)]), encoder.depth - 1)
    beside = linear(refined[0], weights, "head")
    assist = torch.softmax(beside, dim=0) * torch.stack([row.sum() for row in weights["head.weight"]])
    return linear(encoder.norm(y)[0], weights, "head") + assist, boxes
