"""The shipped backbone in numbers, and where its weights are. No torch."""

from __future__ import annotations

from pathlib import Path

SHIPPED = "vit_fgbench_patch12_96"  # its name in timm
TAG = "world"  # of its weights
BEGUN_FROM = "shipped"  # what rows say of runs that begin from its weights
IMAGE_SIZE, PATCH = 96, 12  # pixels
WIDTH, DEPTH, HEADS = 96, 6, 3
FAMILIES = 120  # classes of its own head
MEAN = STD = (0.5, 0.5, 0.5)  # of colours
WEIGHTS = Path(__file__).parents[1] / "pretraining" / "weights" / f"{SHIPPED}.safetensors"

# Weights per block: queries, keys and values, projection, an MLP of 4·D, two norms; biases included.
_PER_BLOCK = 12 * WIDTH * WIDTH + 13 * WIDTH
# Its figures as fgbench.plugins.timm_names has those of timm's backbones.
FIGURES = (
    *(PATCH, WIDTH, DEPTH, HEADS, 1, 1),  # one class token
    DEPTH * _PER_BLOCK + (3 * PATCH * PATCH + 1) * WIDTH + 4 * WIDTH,  # patches, class token, its position, last norm
    WIDTH,  # per patch: its position
    WIDTH + 1,  # per class
)


def is_shipped(backbone: str | None) -> bool:
    """Whether a name of timm is that of the shipped backbone, with or without the tag of its weights."""
    return backbone is not None and backbone.partition(".")[0] == SHIPPED
