"""Copies of the released models: plain modules whose state dicts have the names of the authors' checkpoints."""

from __future__ import annotations

import torch
from helpers import plain_models, restatement
from helpers.released_blocks import Block, Embeddings, FeedForward, Transformer, take_over
from helpers.released_voting import IELT as IELT
from helpers.released_voting import R2Trans as R2Trans
from torch import Tensor, nn

# GLSim ----------------------------------------------------------------------------------------------------------------


class GLSimAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.proj_q, self.proj_k, self.proj_v = (nn.Linear(width, width) for _ in range(3))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        return take_over(self.proj_k(x), self.proj_q(x), self.proj_v(x), self.heads)[0]


class GLSimBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = GLSimAttention(width, heads)
        self.proj = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.pwff = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.proj(self.attn(self.norm1(x)))
        return x + self.pwff(self.norm2(x))


class GLSimBlocks(nn.Module):
    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(GLSimBlock(width, heads) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class GLSimPositions(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pos_embedding


class GLSimViT(nn.Module):
    """The plain transformer of GLSim's repository: images → logits."""

    def __init__(
        self, classes: int, size: int = 224, patch: int = 16, width: int = 192, heads: int = 3, depth: int = 12
    ) -> None:
        super().__init__()
        self.size, self.patch = size, patch
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch)
        self.positional_embedding = GLSimPositions((size // patch) ** 2 + 1, width)
        self.encoder = GLSimBlocks(width, heads, depth)
        self.encoder_norm = nn.LayerNorm(width, eps=1e-12)
        self.head = nn.Linear(width, classes)

    def encode(self, images: Tensor) -> Tensor:
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        return self.encoder_norm(self.encoder(self.positional_embedding(x)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encode(images)[:, 0])


class GLSim(GLSimViT):
    """GLSim itself; its token for crops is created and never used."""

    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__(classes, size, width=width, heads=heads)
        self.anchor_class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.aggregator = GLSimBlocks(width, heads, 1)
        self.aggregator_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encode(images)
        scores = nn.functional.cosine_similarity(tokens[:, :1], tokens[:, 1:], dim=-1)
        side, top_k = self.size // self.patch, round(8 * self.size / 224)
        boxes = [restatement.gls_box(own, side, top_k, "released", self.patch, self.size) for own in scores]
        crops = [restatement.crop(image, box, self.size) for image, box in zip(images, boxes, strict=True)]
        pair = torch.stack([tokens[:, 0], self.encode(torch.stack(crops))[:, 0]], dim=1)
        return self.head(self.aggregator_norm(self.aggregator(pair))[:, 0])


# TransFG and FFVT -----------------------------------------------------------------------------------------------------


class PartEncoder(nn.Module):
    """TransFG: the last block sees the class token and, per head, the patch that the others led it to."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(11))
        self.part_layer = Block(width, heads)
        self.part_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        joint = None
        for block in self.layer:
            x, logits = block(x)
            maps = torch.softmax(logits, dim=-1)
            joint = maps if joint is None else maps @ joint
        chosen = joint[:, :, 0, 1:].argmax(dim=-1) + 1
        parts = torch.stack([own[places] for own, places in zip(x, chosen, strict=True)])
        return self.part_norm(self.part_layer(torch.cat([x[:, :1], parts], dim=1))[0])[:, 0]


class FusionEncoder(nn.Module):
    """FFVT: the last block sees the class token and, of every block, the 12 tokens of highest mutual attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(11))
        self.ff_last_layer = Block(width, heads)
        self.ff_encoder_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        gathered = []
        for block in self.layer:
            x, logits = block(x)
            given = torch.softmax(logits, dim=-1).mean(dim=1)[:, 0, :]
            received = torch.softmax(logits, dim=-2).mean(dim=1)[:, :, 0]
            chosen = (given * received).topk(12, dim=-1).indices
            gathered.append(torch.stack([own[places] for own, places in zip(x, chosen, strict=True)]))
        return self.ff_encoder_norm(self.ff_last_layer(torch.cat([x[:, :1], *gathered], dim=1))[0])[:, 0]


class TransFG(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.transformer = Transformer(Embeddings(size, 16, 12, width), PartEncoder(width, heads))
        self.part_head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.part_head(self.transformer(images))


class FFVT(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.transformer = Transformer(Embeddings(size, 16, 16, width), FusionEncoder(width, heads))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.transformer(images))


# RAMS-Trans -----------------------------------------------------------------------------------------------------------


class TwoTokenEmbeddings(nn.Module):
    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch_embeddings = nn.Conv2d(3, width, patch, patch)
        self.position_embeddings = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 2, width))
        self.cls_token1, self.cls_token2 = (nn.Parameter(torch.zeros(1, 1, width)) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embeddings(images).flatten(2).transpose(1, 2)
        both = torch.cat([self.cls_token1, self.cls_token2], dim=1).expand(len(images), -1, -1)
        return torch.cat([both, patches], dim=1) + self.position_embeddings


class TwoTokenEncoder(nn.Module):
    """All blocks on all tokens; both class tokens and every map (before the softmax) are handed on."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(12))
        self.part_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for block in self.layer:
            x, logits = block(x)
            maps.append(logits)
        return self.part_norm(x)[:, :2], maps


class RAMSTrans(nn.Module):
    """The first class token reads the image, the second one the region that rollout proposes: both predictions."""

    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3, patch: int = 16) -> None:
        super().__init__()
        self.size, self.patch = size, patch
        self.transformer = Transformer(TwoTokenEmbeddings(size, patch, width), TwoTokenEncoder(width, heads))
        self.part_head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens, maps = self.transformer(images)
        crops = []
        for i, image in enumerate(images):
            scores = plain_models.rollout([m[i] for m in maps]).mean(dim=0)[2:]
            side, patch = self.size // self.patch, self.patch
            box = plain_models.largest_component_box(scores, side, 1.2, "released", patch, patch, self.size)
            crops.append(restatement.crop(image, box, self.size))
        again, _ = self.transformer(torch.stack(crops))
        return self.part_head(tokens[:, 0]), self.part_head(again[:, 1])


# CAL ------------------------------------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class CALAttentions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2048, 32, 1, bias=False)
        self.bn = nn.BatchNorm2d(32, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class CAL(nn.Module):
    """A ResNet without its names, as nn.Sequential numbers it; `blocks` per layer."""

    def __init__(self, classes: int, size: int = 224, blocks: tuple[int, ...] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.size = size
        layers, inputs = [], 64
        for width, stride, count in zip((64, 128, 256, 512), (1, 2, 2, 1), blocks, strict=True):
            layer = [Bottleneck(inputs, width, stride)]
            inputs = 4 * width
            layers.append(nn.Sequential(*layer, *(Bottleneck(inputs, width, 1) for _ in range(count - 1))))
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.features = nn.Sequential(*stem, *layers)
        self.attentions = CALAttentions()
        self.fc = nn.Linear(32 * 2048, classes, bias=False)

    def once(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        maps = self.attentions(features)
        pooled = torch.einsum("bmhw,bchw->bmc", maps, features) / features[0, 0].numel()
        pooled = (torch.sign(pooled) * torch.sqrt(pooled.abs() + 1e-6)).flatten(1)
        return self.fc(100 * nn.functional.normalize(pooled, dim=1)), maps.mean(dim=1)

    def forward(self, images: Tensor) -> Tensor:
        logits, maps = self.once(images)
        boxes = [restatement.cal_box(attention, 0.1, 0.05, self.size) for attention in maps]
        crops = [restatement.crop(image, box, self.size) for image, box in zip(images, boxes, strict=True)]
        return (logits + self.once(torch.stack(crops))[0]) / 2
