"""Modules whose state dicts have the names of the files of PIM and HERBS, on small backbones of each family."""

from __future__ import annotations

import helpers.backbones  # noqa: F401  # timm knows them from now on
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = range(1, 5)
MASKS = ("relative_position_index", "attn_mask")


class EarlierSwin(nn.Module):
    """A Swin whose stages end with merging, as before timm 0.9, with all of its buffers, its norm and its head."""

    def __init__(self, size: int) -> None:
        super().__init__()
        swin = timm.create_model("fgtest_swin", img_size=size, num_classes=9)
        self.patch_embed = swin.patch_embed
        self.layers = nn.ModuleList(nn.Module() for _ in swin.layers)
        for index, (stage, own) in enumerate(zip(swin.layers, self.layers, strict=True)):
            own.blocks = stage.blocks
            if index + 1 < len(swin.layers):
                own.downsample = swin.layers[index + 1].downsample
        for module in self.modules():
            module._non_persistent_buffers_set -= set(MASKS)
        self.norm, self.head = swin.norm, nn.Linear(swin.num_features, 9)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = self.patch_embed(images), []
        for stage in self.layers:
            x = stage.blocks(x)
            x = stage.downsample(x) if hasattr(stage, "downsample") else x
            found.append(x.flatten(1, 2))
        return found


class Blocks(nn.Module):
    """A ViT up to its last block, and nothing behind it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        vit = timm.create_model("fgtest_vit", img_size=size)
        self.patch_embed, self.blocks = vit.patch_embed, vit.blocks
        self.cls_token, self.pos_embed = vit.cls_token, vit.pos_embed

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = self.patch_embed(images), []
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


class Maps(nn.Module):
    """A ResNet up to its last stage."""

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, module in timm.create_model("fgtest_resnet").named_children():
            if name not in ("global_pool", "fc"):
                self.add_module(name, module)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = self.maxpool(self.bn1(self.conv1(images)).relu()), []
        for level in LEVELS:
            x = getattr(self, f"layer{level}")(x)
            found.append(x)
        return found


BACKBONES = {"fgtest_swin": EarlierSwin, "fgtest_vit": Blocks, "fgtest_resnet": Maps}


def classifier(width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(width, width, 1), nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, classes, 1))


class Combiner(nn.Module):
    def __init__(self, tokens: int, nodes: int, width: int, classes: int) -> None:
        super().__init__()
        self.param_pool0, self.param_pool1 = nn.Linear(tokens, nodes), nn.Linear(nodes, 1)
        self.adj1, self.alpha1 = nn.Parameter(torch.zeros(nodes, nodes)), nn.Parameter(torch.zeros(1))
        self.conv1, self.batch_norm1 = nn.Conv1d(width, width, 1), nn.BatchNorm1d(width)
        self.conv_q1, self.conv_k1 = nn.Conv1d(width, width // 4, 1), nn.Conv1d(width, width // 4, 1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, selected: Tensor) -> Tensor:
        nodes = self.param_pool0(selected.mT)
        query, key = (layer(nodes).mean(dim=1) for layer in (self.conv_q1, self.conv_k1))
        adjacency = self.adj1 + torch.tanh(query[:, :, None] - key[:, None]) * self.alpha1
        return self.classifier(self.param_pool1(self.batch_norm1(self.conv1(nodes) @ adjacency)).flatten(1))


class PIM(nn.Module):
    """``second``: with the bottom-up pyramid of HERBS."""

    def __init__(
        self, backbone: str, size: int, width: int, tokens: list[int], classes: int, *, second: bool = False
    ) -> None:
        super().__init__()
        self.backbone, self.tokens, self.second = BACKBONES[backbone](size), tokens, second
        with torch.no_grad():
            given = self.backbone(torch.zeros(1, 3, size, size))
        self.maps = given[0].ndim == 4
        sizes = [x[0, 0].numel() if self.maps else x.shape[1] for x in given]
        channels = [x.shape[1] if self.maps else x.shape[2] for x in given]
        first = nn.Module()
        for level, inputs in zip(LEVELS, channels, strict=True):
            layers = (nn.Conv2d, 1) if self.maps else (nn.Linear,)
            kind, extra = layers[0], layers[1:]
            pair = kind(inputs, inputs, *extra), nn.ReLU(), kind(inputs, width, *extra)
            first.add_module(f"Proj_layer{level}", nn.Sequential(*pair))
            if level > 1 and not self.maps and (second or sizes[level - 1] != sizes[level - 2]):
                first.add_module(f"Up_layer{level}", nn.Conv1d(sizes[level - 1], sizes[level - 2], 1))
        for level in LEVELS:
            self.add_module(f"fpn_classifier{'_down' * second}_layer{level}", classifier(width, classes))
        self.add_module("fpn_down" if second else "fpn", first)
        if second:
            self.fpn_up = nn.Module()
            for level in LEVELS:
                layers = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
                self.fpn_up.add_module(f"Proj_layer{level}", nn.Sequential(*layers))
                if level < 4:
                    self.fpn_up.add_module(f"Down_layer{level}", nn.Conv1d(sizes[level - 1], sizes[level], 1))
                self.add_module(f"fpn_classifier_up_layer{level}", classifier(width, classes))
        nodes = max(1, sum(tokens) // (64 if second else 32))
        self.combiner = Combiner(sum(tokens), nodes, width, classes)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        first = self.fpn_down if self.second else self.fpn
        found = [getattr(first, f"Proj_layer{n}")(x) for n, x in zip(LEVELS, self.backbone(images), strict=True)]
        for n in (3, 2, 1):
            above = found[n]
            if self.maps:
                above = functional.interpolate(above, scale_factor=2, mode="bilinear")
            elif hasattr(first, f"Up_layer{n + 1}"):
                above = getattr(first, f"Up_layer{n + 1}")(above)
            found[n - 1] = found[n - 1] + above
        return [x.flatten(2).mT for x in found] if self.maps else found

    def classify(self, name: str, features: list[Tensor]) -> list[Tensor]:
        return [getattr(self, f"{name}_layer{n}")(x.mT).mT for n, x in zip(LEVELS, features, strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        """The logarithm of the mean probability of all heads."""
        features = self.pyramid(images)
        logits = self.classify("fpn_classifier_down" if self.second else "fpn_classifier", features)
        heads = [level.mean(dim=1) for level in logits]
        if self.second:
            features = [getattr(self.fpn_up, f"Proj_layer{n}")(x) for n, x in zip(LEVELS, features, strict=True)]
            for n in (1, 2, 3):
                features[n] = features[n] + getattr(self.fpn_up, f"Down_layer{n}")(features[n - 1])
            logits = self.classify("fpn_classifier_up", features)
            heads += [level.mean(dim=1) for level in logits]
        selected = []
        for x, level, k in zip(features, logits, self.tokens, strict=True):
            for own, probabilities in zip(x, level.softmax(dim=2), strict=True):
                likeliest = level[len(selected) % len(x)].mean(dim=0).argmax()
                scores = probabilities[:, likeliest] if self.second else probabilities.amax(dim=1)
                selected.append(own[scores.argsort(descending=True)[:k]])
        count = len(images)
        joined = [torch.stack(selected[n * count : (n + 1) * count]) for n in range(4)]
        heads.append(self.combiner(torch.cat(joined, dim=1)))
        return torch.stack([head.softmax(dim=1) for head in heads]).mean(dim=0).log()


def herbs(backbone: str, size: int, width: int, tokens: list[int], classes: int) -> PIM:
    return PIM(backbone, size, width, tokens, classes, second=True)
