"""The models once more, from the papers, in plain PyTorch: nothing here is shared with the package.

Every function takes the weights by name and one image (3, S, S), builds every N×N map, and returns the logits
(classes,) and the boxes [y0, x0, y1, x1] of what was selected, in the order of selection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
Box = list[int]
Answer = tuple[Tensor, list[Box]]
EIGHT_NEIGHBOURS = np.ones((3, 3))
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


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


# Selection ------------------------------------------------------------------------------------------------------------


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


# The models -----------------------------------------------------------------------------------------------------------


def vit(weights: Weights, image: Tensor, *, img_size: int, patch: int, heads: int, num_prefix: int = 1) -> Answer:
    tokens, _ = Encoder(weights, patch, heads, num_prefix)(image)
    return linear(tokens[0], weights, "head"), []


def transfg(
    weights: Weights, image: Tensor, *, img_size: int, patch: int, heads: int, num_prefix: int = 1, eps: float = 1e-6
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, stride=patch - 4, eps=eps)
    outputs, maps = encoder.blocks(encoder.embed(image), encoder.depth - 1)
    chosen = []
    for h in range(heads):
        joint = torch.softmax(maps[0][h], dim=1)
        for m in maps[1:]:
            joint = torch.matmul(torch.softmax(m[h], dim=1), joint)
        chosen.append(int(joint[0, num_prefix:].argmax()))
    x = torch.stack([outputs[-1][0], *(outputs[-1][num_prefix + j] for j in chosen)])
    x, _ = encoder.block(x, encoder.depth - 1)
    boxes = [patch_box(j, encoder.side(img_size), patch, patch - 4) for j in chosen]
    return linear(encoder.norm(x)[0], weights, "head"), boxes


def ffvt(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    num_tokens: int = 12,
    eps: float = 1e-6,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    outputs, maps = encoder.blocks(encoder.embed(image), encoder.depth - 1)
    gathered, boxes = [outputs[-1][0]], []
    for output, m in zip(outputs, maps, strict=True):
        a = torch.softmax(m, dim=2).mean(dim=0)[0, :]
        b = torch.softmax(m, dim=1).mean(dim=0)[:, 0]
        for j in top(a * b, num_tokens):
            gathered.append(output[j])
            whole = [0, 0, img_size, img_size]  # what a token without a place stands for
            inside = patch_box(j - num_prefix, encoder.side(img_size), patch, patch)
            boxes.append(whole if j < num_prefix else inside)
    x, _ = encoder.block(torch.stack(gathered), encoder.depth - 1)
    return linear(encoder.norm(x)[0], weights, "head"), boxes


def ramstrans(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    rule: str = "released",
    threshold: float = 1.2,
    fusion: str = "mean",
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix)
    second = weights["second_class_token"]
    tokens, maps = encoder(image, second=second)
    scores = rollout(maps).mean(dim=0)[num_prefix + 1 :]
    box = largest_component_box(scores, encoder.side(img_size), threshold, rule, patch, patch, img_size)
    again, _ = encoder(crop(image, box, img_size), second=second)
    return fuse(linear(tokens[0], weights, "head"), linear(again[1], weights, "head"), fusion), [box]


def aftrans(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    rule: str = "enclosing",
    threshold: float = 1.2,
    fusion: str = "mean",
) -> Answer:
    stride = patch - 4
    encoder = Encoder(weights, patch, heads, num_prefix, stride=stride)
    tokens, maps = encoder(image)
    products = []
    for m in maps:
        product = torch.softmax(m[0].double(), dim=1)  # products of probabilities leave float32
        for h in range(1, heads):
            product = product * torch.softmax(m[h].double(), dim=1)
        products.append(product)
    z = torch.stack([product.mean() for product in products])
    doubled = {name: w.double() for name, w in weights.items() if name.startswith("selector.")}
    hidden = torch.relu(linear(z, doubled, "selector.excitation.0"))
    w = torch.sigmoid(linear(hidden, doubled, "selector.excitation.2"))
    scores = sum(w[i] * products[i][0, num_prefix:] for i in range(len(products)))
    box = largest_component_box(scores, encoder.side(img_size), threshold, rule, patch, stride, img_size)
    again, _ = encoder(crop(image, box, img_size))
    return fuse(linear(tokens[0], weights, "head"), linear(again[0], weights, "head"), fusion), [box]


def dcal(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    readout: str = "mean",
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix)
    outputs, maps = encoder.blocks(encoder.embed(image))
    side = encoder.side(img_size)
    chosen = top(rollout(maps)[0, num_prefix:], int(0.1 * side * side))
    asking = [num_prefix + j for j in chosen]
    if readout == "class_token":
        asking = [0, *asking]
    x, _ = block(outputs[-1], weights, "cross_block", heads, encoder.eps, asking)
    x = layer_norm(x, weights, "cross_norm", encoder.eps)
    local = linear(x[0] if readout == "class_token" else x.mean(dim=0), weights, "cross_head")
    whole = linear(encoder.norm(outputs[-1])[0], weights, "head")
    boxes = [patch_box(j, side, patch, patch) for j in chosen]
    return fuse(whole, local, "probabilities"), boxes


def ev_object_box(heat: Tensor, side: int, patch: int, img_size: int) -> Box:
    grid = heat.reshape(side, side).numpy()
    grown = ndimage.binary_dilation(grid > grid.mean(), structure=CROSS)
    # Not binary_closing, which erodes from the border inwards: what lies outside neither adds nor removes.
    found = components(ndimage.binary_erosion(grown, structure=CROSS, border_value=1))
    if not found:
        return [0, 0, img_size, img_size]
    r0, c0, r1, c1 = extent(max(found, key=lambda component: grid[component].max()))
    return [r0 * patch, c0 * patch, (r1 + 1) * patch, (c1 + 1) * patch]


def ev_parts(worth: Tensor, side: int, part_size: int, max_iou: float, img_size: int) -> list[Box]:
    """(G, G) → the best part and the best among those that hardly overlap it, in pixels of the object crop."""
    span = max(1, part_size * side // img_size)
    means, boxes = [], []
    for r in range(side - span + 1):
        for c in range(side - span + 1):
            means.append(float(worth[r : r + span, c : c + span].mean()))
            y0, x0 = (min(place * img_size // side, img_size - part_size) for place in (r, c))
            boxes.append([y0, x0, y0 + part_size, x0 + part_size])
    first = means.index(max(means))
    overlaps = [iou(box, boxes[first]) for box in boxes]
    apart = [i for i in range(len(boxes)) if overlaps[i] <= max_iou]
    if apart:
        second = max(apart, key=means.__getitem__)
    else:
        spread = max(means) - min(means)
        second = max(range(len(boxes)), key=lambda i: means[i] - (1 + overlaps[i]) * (spread + 1))
    return [boxes[first], boxes[second]]


def iou(a: Box, b: Box) -> float:
    height, width = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return height * width / (area_a + area_b - height * width)


def ev(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    part_size: int = 128,
    max_iou: float = 0.1,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix)
    side = encoder.side(img_size)
    tokens, maps = encoder(image)
    heat = rollout(maps)[0, num_prefix:]
    heat = heat / heat.max()
    box = ev_object_box(heat, side, patch, img_size)
    inside = crop(image, box, img_size)
    upsampled = functional.interpolate(
        heat.reshape(1, 1, side, side), size=(img_size, img_size), mode="bilinear", align_corners=True
    )
    worth = crop(upsampled[0], box, side)[0]
    parts = ev_parts(worth, side, min(part_size, img_size), max_iou, img_size)
    boxes, views = [box, *parts], [image, inside, *(crop(inside, part, img_size) for part in parts)]
    answers = [linear(tokens[0], weights, "head")]
    answers += [linear(encoder(view)[0][0], weights, "head") for view in views[1:]]
    return torch.stack(answers).mean(dim=0), boxes


def gls_box(scores: Tensor, side: int, top_k: int, rule: str, patch: int, img_size: int) -> Box:
    chosen = top(scores, top_k)
    rows, columns = [j // side for j in chosen], [j % side for j in chosen]
    low, high = [], []
    for places in (rows, columns):
        first, last = min(places), max(places)
        low.append(first * patch)
        if rule == "enclosing":
            high.append(last * patch + patch)
        else:
            high.append(min(max(last * patch, first * patch + patch), img_size))
    return [*low, *high]


def glsim(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    rule: str = "released",
    top_k: int | None = None,
    crop_class_token: bool = False,
    eps: float = 1e-6,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    tokens, _ = encoder(image)
    class_token = tokens[0]
    scores = torch.stack([(class_token * x).sum() / (class_token.norm() * x.norm()) for x in tokens[num_prefix:]])
    top_k = round(8 * img_size / 224) if top_k is None else top_k
    box = gls_box(scores, encoder.side(img_size), top_k, rule, patch, img_size)
    again, _ = encoder(crop(image, box, img_size), weights["crop_class_token"] if crop_class_token else None)
    pair = torch.stack([class_token, again[0]])
    pair, _ = block(pair, weights, "aggregator", pair.shape[1] // 64, eps)
    return linear(layer_norm(pair, weights, "aggregator_norm", eps)[0], weights, "head"), [box]


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
    x = torch.relu(batch_norm(convolve(image, weights, f"{root}conv1", 2), weights, f"{root}bn1"))
    x = functional.max_pool2d(x[None], 3, 2, 1)[0]
    for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", last_stride)):
        i = 0
        while f"{root}{layer}.{i}.conv1.weight" in weights:
            x = bottleneck(x, weights, f"{root}{layer}.{i}", stride if i == 0 else 1)
            i += 1
    return x


def resnet101(weights: Weights, image: Tensor, *, img_size: int) -> Answer:
    x = resnet_features(image, weights, "backbone.", last_stride=2)
    return linear(x.mean(dim=(1, 2)), weights, "backbone.fc"), []


def cal_maps(weights: Weights, image: Tensor) -> tuple[Tensor, Tensor]:
    """Features (2048, h, w) and their attention maps (32, h, w)."""
    features = resnet_features(image, weights, "features.", last_stride=1)
    maps = batch_norm(convolve(features, weights, "attentions.conv"), weights, "attentions.bn", eps=1e-3)
    return features, torch.relu(maps)


def cal_pass(weights: Weights, image: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of one view, and its map (h, w)."""
    features, maps = cal_maps(weights, image)
    pooled = torch.stack([(m * features).sum(dim=(1, 2)) for m in maps]) / features[0].numel()
    pooled = torch.sign(pooled) * torch.sqrt(pooled.abs() + 1e-6)
    vector = pooled.flatten() / max(float(pooled.norm()), 1e-12)
    return (100 * vector) @ weights["fc.weight"].T, maps.mean(dim=0)


def cal_box(attention: Tensor, theta: float, padding: float, img_size: int) -> Box:
    upsampled = functional.interpolate(
        attention[None, None], size=(img_size, img_size), mode="bilinear", align_corners=True
    )[0, 0]
    if not attention.any():
        return [0, 0, img_size, img_size]
    places = torch.nonzero(upsampled >= theta * attention.max())
    low, high = [], []
    for axis in (0, 1):
        low.append(max(int(int(places[:, axis].min()) - padding * img_size), 0))
        high.append(min(int(int(places[:, axis].max()) + padding * img_size), img_size))
    return [*low, *high]


def cal(weights: Weights, image: Tensor, *, img_size: int, passes: int = 2) -> Answer:
    views = [image] if passes == 2 else [image, image.flip(-1)]
    crops = [(0.1, 0.05)] if passes == 2 else [(0.3, 0.1), (0.2, 0.1), (0.1, 0.05)]
    answers, boxes = [], []
    for view in views:
        logits, attention = cal_pass(weights, view)
        answers.append(logits)
        for theta, padding in crops:
            boxes.append(cal_box(attention, theta, padding, img_size))
            answers.append(cal_pass(weights, crop(view, boxes[-1], img_size))[0])
    assert len(answers) == passes
    return torch.stack(answers).mean(dim=0), boxes


MODELS: dict[str, Callable[..., Answer]] = {
    f.__name__: f for f in (vit, resnet101, cal, transfg, ffvt, ramstrans, aftrans, dcal, ev, glsim)
}
