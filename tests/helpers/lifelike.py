"""Queries and keys similar to a trained ViT's: peaked rows, heads of different sharpness, a few salient patches.

A row's largest probability is 0.14 in the median and 48 of 197 tokens carry most of it (e to its entropy), which is
where trained ViT-B/16 are; random weights attend to everything alike and would let any rounding pass.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors import QK, Features

PARTS = 4


def lifelike_features(images: int, seed: int, side: int = 14, heads: int = 12, depth: int = 12, width: int = 64):
    """Features of some images (B, H, N, d) per block, in float32."""
    generator = torch.Generator().manual_seed(seed)
    patches = side * side

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float()
    parts = places[torch.randint(patches, (images, PARTS), generator=generator)]
    near = torch.exp(-torch.cdist(parts, places.expand(images, -1, -1)).square() / 4)
    salient = (near * uniform(images, PARTS, 1)).amax(dim=1)  # (B, G²)
    blocks = []
    for _ in range(depth):
        told = torch.cat([uniform(images, 1), salient], dim=1)[:, None, :, None]
        shared = functional.normalize(normal(images, heads, 1, width), dim=-1)
        sharpness = 1 + 3 * uniform(1, heads, 1, 1)
        q = 1.3 * normal(images, heads, patches + 1, width) + shared * sharpness
        k = 1.3 * normal(images, heads, patches + 1, width) + shared * told * width**0.5
        blocks.append(QK(q, k))
    return Features(attention=blocks)
