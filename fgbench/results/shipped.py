"""The shipped backbone in numbers, and where its weights are. No torch."""

from __future__ import annotations

from pathlib import Path

SHIPPED = "vit_fgbench_patch12_96"  # its name in timm
IMAGE_SIZE, PATCH = 96, 12  # pixels
WIDTH, DEPTH, HEADS = 128, 6, 2
FAMILIES = 120  # classes of its own head
MEAN = STD = (0.5, 0.5, 0.5)  # of colours
WEIGHTS = Path(__file__).parents[1] / "pretraining" / "weights" / f"{SHIPPED}.safetensors"
