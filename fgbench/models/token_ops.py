"""From scores to tokens, boxes and crops inside a model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench_selectors.regions import crop_resize


def best(scores: Tensor, k: int) -> Tensor:
    """Indices (…, k) of the k highest scores (…, N), the best first; among equals the first one, on every device."""
    if not 1 <= k <= scores.shape[-1]:
        raise FgbenchError(f"tokens to select must number between 1 and {scores.shape[-1]}, got", k)
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, N, D) at indices (B, K) → (B, K, D)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def patch_boxes(index: Tensor, grid: tuple[int, int], patch_size: int, stride: int) -> Tensor:
    """Indices of patches (B, K) → their pixel boxes (B, K, 4)."""
    y0 = index.div(grid[1], rounding_mode="floor") * stride
    x0 = index % grid[1] * stride
    return torch.stack((y0, x0, y0 + patch_size, x0 + patch_size), dim=-1)


def cut(images: Tensor, boxes: Tensor, size: int, *, published: bool = False) -> Tensor:
    """Cut boxes (B, 4) out of images (B, 3, S, S) and resize them: (B, 3, size, size), bilinear, corners aligned.

    ``published`` does it image by image and reads every box on the host, as the released codes do. On the meta
    device, where there is nothing to read, both are the same.
    """
    if not published or images.is_meta:
        return crop_resize(images, boxes, size)
    crops = [
        functional.interpolate(image[None, :, y0:y1, x0:x1], (size, size), mode="bilinear", align_corners=True)
        for image, (y0, x0, y1, x1) in zip(images, boxes.tolist(), strict=True)
    ]
    return torch.cat(crops)
