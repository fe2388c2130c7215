"""Independent references of the models, from the papers, in plain PyTorch; no code of the package.

Every function takes the weights by name and one image (3, S, S), builds every N×N map, and returns the logits
(classes,) and the boxes [y0, x0, y1, x1] of what was selected, in the order of selection. What they are
made of is in plain.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from helpers.plain_models import (
    Box,
    Encoder,
    Weights,
    batch_norm,
    block,
    components,
    convolve,
    crop,
    decide,
    extent,
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
from helpers.restated_falvit import falvit
from helpers.restated_structure import aatrans, simtrans
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

Answer = tuple[Tensor, list[Box]]
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


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


def ev_object_box_at_pixels(heat: np.ndarray, min_area: int) -> Box:
    """The box of a large enough component of a map as large as the image, the one that holds the highest value."""
    grown = ndimage.binary_dilation(heat > heat.mean(), structure=CROSS)
    found, _ = ndimage.label(ndimage.binary_erosion(grown, structure=CROSS, border_value=1), structure=np.ones((3, 3)))
    areas = np.bincount(found.ravel())[1:]
    kept = [own for own, area in zip(ndimage.find_objects(found), areas, strict=True) if area >= min_area]
    if not kept:
        return [0, 0, *heat.shape]
    rows, columns = max(kept, key=lambda own: heat[own].max())
    return [rows.start, columns.start, rows.stop, columns.stop]


def ev_parts_at_pixels(heat: np.ndarray, box: Box, part_size: int, max_iou: float) -> list[Box]:
    """Both parts on the object's map, enlarged and reduced to a third by the nearest pixel; cells count both ends."""
    size = len(heat)
    side = size // 3
    y0, x0, y1, x1 = box
    enlarged = heat[y0:y1, x0:x1][np.arange(size) * (y1 - y0) // size][:, np.arange(size) * (x1 - x0) // size]
    reduced = enlarged[np.arange(side) * size // side][:, np.arange(side) * size // side]
    k = part_size * side // size
    means = np.lib.stride_tricks.sliding_window_view(reduced.astype(np.float64), (k, k)).mean(axis=(2, 3))
    r, c = np.unravel_index(means.argmax(), means.shape)
    rows, columns = np.indices(means.shape)
    common = np.clip(k + 1 - abs(rows - r), 0, None) * np.clip(k + 1 - abs(columns - c), 0, None)
    apart = np.where(common / (2 * (k + 1) ** 2 - common) <= max_iou, means, -np.inf)
    assert np.isfinite(apart).any(), "two windows fit"
    starts = [(r, c), np.unravel_index(apart.argmax(), means.shape)]
    corners = [[min(int(place) * size // side, size - part_size) for place in start] for start in starts]
    return [[y, x, y + part_size, x + part_size] for y, x in corners]


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
    search: str = "patches",
    min_area: int | None = None,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix)
    side = encoder.side(img_size)
    tokens, maps = encoder(image)
    heat = rollout(maps)[0, num_prefix:]
    heat = heat / heat.max()
    part_size = min(part_size, img_size)

    def enlarged(heat: Tensor) -> Tensor:
        grid = heat.reshape(1, 1, side, side)
        return functional.interpolate(grid, size=(img_size, img_size), mode="bilinear", align_corners=True)[0]

    if search == "pixels":
        least = round((img_size / 7) ** 2) if min_area is None else min_area
        box = decide(lambda heat: ev_object_box_at_pixels(enlarged(heat)[0].numpy(), least), heat)
        parts = decide(lambda heat: ev_parts_at_pixels(enlarged(heat)[0].numpy(), box, part_size, max_iou), heat)
    else:
        box = decide(lambda heat: ev_object_box(heat, side, patch, img_size), heat)
        worth = crop(enlarged(heat), box, side)[0]
        parts = decide(lambda worth: ev_parts(worth, side, part_size, max_iou, img_size), worth)
    inside = crop(image, box, img_size)
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
    box = decide(lambda scores: gls_box(scores, encoder.side(img_size), top_k, rule, patch, img_size), scores)
    again, _ = encoder(crop(image, box, img_size), weights["crop_class_token"] if crop_class_token else None)
    pair = torch.stack([class_token, again[0]])
    pair, _ = block(pair, weights, "aggregator", pair.shape[1] // 64, eps)
    return linear(layer_norm(pair, weights, "aggregator_norm", eps)[0], weights, "head"), [box]


def ballots(rows: Tensor, votes: int) -> list[int]:
    """(H, M) attention → how many heads have each token among the `votes` that they attend to most."""
    counts = [0] * rows.shape[1]
    for row in rows:
        for j in top(row, votes):
            counts[j] += 1
    return counts


def most(votes: list[int], k: int) -> list[int]:
    return sorted(range(len(votes)), key=lambda j: (-votes[j], j))[:k]


def smooth_votes(votes: list[int], side: int) -> list[int]:
    """Every vote counts 4 for its own patch, 2 for those beside it, 1 for those at its corners."""
    out = [0] * len(votes)
    for j, count in enumerate(votes):
        r, c = divmod(j, side)
        for y in range(max(r - 1, 0), min(r + 2, side)):
            for x in range(max(c - 1, 0), min(c + 2, side)):
                out[y * side + x] += count * (2 - abs(y - r)) * (2 - abs(x - c))
    return out


def voted_patches(rows: Tensor, side: int, votes: int, k: int) -> list[int]:
    return most(smooth_votes(ballots(rows, votes), side), k)


def voted_keys(rows: Tensor, votes: int, k: int) -> list[int]:
    return most(ballots(rows, votes), k)


def ielt(
    weights: Weights,
    image: Tensor,
    *,
    img_size: int,
    patch: int,
    heads: int,
    num_prefix: int = 1,
    num_tokens: int | tuple[int, ...] | list[int] = (16, 14, 12, 10, 8, 6, 8, 10, 12, 14, 16),
    num_key_tokens: int = 24,
    votes: int = 24,
    eps: float = 1e-6,
) -> Answer:
    encoder = Encoder(weights, patch, heads, num_prefix, eps=eps)
    side = encoder.side(img_size)
    outputs, maps = encoder.blocks(encoder.embed(image), encoder.depth - 1)
    counts = [num_tokens] * len(maps) if isinstance(num_tokens, int) else num_tokens
    class_token = outputs[-1][0]
    gathered, boxes = [class_token], []
    for output, m, k in zip(outputs, maps, counts, strict=True):
        rows = torch.softmax(m[:, 0, :], dim=1)[:, num_prefix:]
        for j in decide(partial(voted_patches, side=side, votes=votes, k=k), rows):
            gathered.append(output[num_prefix + j])
            boxes.append(patch_box(j, side, patch, patch))
    x, m = block(torch.stack(gathered), weights, "cross_layer_block", heads, eps)
    refined = layer_norm(x, weights, "cross_layer_norm", eps)
    rows = torch.softmax(m[:, 0, :], dim=1)[:, 1:]
    keys = decide(partial(voted_keys, votes=votes, k=num_key_tokens), rows)
    y, _ = encoder.block(torch.stack([class_token, *(refined[1 + p] for p in keys)]), encoder.depth - 1)
    beside = linear(refined[0], weights, "head")
    assist = torch.softmax(beside, dim=0) * torch.stack([row.sum() for row in weights["head.weight"]])
    return linear(encoder.norm(y)[0], weights, "head") + assist, boxes


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
    boxes = [patch_box(j, encoder.side(img_size), patch, patch) for j in kept]
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
