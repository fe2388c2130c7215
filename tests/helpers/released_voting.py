"""Copies of the released IELT and R2-Trans, whose state dicts have the names of the authors' checkpoints."""

from __future__ import annotations

import math

import torch
from helpers.released_blocks import Block, Embeddings, Transformer
from torch import Tensor, nn

# IELT -----------------------------------------------------------------------------------------------------------------


class CrossLayerEncoder(nn.Module):
    def __init__(self, block: nn.Module, width: int) -> None:
        super().__init__()
        self.clr_layer, self.clr_norm = block, nn.LayerNorm(width, eps=1e-6)


class VotingEncoder(nn.Module):
    """IELT: heads vote for patches after every block, and for tokens in a block on all that were selected.

    The cross-layer block has two owners, so that its weights have two names.
    """

    TOKENS = (16, 14, 12, 10, 8, 6, 8, 10, 12, 14, 16)

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(11))
        self.clr_layer = Block(width, heads)
        self.clr_encoder = CrossLayerEncoder(self.clr_layer, width)
        self.key_layer = Block(width, heads)
        self.key_norm = nn.LayerNorm(width, eps=1e-6)

    @staticmethod
    def votes(logits: Tensor) -> Tensor:
        """(B, H, N, N) logits → (B, N − 1): how many heads have a token among the first 24 of the class token."""
        row = torch.softmax(logits, dim=-1)[:, :, 0, 1:]
        chosen = row.topk(24, dim=-1).indices
        return nn.functional.one_hot(chosen, row.shape[-1]).sum(dim=(1, 2)).float()

    @staticmethod
    def first(votes: Tensor, k: int) -> Tensor:
        return votes.sort(dim=-1, descending=True, stable=True).indices[:, :k]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The class tokens of the last block and of the cross-layer block."""
        kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])[None, None]
        side, collected = math.isqrt(x.shape[1]), []
        for block, k in zip(self.layer, self.TOKENS, strict=True):
            x, logits = block(x)
            image = self.votes(logits).view(-1, 1, side, side)
            chosen = self.first(nn.functional.conv2d(image, kernel, padding=1).flatten(1), k) + 1
            collected.append(torch.stack([own[places] for own, places in zip(x, chosen, strict=True)]))
        refined, logits = self.clr_layer(torch.cat([x[:, :1], *collected], dim=1))
        refined = self.clr_encoder.clr_norm(refined)
        chosen = self.first(self.votes(logits), 24) + 1
        keys = torch.stack([own[places] for own, places in zip(refined, chosen, strict=True)])
        out = self.key_norm(self.key_layer(torch.cat([x[:, :1], keys], dim=1))[0])
        return out[:, 0], refined[:, 0]


class IELT(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(size, 16, 16, width), VotingEncoder(width, heads)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        token, beside = self.encoder(self.embeddings(images))
        assist = torch.softmax(self.head(beside), dim=-1) * self.head.weight.sum(dim=-1)
        return self.head(token) + assist


# R2-Trans -------------------------------------------------------------------------------------------------------------


class PlainEncoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(12))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The class token, and all maps (B, L, H, N, N)."""
        maps = []
        for block in self.layer:
            x, logits = block(x)
            maps.append(torch.softmax(logits, dim=-1))
        return self.encoder_norm(x)[:, 0], torch.stack(maps, dim=1)


class HeadedTransformer(nn.Module):
    def __init__(self, classes: int, size: int, width: int, heads: int) -> None:
        super().__init__()
        self.transformer = Transformer(Embeddings(size, 16, 16, width), PlainEncoder(width, heads))
        self.head = nn.Linear(width, classes)


class R2Trans(nn.Module):
    """Its first prediction is the published one; ``predictions`` gives all three."""

    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.base_model_one = HeadedTransformer(classes, size, width, heads)
        self.norm = nn.LayerNorm((size // 16) ** 2)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.predictions(images)[0]

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        base = self.base_model_one
        embedded = base.transformer.embeddings(images)
        first, maps = base.transformer.encoder(embedded)
        values = torch.sigmoid(self.norm(maps.mean(dim=(1, 2))[:, 1:, 1:].sum(dim=1)))
        patches = values.shape[1]
        below = (values < values.mean(dim=1, keepdim=True)).sum(dim=1).float()
        kept = values.argsort(dim=1)[:, int(below.mean() / patches * patches) :] + 1
        fewer = torch.stack([own[places] for own, places in zip(embedded, kept, strict=True)])
        second, _ = base.transformer.encoder(torch.cat([embedded[:, :1], fewer], dim=1))
        return base.head(first), base.head(second), self.classifier(torch.cat([first, second], dim=1))
