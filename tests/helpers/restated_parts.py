"""An independent MPSA in plain PyTorch for one image, part by part and head by head; no code of the package.

`names` says how weights are called: `OURS`, or `RELEASED` as in the authors' files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from helpers import restated_swin
from helpers.plain_models import Weights, block, gelu, layer_norm, linear
from torch import Tensor

EPS = 1e-5
OURS = {
    "swin": "pyramid.net.",
    "vit": "pyramid.net.vit.",
    "norm": "stages.{}.norm",
    "sample": "stages.{}.sampling.linear",
    "sample position": "stages.{}.sampling.position",
    "q": "stages.{}.attention.q",
    "kv": "stages.{}.attention.kv",
    "out": "stages.{}.attention.out",
    "position": "stages.{}.attention.position",
    "scale": "stages.{}.attention.scale",
    "first": "stages.{}.attention.importance.conv1",
    "middle": "stages.{}.attention.importance.norm",
    "second": "stages.{}.attention.importance.conv2",
    "pooling": "pooling",
}
RELEASED = {
    "swin": "backbone.",
    "vit": "backbone.",
    "norm": "block.norm_list.{}",
    "sample": "block.parts_generation_list.{}.linear",
    "sample position": "block.parts_generation_list.{}.part_pos",
    "q": "block.mpsa_list.{}.q",
    "kv": "block.mpsa_list.{}.kv",
    "out": "block.mpsa_list.{}.o",
    "position": "block.mpsa_list.{}.atten_pos",
    "scale": "block.mpsa_list.{}.weights_scale",
    "first": "block.mpsa_list.{}.parts_attention.conv1",
    "middle": "block.mpsa_list.{}.parts_attention.ln",
    "second": "block.mpsa_list.{}.parts_attention.conv2",
    "pooling": "pooling_weights",
}


@dataclass
class Attended:
    """What the last tokens get from the parts of one stage (N, d), and their importance (N,) before it is scaled."""

    got: Tensor
    importance: Tensor


def vit_stages(weights: Weights, image: Tensor, root: str, patch: int, heads: int, eps: float = 1e-6) -> list[Tensor]:
    """The outputs of a ViT without class token after each quarter of its blocks."""
    own = {name.removeprefix(root): w for name, w in weights.items() if name.startswith(root)}
    pieces = image.unfold(1, patch, patch).unfold(2, patch, patch).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    x = pieces @ own["patch_embed.proj.weight"].flatten(1).T + own["patch_embed.proj.bias"] + own["pos_embed"][0]
    depth = len([name for name in own if name.startswith("blocks.") and name.endswith("norm1.weight")])
    found = []
    for number in range(depth):
        x, _ = block(x, own, f"blocks.{number}", heads, eps)
        if (number + 1) * 4 % depth == 0:
            found.append(x)
    return found


def sampled(x: Tensor, weights: Weights, names: dict[str, str], stage: int, kept: list[int]) -> Tensor:
    """(S, d) → the parts (R', d): each a mean of the tokens by its own weights."""
    weight, bias = (weights[f"{names['sample'].format(stage)}.{kind}"] for kind in ("weight", "bias"))
    position = weights[names["sample position"].format(stage)][0]
    parts = []
    for part in kept:
        membership = gelu(x @ weight[part] + bias[part]) + position[:, part]
        share = torch.exp(membership - membership.max())
        parts.append((share / share.sum()) @ x)
    return torch.stack(parts)


def attended(last: Tensor, parts: Tensor, weights: Weights, names: dict[str, str], stage: int) -> Attended:
    """The last tokens (N, D) attend to the parts (R', d)."""
    own = {what: name.format(stage) for what, name in names.items()}
    position = weights[own["position"]][0]  # (h, N, R')
    width, heads = parts.shape[1], len(position)
    c = width // heads
    q, kv = linear(last, weights, own["q"]), linear(parts, weights, own["kv"])
    mixed, over_tokens = [], torch.zeros(len(last), len(parts), dtype=last.dtype)
    for h in range(heads):
        keys, values = kv[:, h * c : (h + 1) * c], kv[:, width + h * c : width + (h + 1) * c]
        logits = q[:, h * c : (h + 1) * c] @ keys.T / math.sqrt(c) + position[h]
        mixed.append(torch.softmax(logits, dim=1) @ values)
        over_tokens = over_tokens + torch.softmax(logits, dim=0) / heads
    first, second = (weights[f"{own[which]}.weight"][:, :, 0, 0] for which in ("first", "second"))
    hidden = first @ parts.mean(dim=1) + weights[f"{own['first']}.bias"]
    spread = torch.sqrt(((hidden - hidden.mean()) ** 2).mean() + EPS)
    hidden = (hidden - hidden.mean()) / spread * weights[f"{own['middle']}.weight"].flatten()
    hidden = gelu(hidden + weights[f"{own['middle']}.bias"].flatten())
    importance = torch.sigmoid(second @ hidden + weights[f"{own['second']}.bias"])
    return Attended(torch.cat(mixed, dim=1), over_tokens @ importance)


def look(
    weights: Weights,
    image: Tensor,
    names: dict[str, str] = OURS,
    kept: list[list[int]] | None = None,
    vit: dict[str, int] | None = None,
) -> list[Attended]:
    """Of every stage what the last tokens get; `kept` are the parts, by default the last ones that have a place."""
    if vit is None:
        tokens = restated_swin.normed_stages(weights, image, names["swin"])
    else:
        tokens = vit_stages(weights, image, names["vit"], **vit)
    tokens = [layer_norm(x, weights, names["norm"].format(stage), EPS) for stage, x in enumerate(tokens)]
    found = []
    for stage, x in enumerate(tokens):
        places = weights[names["position"].format(stage)].shape[-1]
        count = len(weights[f"{names['sample'].format(stage)}.weight"])
        own = list(range(count - places, count)) if kept is None else kept[stage]
        found.append(attended(tokens[-1], sampled(x, weights, names, stage, own), weights, names, stage))
    return found


def finish(
    weights: Weights,
    stages: list[Attended],
    names: dict[str, str] = OURS,
    extremes: list[tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (classes,), weights of the tokens (N,), and the fused tokens (N, Σ d).

    `extremes` are the smallest and the largest importance of a batch by stage; by default those of the image.
    """
    outs, total = [], 0
    pooling = weights[names["pooling"]].flatten()
    for stage, one in enumerate(stages):
        low, high = (one.importance.min(), one.importance.max()) if extremes is None else extremes[stage]
        share = (one.importance - low) / (high - low)
        scale = weights[names["scale"].format(stage)]
        outs.append(linear(one.got + scale * share[:, None], weights, names["out"].format(stage)))
        total = total + pooling[stage] * share
    fused, share = gelu(torch.cat(outs, dim=1)), total / total.sum()
    pooled = sum(w * token for w, token in zip(share, layer_norm(fused, weights, "norm", EPS), strict=True))
    return linear(pooled, weights, "head"), share, fused


def mpsa(weights: Weights, image: Tensor, names: dict[str, str] = OURS, **options) -> Tensor:
    """(3, S, S) → logits (classes,) of an image by itself."""
    return finish(weights, look(weights, image, names, **options), names)[0]


def mpsa_in_a_batch(
    weights: Weights, images: Tensor, names: dict[str, str] = OURS, kept: list[list[int]] | None = None
) -> Tensor:
    """(B, 3, S, S) → (B, classes), as the authors scale the importance: by the extremes of the whole batch."""
    looks = [look(weights, image, names, kept) for image in images]
    extremes = []
    for one in zip(*looks, strict=True):
        everything = torch.stack([attended.importance for attended in one])
        extremes.append((everything.min(), everything.max()))
    return torch.stack([finish(weights, stages, names, extremes)[0] for stages in looks])
