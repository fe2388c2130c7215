"""The modules of the restated models: layers, an encoder, a ResNet, and the selection of regions.

In plain PyTorch for one image, every N×N map built; nothing here is shared with the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
Box = list[int]
Answer = tuple[Tensor, list[Box]]  # logits (classes,), and the boxes of what was selected
EIGHT_NEIGHBOURS = np.ones((3, 3))


# Transformers ---------------------------------------------------------------------------------------------------------


def layer_norm(x: Tensor, weights: Weights, name: str, eps: float) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def mlp(x: Tensor, weights: Weights, name: str) -> Tensor:
    return linear(gelu(linear(x, weights, f"{name}.fc1")), weights, f"{name}.fc2")


def block(
    x: Tensor, weights: Weights, name: str, heads: int, eps: float, asking: list[int] | None = None
) -> tuple[Tensor, Tensor]:
    """(N, D) tokens → tokens of the same shape and logits M (H, N, N); with `asking`, those tokens alone ask."""
    rows = list(range(len(x))) if asking is None else asking
    width = x.shape[1]
    d = width // heads
    normed = layer_norm(x, weights, f"{name}.norm1", eps)
    qkv = linear(normed, weights, f"{name}.attn.qkv")
    queries, keys, values = qkv[rows, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    maps, mixed = [], []
    for h in range(heads):
        own = slice(h * d, (h + 1) * d)
        m = queries[:, own] @ keys[:, own].T / math.sqrt(d)
        maps.append(m)
        mixed.append(torch.softmax(m, dim=1) @ values[:, own])
    y = linear(torch.cat(mixed, dim=1), weights, f"{name}.attn.proj")
    x = x[rows] + y * weights.get(f"{name}.ls1.gamma", 1)
    y = mlp(layer_norm(x, weights, f"{name}.norm2", eps), weights, f"{name}.mlp")
    x = x + y * weights.get(f"{name}.ls2.gamma", 1)
    return x, torch.stack(maps)


@dataclass
class Encoder:
    """A timm vision transformer, read from its weights; `stride` below `patch` where patches overlap."""

    weights: Weights
    patch: int
    heads: int
    num_prefix: int = 1
    stride: int | None = None
    eps: float = 1e-6
    root: str = "encoder.vit."
    own: Weights = field(init=False)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        self.own = {name.removeprefix(self.root): w for name, w in self.weights.items() if name.startswith(self.root)}
        self.stride = self.stride or self.patch
        self.depth = len([name for name in self.own if name.startswith("blocks.") and name.endswith("norm1.weight")])

    def side(self, img_size: int) -> int:
        return (img_size - self.patch) // self.stride + 1

    def embed(self, image: Tensor, class_token: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """(3, S, S) → (N, D): class token, second class token, registers, patches."""
        pieces = image.unfold(1, self.patch, self.stride).unfold(2, self.patch, self.stride)
        pieces = pieces.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
        kernel = self.own["patch_embed.proj.weight"].flatten(1)
        patches = pieces @ kernel.T + self.own["patch_embed.proj.bias"]
        prefix = [self.own["cls_token"][0] if class_token is None else class_token[0]]
        if "reg_token" in self.own:
            prefix.append(self.own["reg_token"][0])
        prefix = torch.cat(prefix)
        assert len(prefix) == self.num_prefix
        positions = self.own["pos_embed"][0]
        if len(positions) == len(patches):
            x = torch.cat([prefix, patches + positions])
        else:
            x = torch.cat([prefix, patches]) + positions
        if second is not None:
            x = torch.cat([x[:1], second[0], x[1:]])
        if "norm_pre.weight" in self.own:
            x = layer_norm(x, self.own, "norm_pre", self.eps)
        return x

    def boxes(self, chosen: list[int], img_size: int) -> list[Box]:
        """The boxes of patches."""
        return [patch_box(j, self.side(img_size), self.patch, self.stride) for j in chosen]

    def block(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        return block(x, self.own, f"blocks.{i}", self.heads, self.eps)

    def blocks(self, x: Tensor, count: int | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs (N, D) and logits M (H, N, N) of the first `count` blocks."""
        outputs, maps = [], []
        for i in range(self.depth if count is None else count):
            x, m = self.block(x, i)
            outputs.append(x)
            maps.append(m)
        return outputs, maps

    def norm(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.own, "norm", self.eps)

    def __call__(
        self, image: Tensor, class_token: Tensor | None = None, second: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Tokens after the last norm, and the logits M of every block."""
        outputs, maps = self.blocks(self.embed(image, class_token, second))
        return self.norm(outputs[-1]), maps


# Convolutions ---------------------------------------------------------------------------------------------------------


def batch_norm(x: Tensor, weights: Weights, name: str, eps: float = 1e-5) -> Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + eps) * scale + shift


def convolve(x: Tensor, weights: Weights, name: str, stride: int = 1) -> Tensor:
    kernel = weights[f"{name}.weight"]
    return functional.conv2d(x[None], kernel, stride=stride, padding=kernel.shape[-1] // 2)[0]


def bottleneck(x: Tensor, weights: Weights, name: str, stride: int) -> Tensor:
    y = torch.relu(batch_norm(convolve(x, weights, f"{name}.conv1"), weights, f"{name}.bn1"))
    y = torch.relu(batch_norm(convolve(y, weights, f"{name}.conv2", stride), weights, f"{name}.bn2"))
    y = batch_norm(convolve(y, weights, f"{name}.conv3"), weights, f"{name}.bn3")
    if f"{name}.downsample.0.weight" in weights:
        x = batch_norm(convolve(x, weights, f"{name}.downsample.0", stride), weights, f"{name}.downsample.1")
    return torch.relu(x + y)


def resnet_features(image: Tensor, weights: Weights, root: str, last_stride: int) -> Tensor:
    """(3, S, S) → (2048, h, w)."""
    return resnet_stages(image, weights, root, last_stride)[-1]


def resnet_stages(image: Tensor, weights: Weights, root: str, last_stride: int = 2) -> list[Tensor]:
    """(3, S, S) → the maps (C, h, w) of every stage."""
    found = []
    x = torch.relu(batch_norm(convolve(image, weights, f"{root}conv1", 2), weights, f"{root}bn1"))
    x = functional.max_pool2d(x[None], 3, 2, 1)[0]
    for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", last_stride)):
        i = 0
        while f"{root}{layer}.{i}.conv1.weight" in weights:
            x = bottleneck(x, weights, f"{root}{layer}.{i}", stride if i == 0 else 1)
            i += 1
        found.append(x)
    return found


# Selection ------------------------------------------------------------------------------------------------------------

Chosen = TypeVar("Chosen", list[int], list[Box])


@dataclass
class Decision:
    """What a rule selects by the scores of one image."""

    scores: Tensor
    rule: Callable[[Tensor], list]
    chosen: list

    def others(self, relative: float, draws: int = 8) -> Iterator[list]:
        """What the rule selects where every score is a little higher or lower, by more than rounding can be."""
        made = torch.Generator().manual_seed(0)
        for _ in range(draws):
            signs = torch.randint(2, self.scores.shape, generator=made) * 2 - 1
            yield self.rule(self.scores * (1 + relative * signs))


_decisions: list[Decision] = []


@contextmanager
def decisions() -> Iterator[list[Decision]]:
    """The decisions that are made inside, in their order."""
    made: list[Decision] = []
    before = len(_decisions)
    yield made
    made += _decisions[before:]
    del _decisions[before:]


def decide(rule: Callable[[Tensor], Chosen], scores: Tensor) -> Chosen:
    chosen = rule(scores)
    _decisions.append(Decision(scores, rule, chosen))
    return chosen


def rollout(maps: list[Tensor]) -> Tensor:
    """R = Ā_L ⋯ Ā_1 (N, N)."""
    identity = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype)
    joint = identity
    for m in maps:
        step = torch.softmax(m, dim=-1).mean(dim=0) + identity
        step = step / step.sum(dim=1, keepdim=True)
        joint = torch.matmul(step, joint)
    return joint


def top(scores: Tensor, k: int) -> list[int]:
    values = scores.tolist()
    return sorted(range(len(values)), key=lambda j: (-values[j], j))[:k]


def crop(image: Tensor, box: Box, size: int) -> Tensor:
    y0, x0, y1, x1 = box
    piece = image[None, :, y0:y1, x0:x1]
    return functional.interpolate(piece, size=(size, size), mode="bilinear", align_corners=True)[0]


def patch_box(j: int, columns: int, patch: int, stride: int) -> Box:
    r, c = divmod(j, columns)
    return [r * stride, c * stride, r * stride + patch, c * stride + patch]


def components(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(mask, structure=EIGHT_NEIGHBOURS)
    return [labels == i for i in range(1, count + 1)]


def extent(component: np.ndarray) -> Box:
    """First and last row and column: [r0, c0, r1, c1], both ends inside."""
    rows, columns = np.nonzero(component)
    return [int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max())]


def largest_component_box(
    scores: Tensor, side: int, threshold: float, rule: str, patch: int, stride: int, img_size: int
) -> Box:
    grid = scores.reshape(side, side)
    grid = grid / grid.max()
    found = components((grid > threshold * grid.mean()).numpy())
    if not found:
        return [0, 0, img_size, img_size]
    r0, c0, r1, c1 = extent(max(found, key=np.sum))
    if rule == "enclosing":
        return [r0 * stride, c0 * stride, r1 * stride + patch, c1 * stride + patch]
    # The released code takes a half-open box of patches, subtracts a pixel from all four sides and slices to +1.
    low = [max(r0 * stride - 1, 0), max(c0 * stride - 1, 0)]
    high = [r1 * stride + patch - 1 + 1, c1 * stride + patch - 1 + 1]
    return [*low, *high]


def fuse(first: Tensor, last: Tensor, fusion: str) -> Tensor:
    if fusion == "first":
        return first
    if fusion == "last":
        return last
    if fusion == "probabilities":
        return torch.log((torch.softmax(first, dim=0) + torch.softmax(last, dim=0)) / 2)
    return (first + last) / 2
