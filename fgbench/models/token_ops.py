"""Tensor operations of models: select tokens by scores, boxes of patches, crops."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench_selectors.backends.precision import is_exporting
from fgbench_selectors.regions import crop_resize


def best(scores: Tensor, k: int) -> Tensor:
    """Indices of the k highest scores, the highest first; among equal scores the first one, on every device.

    Args:
        scores: (…, N).
        k: From 1 to N.

    Returns:
        Indices (…, k).

    Raises:
        FgbenchError: If ``k`` is out of range.

    """
    if not 1 <= k <= scores.shape[-1]:
        raise FgbenchError(f"tokens to select must number between 1 and {scores.shape[-1]}, got", k)
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, K, D) of tokens (B, N, D) at indices (B, K)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def linear_weights(layer: Any) -> tuple[Tensor, Tensor]:
    """Weight (outputs, inputs) and bias (outputs,) of a linear layer; a quantized one has methods that give them."""
    if isinstance(layer.weight, Tensor):
        return layer.weight, layer.bias
    return layer.weight().dequantize(), layer.bias()


def take_rope(rope: Tensor, index: Tensor, *, mixed: bool) -> Tensor:
    """Rotary positions of some patches.

    Args:
        rope: (G², d), or (L, H, G², d) where every block and head has its own; or what this function has returned.
        index: Patches (B, K).
        mixed: Whether every block and head has its own.

    Returns:
        (B, 1, K, d), or (L, B, H, K, d).

    """
    if rope.ndim == (4 if mixed else 2):
        chosen = rope[..., index, :]
        return chosen.movedim(-3, -4) if mixed else chosen.unsqueeze(1)
    expanded = index[:, None, :, None].expand(-1, rope.shape[-3], -1, rope.shape[-1])
    return rope.gather(-2, expanded.expand(rope.shape[0], -1, -1, -1, -1) if mixed else expanded)


def patch_boxes(index: Tensor, grid: tuple[int, int], patch_size: int, stride: int) -> Tensor:
    """Pixel boxes of patches.

    Args:
        index: Indices of patches (B, K) in reading order.
        grid: Patches per column and row.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.

    Returns:
        Boxes (B, K, 4): y0, x0, y1, x1, ends exclusive.

    """
    y0 = index.div(grid[1], rounding_mode="floor") * stride
    x0 = index % grid[1] * stride
    return torch.stack((y0, x0, y0 + patch_size, x0 + patch_size), dim=-1)


def cut(images: Tensor, boxes: Tensor, size: int, *, published: bool = False) -> Tensor:
    """Cut boxes out of images and resize them: bilinear, corners aligned.

    Args:
        images: (B, 3, S, S).
        boxes: Pixel boxes (B, 4).
        size: Side of the crops in pixels.
        published: Cut image by image and read every box on the host, as the released codes do. Where there are no
            values to read, on the meta device and in an exported graph, both ways are the same.

    Returns:
        Crops (B, 3, size, size).

    """
    if not published or images.is_meta or is_exporting():
        return crop_resize(images, boxes, size)
    crops = [
        functional.interpolate(image[None, :, y0:y1, x0:x1], (size, size), mode="bilinear", align_corners=True)
        for image, (y0, x0, y1, x1) in zip(images, boxes.tolist(), strict=True)
    ]
    return torch.cat(crops)
