"""Position embeddings of another grid of patches: how they are resized, as the code that wrote the file does."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor
from torch.nn import functional

from fgbench.models.checkpoints.format import POSITIONS, Format, Weights, encoder_of, placed
from fgbench.models.checkpoints.names import TIMM_FORMAT
from fgbench.models.model import Model

FLEXIBLE = "timm's bilinear"  # without aligned corners or antialiasing, as timm resizes those of FlexiViT and RADIO
ALIGNED = ("vit_base_patch16_radio_v3", "vit_huge_patch16_radio_v3")  # RADIO models for which timm aligns corners


def resize_positions(
    model: Model, weights: Weights, own: dict[str, Tensor], interpolation: str, *, spread: bool = False
) -> dict[str, tuple[int, int]]:
    """Resize position embeddings of another grid.

    Args:
        model: The model.
        weights: Weights of a file by the names of the model; the embeddings are replaced.
        own: Weights of the model.
        interpolation: ``bicubic``, ``bilinear`` (corners aligned), or :data:`FLEXIBLE`.
        spread: Whether embeddings of further grids that the file lacks are those of its grid, resized.

    Returns:
        Patches per side in the file and in the model, by the names of the embeddings that were resized.

    """
    encoder = encoder_of(model)
    home = placed(POSITIONS, model)
    places = {home: encoder.grid} if home in own else {}
    resize: Callable[..., Tensor] = resample_abs_pos_embed
    if interpolation == "bilinear":
        resize = resize_bilinear
    elif interpolation == FLEXIBLE:
        resize = partial(resample_abs_pos_embed, interpolation="bilinear", antialias=False)
    spread_from = weights.get(home) if spread else None
    resized: dict[str, tuple[int, int]] = {}
    for name, grid in {**places, **model.position_grids}.items():
        given, wanted = weights.get(name, spread_from), own[name]
        if given is None or given.ndim != 3:
            continue
        prefix = wanted.shape[1] - grid[0] * grid[1]
        side = math.isqrt(max(given.shape[1] - prefix, 0))
        if given.shape == wanted.shape:
            weights[name] = given
        elif side and side * side == given.shape[1] - prefix and given.shape[2] == wanted.shape[2]:
            weights[name] = resize(given, list(grid), [side, side], num_prefix_tokens=prefix)
            resized[name] = side, grid[0]
    return resized  # other shapes do not fit, which is reported later


def interpolation_of(format_: Format, model: Model) -> str:
    """How the code that wrote a file resizes position embeddings.

    Args:
        format_: The format of the file.
        model: The model that it is loaded into.

    Returns:
        ``bicubic``, ``bilinear`` (corners aligned), or :data:`FLEXIBLE`.

    """
    name = getattr(encoder_of(model), "name", "").partition(".")[0]
    if format_.name != TIMM_FORMAT or not ("flexivit" in name or "radio" in name):
        return format_.interpolation
    return "bilinear" if name in ALIGNED else FLEXIBLE


def resize_bilinear(positions: Tensor, new_size: list[int], old_size: list[int], num_prefix_tokens: int) -> Tensor:
    """Resize positions (1, P + G², D) bilinearly with corners aligned, which is ``scipy.ndimage.zoom(order=1)``."""
    prefix, patches = positions[:, :num_prefix_tokens], positions[:, num_prefix_tokens:]
    grid = patches.unflatten(1, old_size).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(grid, new_size, mode="bilinear", align_corners=True)
    return torch.cat([prefix, resized.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
