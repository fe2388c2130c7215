"""Independent reference of EV, in plain PyTorch for one image, by both searches; no code of the package.

As in restatement.py: weights by name and one image (3, S, S) → logits (classes,) and boxes of what was selected.
"""

from __future__ import annotations

import numpy as np
import torch
from helpers.plain_models import Answer, Box, Encoder, Weights, components, crop, decide, extent, linear, rollout
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


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
