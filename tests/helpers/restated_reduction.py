"""Independent references of the token reductions, from the papers: one image, plain loops, every map built.

Every function takes the tokens (N, D) after attention and its residual, the maps (H, N, N) of the block and what it
needs besides, and returns the tokens that go on. Nothing here is shared with the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from helpers.plain_models import Encoder, Weights, gelu, layer_norm, linear, mlp
from torch import Tensor


@dataclass
class Block:
    """A block of one image, after its attention."""

    maps: Tensor  # (H, N, N), softmaxed
    keys: Tensor  # (H, N, d)
    values: Tensor  # (H, N, d)


@dataclass
class Run:
    """What is carried from block to block."""

    prefix: int
    patches: int  # at the start
    sizes: list[float] = field(default_factory=list)
    attention: list[float] = field(default_factory=list)
    resting: list[Tensor] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # tokens that the MLP of each block reads


def attend(x: Tensor, own: Weights, name: str, heads: int, bias: list[float] | None = None) -> tuple[Tensor, Block]:
    """Attention with its residual (N, D), and the block; `bias` is added to the logits of each key."""
    width = x.shape[1]
    d = width // heads
    qkv = linear(layer_norm(x, own, f"{name}.norm1", 1e-6), own, f"{name}.attn.qkv")
    maps, keys, values, mixed = [], [], [], []
    for h in range(heads):
        q, k, v = (qkv[:, part * width + h * d : part * width + (h + 1) * d] for part in range(3))
        logits = q @ k.T / math.sqrt(d)
        if bias is not None:
            logits = logits + torch.tensor(bias)[None, :]
        maps.append(torch.softmax(logits, dim=1))
        keys.append(k)
        values.append(v)
        mixed.append(maps[-1] @ v)
    out = linear(torch.cat(mixed, dim=1), own, f"{name}.attn.proj") * own.get(f"{name}.ls1.gamma", 1)
    return x + out, Block(torch.stack(maps), torch.stack(keys), torch.stack(values))


def class_scores(block: Block, prefix: int) -> list[float]:
    """The class token's attention to each patch token, mean over heads."""
    return [sum(m[0, j].item() for m in block.maps) / len(block.maps) for j in range(prefix, block.maps.shape[1])]


def descending(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda j: (-scores[j], j))


def evit(x: Tensor, block: Block, run: Run, rate: float, stage: int) -> Tensor:
    scores = class_scores(block, run.prefix)
    kept = math.ceil(rate * len(scores))
    if kept == len(scores):
        return x
    order = descending(scores)
    fused = torch.zeros(x.shape[1])
    for j in order[kept:]:
        fused = fused + scores[j] * x[run.prefix + j]
    return torch.stack([*x[: run.prefix], *(x[run.prefix + j] for j in order[:kept]), fused])


def topk(x: Tensor, block: Block, run: Run, rate: float, stage: int) -> Tensor:
    scores = class_scores(block, run.prefix)
    kept = math.floor(run.patches * rate ** (stage + 1))
    return torch.stack([*x[: run.prefix], *(x[run.prefix + j] for j in descending(scores)[:kept])])


def tome(x: Tensor, block: Block, run: Run, merged: int) -> Tensor:
    """Merge pairs of tokens, one after the other, into lists of members."""
    metric = [block.keys[:, i].mean(dim=0) for i in range(len(x))]
    metric = [row / math.sqrt(sum(value.item() ** 2 for value in row)) for row in metric]
    sizes = run.sizes or [1.0] * len(x)
    even, odd = range(0, len(x), 2), range(1, len(x), 2)
    pairs = []
    for i in even:
        if i < run.prefix:
            continue
        partner = max((j for j in odd if j >= run.prefix), key=lambda j: (float(metric[i] @ metric[j]), -j))
        pairs.append((float(metric[i] @ metric[partner]), i, partner))
    gone = {i: j for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:merged]}
    members = {j: [j] for j in odd}
    for i, j in gone.items():
        members[j].append(i)
    groups = [[i] for i in range(run.prefix)]
    groups += [[i] for i in even if i >= run.prefix and i not in gone]
    groups += [members[j] for j in odd if j >= run.prefix]
    run.sizes = [sum(sizes[i] for i in group) for group in groups]
    rows = [sum(sizes[i] * x[i] for i in group) / sum(sizes[i] for i in group) for group in groups]
    return torch.stack(rows)


def significance(block: Block, prefix: int) -> list[float]:
    found = []
    for j in range(prefix, block.maps.shape[1]):
        norm = math.sqrt(sum(v[j].square().sum().item() for v in block.values))
        found.append(sum(m[0, j].item() for m in block.maps) * norm)
    return [value / sum(found) for value in found]


def ats(block: Block, run: Run, levels: int) -> list[int]:
    """The patch tokens that are sampled, in ascending order of their significance."""
    scores = significance(block, run.prefix)
    order = sorted(range(len(scores)), key=lambda j: (scores[j], j))
    sums, total = [], 0.0
    for j in order:
        total += scores[j]
        sums.append(total)
    share = [(value - sums[0]) / (sums[-1] - sums[0]) for value in sums]
    first = min(value for value in share if value > 0)
    chosen = set()
    for step in range(levels):
        level = first + (1 - first) * step / (levels - 1)
        chosen.add(min(range(len(share)), key=lambda at: (abs(level - share[at]), at)))
    return [order[at] for at in sorted(chosen)]


def predictor(patches: Tensor, own: Weights, name: str) -> Tensor:
    """Log-probabilities (n, 2) of keeping and dropping."""
    x = gelu(linear(layer_norm(patches, own, f"{name}.in_conv.0", 1e-5), own, f"{name}.in_conv.1"))
    half = x.shape[1] // 2
    mean = sum(row[half:] for row in x) / len(x)
    joined = torch.stack([torch.cat([row[:half], mean]) for row in x])
    hidden = gelu(linear(joined, own, f"{name}.out_conv.0"))
    hidden = gelu(linear(hidden, own, f"{name}.out_conv.2"))
    return torch.log_softmax(linear(hidden, own, f"{name}.out_conv.4"), dim=1)


def reduced_vit(
    weights: Weights,
    image: Tensor,
    kind: str,
    *,
    at: tuple[int, ...],
    rate: float,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    merged: Callable[[int, int], int] | None = None,
) -> tuple[Tensor, Run]:
    """Tokens (M, D) before the last norm, and the run.

    Args:
        weights: Of a ViT, by name.
        image: (3, S, S).
        kind: Name of the reduction.
        at: Blocks, from 1.
        rate: Share of tokens.
        patch: Side of a patch.
        heads: H.
        num_prefix: Tokens before the patches.
        merged: Of ToMe, how many tokens a stage merges, by the stage and the number of tokens.

    """
    encoder = Encoder(weights, patch, heads, num_prefix)
    own, x = encoder.own, encoder.embed(image)
    run = Run(num_prefix, len(x) - num_prefix)
    for i in range(encoder.depth):
        stage = at.index(i + 1) if i + 1 in at else None
        name = f"blocks.{i}"
        if kind == "dynamicvit" and stage is not None:
            keep = predictor(x[num_prefix:], weights, f"encoder.reduction.predictors.{stage}")[:, 0].tolist()
            kept = descending(keep)[: math.floor(run.patches * rate ** (stage + 1))]
            x = torch.stack([*x[:num_prefix], *(x[num_prefix + j] for j in kept)])
        if kind == "evovit" and stage is not None:
            order = descending(run.attention)
            kept = math.floor(rate * run.patches)
            run.resting = [x[num_prefix + j] for j in order[kept:]]
            run.attention = [run.attention[j] for j in order]
            x = torch.stack([*x[:num_prefix], *(x[num_prefix + j] for j in order[:kept])])
        bias = [math.log(size) for size in run.sizes] if run.sizes else None
        before, (x, block) = x, attend(x, own, name, heads, bias)
        if kind == "evit" and stage is not None:
            x = evit(x, block, run, rate, stage)
        elif kind == "topk" and stage is not None:
            x = topk(x, block, run, rate, stage)
        elif kind == "tome" and stage is not None:
            assert merged is not None
            x = tome(x, block, run, merged(stage, len(x)))
        elif kind == "ats" and stage is not None:
            chosen = ats(block, run, math.floor(run.patches * rate ** (stage + 1)))
            x = torch.stack([*x[:num_prefix], *(x[num_prefix + j] for j in chosen)])
        elif kind == "evovit":
            mine = [sum(m[0, j].item() for m in block.maps) for j in range(num_prefix, len(before))]
            carry = i + 1 >= at[0]
            known = run.attention
            for j, value in enumerate(mine):
                if carry:
                    known[j] = (known[j] + value) / 2
            run.attention = known if carry else mine
        run.lengths.append(len(x))
        y = mlp(layer_norm(x, own, f"{name}.norm2", 1e-6), own, f"{name}.mlp") * own.get(f"{name}.ls2.gamma", 1)
        x = x + y
        if kind == "evovit" and run.resting and (i + 2 in at or i + 1 == encoder.depth):
            x, run.resting = torch.stack([*x, *run.resting]), []
    return x, run
