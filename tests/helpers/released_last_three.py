"""Copies of the released ACC-ViT and FAL-ViT: modules whose state dicts have the names of the authors' files."""

from __future__ import annotations

import math

import torch
from helpers.plain_models import rollout
from helpers.released_blocks import Block, Embeddings, Transformer
from helpers.released_structure import norms_and_layers
from torch import Tensor, nn

WEIGHTS = (0.2, 0.2, 0.8, 0.8)  # of CUB


class ObjectEncoder(nn.Module):
    """ACC-ViT: tokens for four heads; the extra block sees the class token and the fifth of highest rollout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(12))
        self.norm10, self.norm11, self.norm12, self.norm13 = (nn.LayerNorm(width, eps=1e-6) for _ in range(4))
        self.aof = Block(width, heads)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs, maps = [], []
        for block in self.layer:
            x, logits = block(x)
            outputs.append(x)
            maps.append(logits)
        selected = []
        for b in range(len(x)):
            scores = rollout([m[b] for m in maps])[0, 1:]
            chosen = scores.topk(int(0.2 * len(scores))).indices + 1
            selected.append(torch.cat([outputs[10][b, :1], outputs[10][b, chosen]]))
        extra, _ = self.aof(torch.stack(selected))
        return [
            self.norm10(outputs[9][:, 0]),
            self.norm11(outputs[10][:, 0]),
            self.norm12(outputs[11][:, 0]),
            self.norm13(extra[:, 0]),
        ]


class ACCViT(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.transformer = Transformer(Embeddings(size, 16, 16, width), ObjectEncoder(width, heads))
        self.part_head10, self.part_head11, self.part_head12, self.part_head13 = (
            nn.Linear(width, classes) for _ in range(4)
        )

    def heads(self, images: Tensor) -> list[Tensor]:
        layers = (self.part_head10, self.part_head11, self.part_head12, self.part_head13)
        return [layer(token) for layer, token in zip(layers, self.transformer(images), strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        return sum(weight * logits for weight, logits in zip(WEIGHTS, self.heads(images), strict=True))


class TwoScaleEmbeddings(nn.Module):
    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.patch_embeddings1, self.patch_embeddings2 = nn.Conv2d(3, width, 16, 16), nn.Conv2d(3, width, 8, 8)
        self.position_embeddings1, self.position_embeddings2 = (
            nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width)) for patch in (16, 8)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scales = []
        for convolution, positions in (
            (self.patch_embeddings1, self.position_embeddings1),
            (self.patch_embeddings2, self.position_embeddings2),
        ):
            patches = convolution(images).flatten(2).transpose(1, 2)
            scales.append(torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + positions)
        return scales[0], scales[1]


class SharedEncoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(12))
        self.cls_layer = nn.ModuleList()
        self.cls_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        maps, tokens = [], []
        for block in self.layer:
            x, logits = block(x)
            maps.append(torch.softmax(logits, dim=-1))
            tokens.append(self.cls_norm(x[:, 0]))
        return x, maps, tokens[-3:]


class TwoScales(nn.Module):
    def __init__(self, size: int, width: int, heads: int) -> None:
        super().__init__()
        self.embeddings, self.encoder, self.side = (
            TwoScaleEmbeddings(size, width),
            SharedEncoder(width, heads),
            size // 16,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        coarse, fine = self.embeddings(images)
        first, maps, _ = self.encoder(coarse)
        scores = sum(maps[3:12]).mean(dim=1)[:, 0, 1:]
        chosen = scores.argsort(dim=1, descending=True)[:, : math.ceil(0.4 * self.side**2)]
        corner = chosen // self.side * 4 * self.side + chosen % self.side * 2
        places = torch.cat([corner, corner + 1, corner + 2 * self.side, corner + 2 * self.side + 1], dim=1)
        kept = torch.stack([torch.cat([own[:1], own[1:][mine]]) for own, mine in zip(fine, places, strict=True)])
        return first[:, 0], self.encoder(kept)[2]


class FALViT(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.transformer = TwoScales(size, width, heads)
        self.part_head1 = nn.Linear(width, classes)
        self.part_head2 = norms_and_layers(3 * width, classes)

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        token, tokens = self.transformer(images)
        return self.part_head1(token), self.part_head2(torch.cat(tokens, dim=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.both(images)[1]
