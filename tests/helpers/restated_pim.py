"""Independent references of PIM and HERBS, in plain PyTorch for one image, token by token; no code of the package.

They take weights by name and the tokens (S, C) of every level, and know of a backbone no more than its grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from helpers.plain_models import Weights, linear
from torch import Tensor

BATCH_NORM_EPS = 1e-5


@dataclass
class Answer:
    """Logits by head, those of the tokens of every level, and the order of the tokens of every level."""

    heads: dict[str, Tensor]
    logits: list[Tensor]  # (S, classes)
    order: list[list[int]]  # all tokens, the most confident one first
    gap: float  # the smallest difference of two confidences of a level
    first: list[Tensor]  # logits of the first pyramid, (S, classes), where there are two

    def predict(self, by: str) -> Tensor:
        """Logits (classes,): of the combiner, or of the mean probability of all heads."""
        if by == "combiner":
            return self.heads["combiner"]
        return torch.stack([torch.softmax(head, dim=0) for head in self.heads.values()]).mean(dim=0).log()


def batch_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    return (x - mean) / torch.sqrt(variance + BATCH_NORM_EPS) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def twice(x: Tensor, weights: Weights, name: str) -> Tensor:
    return linear(torch.relu(linear(x, weights, f"{name}.first")), weights, f"{name}.second")


def spread(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Tokens (S, F) → (S', F): place s of the result is a weighted sum of all places, and a number for all channels."""
    matrix, bias = weights[f"{name}.linear.weight"], weights[f"{name}.linear.bias"]
    rows = zip(matrix, bias, strict=True)
    return torch.stack([sum(w * token for w, token in zip(row, x, strict=True)) + b for row, b in rows])


def enlarge(x: Tensor, given: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Tokens (h·w, F) → (H·W, F): bilinear between the centres of pixels, and constant beyond the outermost ones."""
    rows = []
    for r in range(wanted[0]):
        for c in range(wanted[1]):
            places = []
            for place, small, large in ((r, given[0], wanted[0]), (c, given[1], wanted[1])):
                at = max((place + 0.5) * small / large - 0.5, 0.0)
                low = min(int(at), small - 1)
                places.append((low, min(low + 1, small - 1), at - low))
            (y0, y1, dy), (x0, x1, dx) = places
            above = (1 - dx) * x[y0 * given[1] + x0] + dx * x[y0 * given[1] + x1]
            below = (1 - dx) * x[y1 * given[1] + x0] + dx * x[y1 * given[1] + x1]
            rows.append((1 - dy) * above + dy * below)
    return torch.stack(rows)


def top_down(tokens: list[Tensor], weights: Weights, grids: list[tuple[int, int]], bilinear: bool) -> list[Tensor]:
    features = [twice(x, weights, f"top_down.project.{i}") for i, x in enumerate(tokens)]
    for i in reversed(range(len(features) - 1)):
        if bilinear:
            features[i] = features[i] + enlarge(features[i + 1], grids[i + 1], grids[i])
        elif f"top_down.steps.{i}.linear.weight" in weights:
            features[i] = features[i] + spread(features[i + 1], weights, f"top_down.steps.{i}")
        else:
            features[i] = features[i] + features[i + 1]
    return features


def bottom_up(features: list[Tensor], weights: Weights) -> list[Tensor]:
    found = [twice(x, weights, f"bottom_up.project.{i}") for i, x in enumerate(features)]
    for i in range(len(found) - 1):
        found[i + 1] = found[i + 1] + spread(found[i], weights, f"bottom_up.steps.{i}")
    return found


def classify(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Tokens (S, F) → logits (S, classes), one token after the other."""
    hidden = [torch.relu(batch_norm(linear(token, weights, f"{name}.hidden"), weights, f"{name}.norm")) for token in x]
    return torch.stack([linear(token, weights, f"{name}.fc") for token in hidden])


def confidence(logits: Tensor, image_s_class: bool) -> list[float]:
    mean = logits.mean(dim=0).tolist()
    likeliest = mean.index(max(mean))
    found = []
    for token in logits:
        probabilities = torch.softmax(token, dim=0).tolist()
        found.append(probabilities[likeliest] if image_s_class else max(probabilities))
    return found


def combine(selected: Tensor, weights: Weights) -> Tensor:
    """Selected tokens (K, F), in their order → logits (classes,)."""
    pool, pool_bias = weights["combiner.pool_in.weight"], weights["combiner.pool_in.bias"]
    nodes = [sum(w * x for w, x in zip(row, selected, strict=True)) + b for row, b in zip(pool, pool_bias, strict=True)]
    query, key = ([linear(node, weights, f"combiner.{name}").mean() for node in nodes] for name in ("query", "key"))
    fixed, alpha = weights["combiner.adjacency"], weights["combiner.alpha"][0]
    passed = [linear(node, weights, "combiner.graph") for node in nodes]
    vector = weights["combiner.pool_out.bias"][0]
    for j in range(len(nodes)):
        mixed = sum(x * (fixed[i, j] + alpha * torch.tanh(query[i] - key[j])) for i, x in enumerate(passed))
        vector = vector + weights["combiner.pool_out.weight"][0, j] * batch_norm(mixed, weights, "combiner.norm")
    return linear(vector, weights, "combiner.fc")


def plug_in(
    tokens: list[Tensor],
    weights: Weights,
    *,
    num_tokens: list[int],
    grids: list[tuple[int, int]],
    bilinear: bool = False,
    herbs: bool = False,
) -> Answer:
    """The tokens (S, C) of every level of one image → everything that PIM, or HERBS, computes of them."""
    features = top_down(tokens, weights, grids, bilinear)
    first = []
    if herbs:
        first = [classify(x, weights, f"first_classifiers.{i}") for i, x in enumerate(features)]
        features = bottom_up(features, weights)
    logits = [classify(x, weights, f"classifiers.{i}") for i, x in enumerate(features)]
    orders, selected, gap = [], [], 1.0
    for x, level, k in zip(features, logits, num_tokens, strict=True):
        scores = confidence(level, herbs)
        orders.append(sorted(range(len(scores)), key=lambda s: (-scores[s], s)))
        ranked = sorted(scores)
        gap = min([gap, *(b - a for a, b in pairwise(ranked))])
        selected.append(x[orders[-1][:k]])
    heads = {f"level {i}": level.mean(dim=0) for i, level in enumerate(logits, start=1)}
    heads |= {f"first level {i}": level.mean(dim=0) for i, level in enumerate(first, start=1)}
    heads["combiner"] = combine(torch.cat(selected), weights)
    return Answer(heads, logits, orders, gap, first)


def loss(answers: list[Answer], targets: list[int], num_tokens: list[int], by: dict[str, float]) -> Tensor:
    """The loss of a batch, term by term: weights `level`, `selected`, `dropped`, `combiner`, `first`, `temperature`."""

    def cross_entropy(logits: Tensor, target: int) -> Tensor:
        return torch.logsumexp(logits, dim=0) - logits[target]

    batch = list(zip(answers, targets, strict=True))
    total = by["combiner"] * sum(cross_entropy(a.heads["combiner"], t) for a, t in batch) / len(batch)
    for i, k in enumerate(num_tokens):
        total = total + by["level"] * sum(cross_entropy(a.logits[i].mean(dim=0), t) for a, t in batch) / len(batch)
        chosen = [cross_entropy(a.logits[i][s], t) for a, t in batch for s in a.order[i][:k]]
        total = total + by["selected"] * sum(chosen) / len(chosen)
        left = [(torch.tanh(a.logits[i][s]) + 1) ** 2 for a, _ in batch for s in a.order[i][k:]]
        if left:
            total = total + by["dropped"] * torch.stack(left).mean()
        if by.get("first"):
            pairs = []
            for a, _ in batch:
                wanted = torch.softmax(a.logits[i] / by["temperature"], dim=1)
                given = torch.softmax(a.first[i] / by["temperature"], dim=1)
                pairs.append(wanted * (wanted.log() - given.log()))
            total = total + by["first"] * torch.stack(pairs).mean()
    return total
