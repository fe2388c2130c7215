"""Pixels that no patch covers: a size that patches do not divide loses them at the right and at the lower edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pixels_cut_off(image_size: int, patch_size: int, stride: int, patches: int) -> int:
    """Pixels of a side that lie behind its last patch."""
    return image_size - ((patches - 1) * stride + patch_size)


def cut_off_by(model: Any) -> int:
    """Pixels of a side that a model's patches leave out; 0 where it has none."""
    encoder = getattr(model, "encoder", None)
    if encoder is None or not hasattr(encoder, "patch_size"):
        return 0
    return pixels_cut_off(model.image_size, encoder.patch_size, encoder.stride, encoder.grid[0])


def cut_off_line(name: str, pixels: Mapping[int, int]) -> str | None:
    """What is cut off by image size, in one line; None where nothing is.

    Args:
        name: Of the model or backbone.
        pixels: What is cut off of each side, by image size.

    Returns:
        The line, or None.

    """
    found = [f"{cut} of {size} pixels" for size, cut in pixels.items() if cut]
    if not found:
        return None
    return f"the patches of {name!r} do not cover the right and the lower edge: {', '.join(found)} are cut off"
