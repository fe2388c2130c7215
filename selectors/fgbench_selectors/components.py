"""Boxes around connected components of high scores, for a whole batch and without host synchronisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from fgbench_selectors.entries import RULES
from fgbench_selectors.errors import FeaturesError, FgbenchError

CHOICES = ("largest", "peak")


def label_components(mask: Tensor) -> Tensor:
    """Label the 8-connected components of masks.

    In every round a component takes the smallest label among its neighbours and follows the labels as pointers. The
    number of rounds grows with the logarithm of the number of patches and is known before anything is computed.
    Source: the FastSV algorithm (Zhang, Azad & Hu, SIAM PP 2020).

    Args:
        mask: Booleans (B, G_h, G_w).

    Returns:
        Labels (B, G_h·G_w): the index of the component's first patch in reading order; G_h·G_w where the mask is False.

    """
    batch, rows, columns = mask.shape
    patches = rows * columns
    flat = mask.flatten(1)
    table = torch.arange(patches + 1, device=mask.device).expand(batch, -1)
    labels = torch.where(flat, table[:, :-1], patches)
    jumps = max(1, math.ceil(math.log2(patches)))
    for _ in range(jumps + 1):
        of_neighbours = -functional.max_pool2d(-labels.view(mask.shape).float(), 3, stride=1, padding=1)
        lowest = torch.where(flat, of_neighbours.flatten(1).long(), patches)
        pointers = table.scatter_reduce(1, labels, lowest, "amin")
        for _ in range(jumps):
            pointers = pointers.gather(1, pointers)
        labels = pointers.gather(1, labels)
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
    """Boxes around one 8-connected component of high scores.

    The mask is score > threshold · mean(scores). An empty mask gives the whole image.
    Source: RAMS-Trans (Hu et al., ACM MM 2021), section 3.3; EV (Conde & Turgutlu, 2021), section 3.

    Args:
        scores: Patch scores (B, G_h·G_w).
        grid: Patches per column and row (G_h, G_w).
        patch_size: Side of a patch in pixels.
        image_size: Side of the image in pixels.
        threshold: Factor of the mean.
        choose: The ``largest`` component, or the one with the highest ``peak``; the first in reading order among
            equals.
        close: Whether the mask is closed morphologically with a cross of 3 × 3.
        rule: ``enclosing``, the rectangle that holds the component's patches; or ``released``, the rule of RAMS-Trans,
            which begins one pixel earlier: rows r0·P − 1 … r1·P − 1, ends included.
        stride: Step between patches in pixels; the patch size by default.

    Returns:
        Pixel boxes (B, 4): y0, x0, y1, x1, ends exclusive.

    Raises:
        FeaturesError: If scores and grid do not fit.
        FgbenchError: If ``choose`` or ``rule`` is unknown.

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
        mask = ~_cross(~_cross(mask))  # dilate, then erode: the outside of the image has no effect
    labels = label_components(mask)
    zeros = scores.new_zeros(scores.shape[0], patches + 1)
    if choose == "largest":
        values = zeros.float().scatter_add(1, labels, torch.ones_like(labels, dtype=torch.float32))
    else:
        values = (zeros - torch.inf).scatter_reduce(1, labels, scores, "amax")
    chosen = (labels == values[:, :patches].argmax(dim=1, keepdim=True)).view(mask.shape) & mask
    empty = ~chosen.flatten(1).any(dim=1)
    step, sides = stride or patch_size, []
    for size, line in ((rows, chosen.any(dim=2)), (columns, chosen.any(dim=1))):
        index = torch.arange(size, device=scores.device)
        begin = torch.where(line, index, size).amin(dim=1) * step
        end = torch.where(line, index, -1).amax(dim=1) * step + patch_size
        begin = (begin - 1).clamp_min(0) if rule == "released" else begin
        sides.append((begin.masked_fill(empty, 0), end.masked_fill(empty, image_size)))
    (y0, y1), (x0, x1) = sides
    return torch.stack((y0, x0, y1, x1), dim=1)


def peak_boxes(heat: Tensor, *, threshold: float = 1.0, min_area: int = 1) -> Tensor:
    """Boxes around the component with the highest peak.

    The mask is heat > threshold · mean(heat), closed with a cross of 3 × 3. The peak of a component is the maximum
    within its box, pixels outside of the component included. Among equal peaks the first component in reading order is
    taken; where no component is large enough, the whole map.
    Source: the public experiments of an author of EV (Conde & Turgutlu, 2021), which draw a random box where no
    component is large enough.

    Args:
        heat: Maps (B, H, W), a value per pixel.
        threshold: Factor of the mean.
        min_area: Smallest number of pixels of a component.

    Returns:
        Pixel boxes (B, 4): y0, x0, y1, x1, ends exclusive.

    """
    batch, rows, columns = heat.shape
    pixels = rows * columns
    mask = heat > threshold * heat.mean(dim=(1, 2), keepdim=True)
    labels = label_components(~_cross(~_cross(mask)))
    index = torch.arange(pixels, device=heat.device)
    y, x = (axis.expand(batch, -1) for axis in (index // columns, index % columns))
    table = labels.new_zeros(batch, pixels + 1)
    large = (table.scatter_add(1, labels, torch.ones_like(labels)) >= min_area)[:, :pixels]
    y0, x0 = ((table + pixels).scatter_reduce(1, labels, axis, "amin")[:, :pixels] for axis in (y, x))
    y1, x1 = (table.scatter_reduce(1, labels, axis + 1, "amax")[:, :pixels] for axis in (y, x))
    y0, x0 = y0.clamp_max(rows), x0.clamp_max(columns)  # labels that no component has
    corners = [(vertical * (columns + 1) + horizontal) for vertical in (y0, y1) for horizontal in (x0, x1)]
    signs = (1, -1, -1, 1)

    # A pixel lies in the box of a large component where the cumulated sum of the corners' signs is positive.
    edges = labels.new_zeros(batch, (rows + 1) * (columns + 1))
    for corner, sign in zip(corners, signs, strict=True):
        edges = edges.scatter_add(1, corner, sign * large.long())
    covered = edges.view(batch, rows + 1, columns + 1).cumsum(1).cumsum(2)[:, :rows, :columns] > 0
    peak = heat.masked_fill(~covered, -torch.inf).amax(dim=(1, 2), keepdim=True)
    peaks = functional.pad(((heat == peak) & covered).long().cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)
    peaks_in_box = sum(sign * peaks.gather(1, corner) for corner, sign in zip(corners, signs, strict=True))
    has_peak = large & (peaks_in_box > 0)
    chosen = has_peak.long().argmax(dim=1, keepdim=True)
    box = torch.cat([side.gather(1, chosen) for side in (y0, x0, y1, x1)], dim=1)
    whole = torch.tensor([0, 0, rows, columns], device=heat.device)
    return torch.where(has_peak.any(dim=1, keepdim=True), box, whole)


def _cross(mask: Tensor) -> Tensor:
    """Dilate (B, G_h, G_w) booleans by a cross of 3 × 3."""
    padded = functional.pad(mask, (1, 1, 1, 1))
    return mask | padded[:, :-2, 1:-1] | padded[:, 2:, 1:-1] | padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]
