"""A plain vision transformer in numbers, and how an image is cut into its patches. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from fgbench.errors import FgbenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneShape:
    """A backbone at one image size."""

    name: str  # timm's
    image_size: int  # pixels, square
    patch_size: int  # pixels, square
    grid: tuple[int, int]  # patches per column and row
    num_prefix_tokens: int  # class token, distillation token, registers
    has_class_token: bool
    embed_dim: int
    depth: int
    num_heads: int
    params: int  # the head's included
    has_paper_blocks: bool  # qkv, projection and a two-layer MLP of 4·D: what the paper's closed forms describe

    @property
    def num_tokens(self) -> int:
        """N: prefix tokens and patches."""
        return self.num_prefix_tokens + self.grid[0] * self.grid[1]


def grid_side(name: str, image_size: int, patch: int, stride: int) -> int:
    """Patches along a side of an image, the last one whole, as a convolution has them.

    Args:
        name: The backbone, for errors.
        image_size: Side of the image in pixels.
        patch: Side of a patch in pixels.
        stride: Step between patches in pixels.

    Raises:
        FgbenchError: Where the image is smaller than a patch, or patches would skip pixels.

    """
    if image_size < patch:
        raise FgbenchError(
            f"image size {image_size} is smaller than the {patch}-pixel patch of",
            name,
            f"give at least {patch}",
        )
    if stride > patch:
        raise FgbenchError(
            f"patch stride {stride} would skip pixels between the {patch}-pixel patches of", name, "give less"
        )
    return (image_size - patch) // stride + 1
