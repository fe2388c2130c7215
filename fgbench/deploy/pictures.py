"""Drawn pictures to compare engines on and to calibrate quantized networks on: every process draws the same."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fgbench.datasets.synthetic.dataset import LARGEST_SIDE, SMALLEST_SIDE, synthetic

CLASSES, SEED = 20, 20
COMPARED, CALIBRATED = "test", "train"  # splits: a network is not judged on the pictures that it was calibrated on


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # what is kept would else be of no use to a caller outside inference mode
def drawn_pictures(count: int, height: int, width: int, split: str = COMPARED) -> Tensor:
    """Draw birds of the data set ``synthetic``, normalised to mean 0.5 and deviation 0.5.

    Args:
        count: Number of pictures, of all classes in turn.
        height: In pixels.
        width: In pixels.
        split: :data:`COMPARED` or :data:`CALIBRATED`.

    Returns:
        Pictures (count, 3, height, width) in float32.

    """
    side = min(max(height, width, SMALLEST_SIDE), LARGEST_SIDE)
    dataset = synthetic(classes=CLASSES, train_images=max(count, CLASSES), test_images=max(count, CLASSES), side=side,
                        seed=SEED)  # fmt: skip
    split_of = dataset.test if split == COMPARED else dataset.train
    pixels = np.stack([np.asarray(split_of.open(index)) for index in range(count)])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    if (side, side) == (height, width):
        return pictures.contiguous()
    return functional.interpolate(pictures, (height, width), mode="bilinear", align_corners=False)
