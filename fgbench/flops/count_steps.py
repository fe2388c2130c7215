"""Count a step of training: forward, backward, optimizer step."""

from __future__ import annotations

import torch
from torch import nn

from fgbench.flops.count import Count
from fgbench.flops.counter import FlopCounter
from fgbench.models.training_step import TrainingStep, classes_of, ready_to_train, targets_for
from fgbench.results.image_size import ImageSize, height_width


def count_step(network: nn.Module, size: ImageSize, *, images: int = 2, dtype: torch.dtype | None = None) -> Count:
    """Count one step of training on the meta device, after the first one, which has no momentum yet.

    Attention is counted as its products and softmax, as if no fused kernel computed its maps once more.

    Args:
        network: A network on the meta device; it is changed.
        size: Side of the images in pixels, or height × width.
        images: Number of images.
        dtype: Of the images; torch's default by default.

    Returns:
        The count of all images.

    Raises:
        UncountedOperatorError: If an operator has no cost.

    """
    pictures = torch.empty(images, 3, *height_width(size), dtype=dtype, device="meta")
    targets = targets_for(images, classes_of(network, pictures), "meta")
    step = TrainingStep(ready_to_train(network))
    step(pictures, targets)
    with FlopCounter(backward=True) as counter:
        step(pictures, targets)
    return counter.result()
