"""Independent reference of FAL-ViT, in plain PyTorch for one image; no code of the package.

As in restatement.py: weights by name and one image (3, S, S) → logits (classes,) and boxes of what was selected.
"""

from __future__ import annotations

import math

import torch
from helpers.plain_models import Answer, Encoder, Weights, decide, layer_norm, top
from helpers.restated_structure import joint_head
from torch import Tensor


def finer_tokens(encoder: Encoder, image: Tensor, chosen: list[int]) -> Tensor:
    """The prefix tokens and the four finer patches of each chosen one, each cut out of the image by itself."""
    weights, half = encoder.weights, encoder.patch // 2
    columns = encoder.side(image.shape[-1])
    kernel, bias = weights["finer.proj.weight"].flatten(1), weights["finer.proj.bias"]
    positions = weights["finer.pos_embed"][0]
    with_prefix = len(positions) - 4 * columns**2
    patches = []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for j in chosen:
            r, c = 2 * (j // columns) + down, 2 * (j % columns) + right
            pixels = image[:, r * half : (r + 1) * half, c * half : (c + 1) * half]
            patches.append(kernel @ pixels.flatten() + bias + positions[with_prefix + r * 2 * columns + c])
    prefix = encoder.own["cls_token"][0]
    if "reg_token" in encoder.own:
        prefix = torch.cat([prefix, encoder.own["reg_token"][0]])
    if with_prefix:
        prefix = prefix + positions[:with_prefix]
    x = torch.cat([prefix, torch.stack(patches)])
    return layer_norm(x, encoder.own, "norm_pre", encoder.eps) if "norm_pre.weight" in encoder.own else x


def falvit(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    ratio: float = 0.4,
    eps: float = 1e-6,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    _, maps = encoder.blocks(encoder.embed(image))
    scores = torch.zeros_like(maps[0][0, 0, num_prefix:])
    for m in maps[-9:]:
        scores = scores + torch.softmax(m, dim=2).mean(dim=0)[0, num_prefix:]
    chosen = decide(lambda scores: top(scores, math.ceil(ratio * len(scores))), scores)
    outputs, _ = encoder.blocks(finer_tokens(encoder, image, chosen))
    logits = joint_head([encoder.norm(x[0]) for x in outputs[-3:]], weights)
    return logits, encoder.boxes(chosen, img_size)
