"""From masks to boxes: connected components of a whole batch, without reading anything on the host."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.errors import FeaturesError, FgbenchError

CHOICES = ("largest", "peak")
RULES = ("released", "enclosing")


def label_components(mask: Tensor) -> Tensor:
    """(B, G_h, G_w) booleans → (B, G_h·G_w) labels of the 8-connected components.

    A component's label is the index of its first patch in reading order; G_h·G_w where the mask is empty. Every
    round, components hook to the smallest label beside them and then follow their pointers, so that the rounds grow
    with the logarithm of the patches and are known before anything is computed. Source of the scheme: Zhang, Azad &
    Hu, FastSV, SIAM PP 2020.
    """
    batch, rows, columns = mask.shape
    patches = rows * columns
    flat = mask.flatten(1)
    table = torch.arange(patches + 1, device=mask.device).expand(batch, -1)
    labels = torch.where(flat, table[:, :-1], patches)
    jumps = max(1, math.ceil(math.log2(patches)))
    for _ in range(jumps + 1):
        beside = -functional.max_pool2d(-labels.view(mask.shape).float(), 3, stride=1, padding=1)
        lowest = torch.where(flat, beside.flatten(1).long(), patches)
        hooked = table.scatter_reduce(1, labels, lowest, "amin")
        for _ in range(jumps):
            hooked = hooked.gather(1, hooked)
        labels = hooked.gather(1, labels)
    return labels


def component_boxes(
    scores: Tensor,
    grid: tuple[int, int],
    patch_size: int,
    image_size: int,
    *,
    threshold: float = 1.2,
    choose: str = "largest",
    close: bool = False,
    rule: str = "released",
    stride: int | None = None,
) -> Tensor:
    """(B, G²) scores → (B, 4) pixel boxes y0, x0, y1, x1 (ends exclusive) around one component of the high scores.

    The mask is score > threshold · mean(scores), closed morphologically with a cross of 3 × 3 if ``close`` is set.
    ``choose`` takes the ``largest`` 8-connected component, or the one with the highest ``peak``; the first in
    reading order among equals. An empty mask gives the whole image.

    rule="released": what RAMS-Trans cuts, which begins one pixel early: rows r0·P − 1 … r1·P − 1, ends included.
    rule="enclosing": the rectangle that holds the component's patches.
    Source: RAMS-Trans (Hu et al., ACM MM 2021), section 3.3; EV (Conde & Turgutlu, 2021), section 3.
    """
    rows, columns = grid
    patches = rows * columns
    if scores.ndim != 2 or scores.shape[1] != patches:
        raise FeaturesError(
            f"scores must be (B, {patches}) for a {rows}×{columns} grid, got shape", tuple(scores.shape)
        )
    if choose not in CHOICES:
        raise FgbenchError("unknown choice of a component", choose, f"known: {', '.join(CHOICES)}")
    if rule not in RULES:
        raise FgbenchError("unknown box rule", rule, f"known: {', '.join(RULES)}")
    mask = (scores > threshold * scores.mean(dim=1, keepdim=True)).view(-1, rows, columns)
    if close:
        mask = ~_cross(~_cross(mask))  # dilate, then erode: outside of the image neither adds nor takes
    labels = label_components(mask)
    start = scores.new_zeros(len(scores), patches + 1)
    if choose == "largest":
        worth = start.float().scatter_add(1, labels, torch.ones_like(labels, dtype=torch.float32))
    else:
        worth = (start - torch.inf).scatter_reduce(1, labels, scores, "amax")
    chosen = (labels == worth[:, :patches].argmax(dim=1, keepdim=True)).view(mask.shape) & mask
    empty = ~chosen.flatten(1).any(dim=1)
    step, sides = stride or patch_size, []
    for size, line in ((rows, chosen.any(dim=2)), (columns, chosen.any(dim=1))):
        places = torch.arange(size, device=scores.device)
        begin = torch.where(line, places, size).amin(dim=1) * step
        end = torch.where(line, places, -1).amax(dim=1) * step + patch_size
        begin = (begin - 1).clamp_min(0) if rule == "released" else begin
        sides.append((begin.masked_fill(empty, 0), end.masked_fill(empty, image_size)))
    (y0, y1), (x0, x1) = sides
    return torch.stack((y0, x0, y1, x1), dim=1)


def peak_boxes(heat: Tensor, *, threshold: float = 1.0, min_area: int = 1) -> Tensor:
    """(B, H, W) maps → (B, 4) pixel boxes y0, x0, y1, x1 (ends exclusive) of the region with the highest peak.

    The mask is heat > threshold · mean(heat), closed with a cross of 3 × 3; 8-connected components of fewer than
    ``min_area`` pixels are dropped. The peak of a component is the maximum within its box, pixels outside of the
    component included; the first component in reading order among equals. Where none is left, the whole map.
    Source: the public experiments of an author of EV (Conde & Turgutlu, 2021), which draw a random box where none is
    left.
    """
    batch, rows, columns = heat.shape
    pixels = rows * columns
    mask = heat > threshold * heat.mean(dim=(1, 2), keepdim=True)
    labels = label_components(~_cross(~_cross(mask)))
    place = torch.arange(pixels, device=heat.device)
    y, x = (axis.expand(batch, -1) for axis in (place // columns, place % columns))
    table = labels.new_zeros(batch, pixels + 1)
    large = (table.scatter_add(1, labels, torch.ones_like(labels)) >= min_area)[:, :pixels]
    y0, x0 = ((table + pixels).scatter_reduce(1, labels, axis, "amin")[:, :pixels] for axis in (y, x))
    y1, x1 = (table.scatter_reduce(1, labels, axis + 1, "amax")[:, :pixels] for axis in (y, x))
    y0, x0 = y0.clamp_max(rows), x0.clamp_max(columns)  # of labels that no component has
    corners = [(vertical * (columns + 1) + horizontal) for vertical in (y0, y1) for horizontal in (x0, x1)]
    signs = (1, -1, -1, 1)

    # Which pixels lie in the box of a large component: its corners, summed along both axes.
    edges = labels.new_zeros(batch, (rows + 1) * (columns + 1))
    for corner, sign in zip(corners, signs, strict=True):
        edges = edges.scatter_add(1, corner, sign * large.long())
    covered = edges.view(batch, rows + 1, columns + 1).cumsum(1).cumsum(2)[:, :rows, :columns] > 0
    peak = heat.masked_fill(~covered, -torch.inf).amax(dim=(1, 2), keepdim=True)
    peaks = functional.pad(((heat == peak) & covered).long().cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)
    within = sum(sign * peaks.gather(1, corner) for corner, sign in zip(corners, signs, strict=True))
    wins = large & (within > 0)
    chosen = wins.long().argmax(dim=1, keepdim=True)
    box = torch.cat([side.gather(1, chosen) for side in (y0, x0, y1, x1)], dim=1)
    whole = torch.tensor([0, 0, rows, columns], device=heat.device)
    return torch.where(wins.any(dim=1, keepdim=True), box, whole)


def _cross(mask: Tensor) -> Tensor:
    """Dilate (B, G_h, G_w) booleans by a cross of 3 × 3."""
    padded = functional.pad(mask, (1, 1, 1, 1))
    return mask | padded[:, :-2, 1:-1] | padded[:, 2:, 1:-1] | padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]
