"""A plain vision transformer in numbers, its grid of patches, and the pixels that no patch covers. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.results.image_size import ImageSize, height_width


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneShape:
    """A backbone at one image size."""

    name: str  # timm's
    image_size: ImageSize  # pixels
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


def grid_of(name: str, image_size: ImageSize, patch: int, stride: int) -> tuple[int, int]:
    """Rows and columns of patches; arguments and errors as of :func:`grid_side`."""
    rows, columns = (grid_side(name, side, patch, stride) for side in height_width(image_size))
    return rows, columns


def pixels_cut_off(image_size: int, patch_size: int, stride: int, patches: int) -> int:
    """Pixels of a side of the image beyond the last patch.

    Args:
        image_size: Side of the image in pixels.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        patches: Number of patches along the side.

    """
    return image_size - ((patches - 1) * stride + patch_size)


def most_cut_off(image_size: ImageSize, patch_size: int, stride: int, grid: tuple[int, int]) -> int:
    """Pixels beyond the last patch, of the side that loses most; ``grid`` has rows and columns of patches."""
    sides = zip(height_width(image_size), grid, strict=True)
    return max(pixels_cut_off(side, patch_size, stride, patches) for side, patches in sides)


def cut_off_by(model: Any) -> int:
    """Pixels of a side that the patches of a model do not cover; 0 for a model without patches."""
    encoder = getattr(model, "encoder", None) or getattr(getattr(model, "pyramid", None), "net", None)
    if encoder is None or not hasattr(encoder, "patch_size"):
        return 0
    return most_cut_off(model.image_size, encoder.patch_size, encoder.stride, encoder.grid)


def cut_off_line(name: str, pixels: Mapping[ImageSize, int]) -> str | None:
    """One line that says which image sizes lose pixels.

    Args:
        name: Name of the model or backbone.
        pixels: Pixels of a side that no patch covers, by image size.

    Returns:
        The line, or None where no pixels are lost.

    """
    losses = [f"{cut} of {size} pixels" for size, cut in pixels.items() if cut]
    if not losses:
        return None
    return f"the patches of {name!r} do not cover the right and the lower edge: {', '.join(losses)} are cut off"
