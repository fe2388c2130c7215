"""A copy of GLSim's port to timm: a plain module whose state dict has the names of the port's checkpoints."""

from __future__ import annotations

import torch
from helpers import restatement
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        maps = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5, dim=-1)
        return self.proj((maps @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, width: int, heads: int, *, scaled: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), FeedForward(width)
        self.ls1, self.ls2 = (LayerScale(width) if scaled else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class GLSimPort(nn.Module):
    """Blocks without a last norm (or with it, as in the first versions), a token of the crop, an aggregator."""

    def __init__(
        self,
        classes: int,
        size: int = 224,
        *,
        patch: int = 16,
        width: int = 192,
        heads: int = 3,
        depth: int = 12,
        last_norm: bool = False,
        scaled: bool = False,
        top_k: int = 8,
    ) -> None:
        super().__init__()
        self.size, self.patch, self.top_k = size, patch, top_k
        self.patch_embed = PatchEmbed(width, patch)
        self.cls_token, self.cls_token_crops = (nn.Parameter(torch.zeros(1, 1, width)) for _ in range(2))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, scaled=scaled) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6) if last_norm else nn.Identity()
        self.aggregator = nn.Sequential(Block(width, heads, scaled=scaled), nn.LayerNorm(width))
        self.head = nn.Linear(width, classes)

    def encode(self, images: Tensor, token: Tensor) -> Tensor:
        x = torch.cat([token.expand(len(images), -1, -1), self.patch_embed(images)], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encode(images, self.cls_token)
        scores = nn.functional.cosine_similarity(tokens[:, :1], tokens[:, 1:], dim=-1)
        side = self.size // self.patch
        boxes = [restatement.gls_box(own, side, self.top_k, "released", self.patch, self.size) for own in scores]
        crops = [restatement.crop(image, box, self.size) for image, box in zip(images, boxes, strict=True)]
        crop = self.encode(torch.stack(crops), self.cls_token_crops)[:, :1]
        return self.head(self.aggregator(torch.cat([tokens[:, :1], crop], dim=1))[:, 0])
