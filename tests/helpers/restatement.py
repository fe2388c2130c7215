"""Independent references of the models, from the papers, in plain PyTorch; no code of the package.

Every function takes the weights by name and one image (3, S, S), builds every N×N map, and returns the logits
(classes,) and the boxes [y0, x0, y1, x1] of what was selected, in the order of selection. What they are
made of is in plain_models.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from helpers.plain_models import (
    Answer,
    Box,
    Encoder,
    Weights,
    batch_norm,
    block,
    convolve,
    crop,
    decide,
    fuse,
    largest_component_box,
    layer_norm,
    linear,
    patch_box,
    resnet_features,
    rollout,
    top,
)
from helpers.restated_accvit import accvit
from helpers.restated_ev import ev
from helpers.restated_falvit import falvit
from helpers.restated_ielt import ielt
from helpers.restated_structure import aatrans, simtrans
from torch import Tensor
from torch.nn import functional


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
        chosen += decide(lambda scores: top(scores, 1), joint[0, num_prefix:])
    x = torch.stack([outputs[-1][0], *(outputs[-1][num_prefix + j] for j in chosen)])
    x, _ = encoder.block(x, encoder.depth - 1)
    boxes = encoder.boxes(chosen, img_size)
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
        for j in decide(lambda scores: top(scores, num_tokens), a * b):
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
    grid = encoder.side(img_size), threshold, rule, patch, patch, img_size
    box = decide(lambda scores: largest_component_box(scores, *grid), scores)
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
    grid = encoder.side(img_size), threshold, rule, patch, stride, img_size
    box = decide(lambda scores: largest_component_box(scores, *grid), scores)
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
    chosen = decide(lambda scores: top(scores, int(0.1 * side * side)), rollout(maps)[0, num_prefix:])
    asking = [num_prefix + j for j in chosen]
    if readout == "class_token":
        asking = [0, *asking]
    x, _ = block(outputs[-1], weights, "cross_block", heads, encoder.eps, asking)
    x = layer_norm(x, weights, "cross_norm", encoder.eps)
    local = linear(x[0] if readout == "class_token" else x.mean(dim=0), weights, "cross_head")
    whole = linear(encoder.norm(outputs[-1])[0], weights, "head")
    boxes = encoder.boxes(chosen, img_size)
    return fuse(whole, local, "probabilities"), boxes


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
    box = decide(lambda scores: gls_box(scores, encoder.side(img_size), top_k, rule, patch, img_size), scores)
    again, _ = encoder(crop(image, box, img_size), weights["crop_class_token"] if crop_class_token else None)
    pair = torch.stack([class_token, again[0]])
    pair, _ = block(pair, weights, "aggregator", pair.shape[1] // 64, eps)
    return linear(layer_norm(pair, weights, "aggregator_norm", eps)[0], weights, "head"), [box]


def r2trans_values(weights: Weights, maps: list[Tensor], num_prefix: int) -> Tensor:
    """What patches get from patches, normalised over the image with a weight and a bias each, through a sigmoid."""
    mass = torch.zeros_like(maps[0][0, 0, num_prefix:])
    for m in maps:
        for head in m:
            for row in torch.softmax(head, dim=1)[num_prefix:]:
                mass = mass + row[num_prefix:] / (len(maps) * len(m))
    return torch.sigmoid(layer_norm(mass, weights, "score_norm", 1e-5))


def r2trans_dropped(
    weights: Weights, images: Tensor, *, patch: int, heads: int, num_prefix: int = 1, eps: float = 1e-6
) -> int:
    """How many patches are dropped from every image of a batch."""
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    below = []
    for image in images:
        values = r2trans_values(weights, encoder(image)[1], num_prefix)
        below.append(float(sum(1 for value in values if value < values.mean())))
    return int(torch.tensor(below).mean() / len(values) * len(values))


def r2trans(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    predict: str = "first",
    drop: float | None = None,
    dropped: int | None = None,
    eps: float = 1e-6,
) -> Answer:
    """Its boxes are in reading order: the order of the tokens in the second pass does not matter."""
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    tokens, maps = encoder(image)
    values = r2trans_values(weights, maps, num_prefix)
    fewer = int(drop * len(values)) if dropped is None else dropped
    kept = decide(lambda values: sorted(top(-values, len(values))[fewer:]), values)
    embedded = encoder.embed(image)
    x = torch.cat([embedded[:num_prefix], embedded[[num_prefix + j for j in kept]]])
    again = encoder.norm(encoder.blocks(x)[0][-1])
    first, second = (linear(pass_[0], weights, "head") for pass_ in (tokens, again))
    both = linear(torch.cat([tokens[0], again[0]]), weights, "pair_head")
    boxes = encoder.boxes(kept, img_size)
    return first if predict == "first" else 0.4 * first + 0.4 * second + 0.2 * both, boxes


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
            boxes.append(decide(partial(cal_box, theta=theta, padding=padding, img_size=img_size), attention))
            answers.append(cal_pass(weights, crop(view, boxes[-1], img_size))[0])
    assert len(answers) == passes
    return torch.stack(answers).mean(dim=0), boxes


MODELS: dict[str, Callable[..., Answer]] = {
    f.__name__: f for f in (vit, resnet101, cal, transfg, ffvt, ramstrans, aftrans, dcal, ev, glsim, ielt, r2trans)
}
MODELS |= {"simtrans": simtrans, "aatrans": aatrans}
MODELS |= {"accvit": accvit, "falvit": falvit}
