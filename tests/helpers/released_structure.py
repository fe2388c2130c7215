"""Copies of the released SIM-Trans and AA-Trans: modules whose state dicts have the names of the authors' files."""

from __future__ import annotations

import torch
from helpers import restated_structure as plain
from helpers.released_blocks import Block, Embeddings, Transformer
from torch import Tensor, nn

FIXED = 37 * 37 * 2 + 2  # inputs of modules that the released code creates for 448 pixels, and never calls


class GraphLayer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))


class Graph(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gc1, self.gc2 = GraphLayer(2, 512), GraphLayer(512, width)


def norms_and_layers(inputs: int, outputs: int) -> nn.Sequential:
    hidden = [nn.BatchNorm1d(inputs), nn.Linear(inputs, 1024), nn.BatchNorm1d(1024), nn.ELU()]
    return nn.Sequential(*hidden, nn.Linear(1024, outputs))


class PartStructure(nn.Module):
    """The graph, and three modules without a use."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FIXED, width)
        self.struct_head = nn.Sequential(nn.BatchNorm1d(FIXED), nn.Linear(FIXED, width))
        self.struct_head_new = norms_and_layers(2 * width, width)
        self.gcn = Graph(width)

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """Tokens (B, N, D) and logits M (B, H, N, N) → tokens whose first one has the structure."""
        changed = []
        for own, m in zip(x, logits, strict=True):
            p = plain.weights_of_object(torch.softmax(m[:, 0], dim=1)[:, 1:])
            side = round(len(p) ** 0.5)
            added = plain.structure(p, int(p.argmax()), side, self.gcn.gc1.weight, self.gcn.gc2.weight)
            changed.append(torch.cat([own[:1] + added, own[1:]]))
        return torch.stack(changed)


class StructureEncoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(11))
        self.part_layer = Block(width, heads)
        self.part_norm = nn.LayerNorm(width, eps=1e-6)
        self.part_structure = PartStructure(width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = []
        for number, block in enumerate([*self.layer, self.part_layer], start=1):
            x, logits = block(x)
            if number >= 10:
                x = self.part_structure(x, logits)
                tokens.append(self.part_norm(x[:, 0]))
        return torch.cat(tokens, dim=1)


class SIMTrans(nn.Module):
    """`complete` with the modules of a fixed size that one version has and never calls; another version has fewer."""

    def __init__(
        self, classes: int, size: int = 224, width: int = 192, heads: int = 3, *, complete: bool = True
    ) -> None:
        super().__init__()
        embeddings, encoder = Embeddings(size, 16, 12, width), StructureEncoder(width, heads)
        embeddings.struc_token = nn.Parameter(torch.zeros(1, 1, width))
        if complete:
            embeddings.struct_head = norms_and_layers(FIXED, width)
        else:
            del encoder.part_structure.fc1, encoder.part_structure.struct_head
        self.transformer = Transformer(embeddings, encoder)
        self.part_head = norms_and_layers(3 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.part_head(self.transformer(images))


class ColumnSelection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.ones(1))

    def forward(self, logits: list[Tensor]) -> Tensor:
        """Logits M (B, H, N, N) by block → the patch of every head (B, H)."""
        chosen = []
        for image in range(len(logits[0])):
            for head in range(logits[0].shape[1]):
                joint = plain.joint_map([m[image, head] for m in logits], self.sigma)
                chosen.append(plain.unevenness(joint[1:, 1:]).argmin())
        return torch.stack(chosen).view(len(logits[0]), -1)


class ColumnEncoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(11))
        self.part_select = ColumnSelection()
        self.part_layer = Block(width, heads)
        self.part_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for block in self.layer:
            x, logits = block(x)
            maps.append(logits)
        chosen = self.part_select(maps) + 1
        parts = torch.stack([own[places] for own, places in zip(x, chosen, strict=True)])
        return self.part_norm(self.part_layer(torch.cat([x[:, :1], parts], dim=1))[0])[:, 0]


class AATrans(nn.Module):
    def __init__(self, classes: int, size: int = 224, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.transformer = Transformer(Embeddings(size, 16, 12, width), ColumnEncoder(width, heads))
        self.part_head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.part_head(self.transformer(images))
