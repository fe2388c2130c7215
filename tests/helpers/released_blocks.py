"""Parts that the copies of the released models on jeonsworld's vision transformer have in common, by their names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def take_over(keys: Tensor, queries: Tensor, values: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(B, N, D) each → what attention mixes (B, N, D) and its maps (B, H, N, N) before the softmax."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    logits = split(queries) @ split(keys).transpose(2, 3) / math.sqrt(keys.shape[-1] // heads)
    mixed = torch.softmax(logits, dim=-1) @ split(values)
    return mixed.transpose(1, 2).flatten(2), logits


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Embeddings(nn.Module):
    def __init__(self, size: int, patch: int, stride: int, width: int) -> None:
        super().__init__()
        side = (size - patch) // stride + 1
        self.patch_embeddings = nn.Conv2d(3, width, patch, stride)
        self.position_embeddings = nn.Parameter(torch.zeros(1, side * side + 1, width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embeddings(images).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.position_embeddings


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixed, logits = take_over(self.key(x), self.query(x), self.value(x), self.heads)
        return self.out(mixed), logits


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.ffn = FeedForward(width)
        self.attn = Attention(width, heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixed, logits = self.attn(self.attention_norm(x))
        x = x + mixed
        return x + self.ffn(self.ffn_norm(x)), logits


class Transformer(nn.Module):
    def __init__(self, embeddings: Embeddings, encoder: nn.Module) -> None:
        super().__init__()
        self.embeddings, self.encoder = embeddings, encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(self.embeddings(images))
