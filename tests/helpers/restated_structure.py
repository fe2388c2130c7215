"""Independent references of SIM-Trans and AA-Trans, in plain PyTorch for one image; no code of the package.

As in restatement.py: weights by name and one image (3, S, S) → logits (classes,) and boxes of what was selected.
"""

from __future__ import annotations

import math

import torch
from helpers.plain_models import Box, Encoder, Weights, decide, linear, patch_box, top
from torch import Tensor

PLACES = 3
BATCH_NORM_EPS = 1e-5


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.exp(x) - 1)


def weights_of_object(attention: Tensor) -> Tensor:
    """(H, G²) attention of the class token → p (G²,): the mean over heads, where the sum is above its mean."""
    total = attention.sum(dim=0)
    mean = total.mean()
    inside = [bool(value > mean) for value in total]
    return attention.mean(dim=0) * torch.tensor(inside, dtype=attention.dtype)


def structure(p: Tensor, anchor: int, side: int, w1: Tensor, w2: Tensor, kept: Tensor | None = None) -> Tensor:
    """p (G²,) → what the graph gives its anchor (D,); every node and every pair of nodes is there."""
    nodes = []
    for j, weight in enumerate(p.tolist()):
        down, right = (j // side - anchor // side) / side, (j % side - anchor % side) / side
        place = [math.hypot(down, right), (math.atan2(right, down) / math.pi + 1) / 2]
        nodes.append(place if weight > 0 else [0.0, 0.0])
    x = torch.tensor(nodes, dtype=p.dtype)
    adjacency = torch.outer(p, p)
    hidden = torch.relu(leaky(adjacency @ x @ w1))
    hidden = hidden if kept is None else hidden * kept
    return leaky(adjacency @ hidden @ w2)[anchor]


def batch_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    return (x - mean) / torch.sqrt(variance + BATCH_NORM_EPS) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def joint_head(tokens: list[Tensor], weights: Weights) -> Tensor:
    """Three class tokens (D,) → logits: normalised by a batch, a layer, normalised again, ELU and a layer."""
    hidden = linear(batch_norm(torch.cat(tokens), weights, "head.norm"), weights, "head.hidden")
    return linear(elu(batch_norm(hidden, weights, "head.hidden_norm")), weights, "head.fc")


def simtrans(
    weights: Weights, image: Tensor, *, img_size: int, patch: int, heads: int, num_prefix: int = 1, eps: float = 1e-6
) -> tuple[Tensor, list[Box]]:
    encoder = Encoder(weights, patch, heads, num_prefix, stride=patch - 4, eps=eps)
    side, x = encoder.side(img_size), encoder.embed(image)
    tokens, boxes = [], []
    for i in range(encoder.depth):
        x, m = encoder.block(x, i)
        if i < encoder.depth - PLACES:
            continue
        p = weights_of_object(torch.softmax(m[:, 0], dim=1)[:, num_prefix:])
        (anchor,) = decide(lambda scores: top(scores, 1), p)
        added = structure(p, anchor, side, weights["structure.weight1"], weights["structure.weight2"])
        x = torch.cat([x[:1] + added, x[1:]])
        tokens.append(encoder.norm(x[0]))
        boxes.append(patch_box(anchor, side, patch, patch - 4))
    return joint_head(tokens, weights), boxes


def unevenness(columns: Tensor) -> Tensor:
    """(n, C) → (C,): of every column's softmax k, Σ k ln k less that of an even one, which is −ln n.

    Where a column is nearly even, by its cumulants: κ₂/2 + κ₃/3 + κ₄/8.
    """
    found = []
    for column in columns.T:
        d = column - column.mean()
        if d.abs().max() > 1e-3:
            k = torch.exp(d) / torch.exp(d).sum()
            found.append((k * torch.log(k * len(k))).sum())
        else:
            variance = (d**2).mean()
            found.append(variance / 2 + (d**3).mean() / 3 + ((d**4).mean() - 3 * variance**2) / 8)
    return torch.stack(found)


def joint_map(maps: list[Tensor], sigma: Tensor) -> Tensor:
    """Logits (N, N) of one head by block → (σA) ⋯ (σA) A in double precision, its columns less their means.

    A map whose rows sum to one leaves alone what a column has in common. Without it, products keep their digits.
    """
    joint = torch.softmax(maps[0].double(), dim=1)
    for m in maps[1:]:
        joint = joint - joint.mean(dim=0)
        joint = torch.matmul(sigma.double() * torch.softmax(m.double(), dim=1), joint)
    return joint - joint.mean(dim=0)


def aatrans(
    weights: Weights, image: Tensor, *, img_size: int, patch: int, heads: int, num_prefix: int = 1, eps: float = 1e-6
) -> tuple[Tensor, list[Box]]:
    encoder = Encoder(weights, patch, heads, num_prefix, stride=patch - 4, eps=eps)
    outputs, maps = encoder.blocks(encoder.embed(image), encoder.depth - 1)
    chosen = []
    for h in range(heads):
        joint = joint_map([m[h] for m in maps], weights["selector.sigma"])
        evenness = 1 / unevenness(joint[num_prefix:, num_prefix:])
        chosen += decide(lambda scores: top(scores, 1), evenness)
    x = torch.stack([outputs[-1][0], *(outputs[-1][num_prefix + j] for j in chosen)])
    x, _ = encoder.block(x, encoder.depth - 1)
    boxes = [patch_box(j, encoder.side(img_size), patch, patch - 4) for j in chosen]
    return linear(encoder.norm(x)[0], weights, "head"), boxes
