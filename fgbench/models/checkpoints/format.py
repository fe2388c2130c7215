"""A format of released files: how it is recognised, and the names of its weights in our models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.model import Model

Weights = dict[str, Tensor]

VIT = "encoder.vit."  # first part of the names of timm's weights in models on a plain ViT
POSITIONS = f"{VIT}pos_embed"
SECOND_TOKEN = "second_class_token"


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files: the name that it is recognised by, and the names of our models for its names.

    Args:
        name: Its name.
        signature: A name of a weight that no other format has.
        renames: Pairs of a pattern and its replacement, applied in order.
        norm_eps: ε of LayerNorm in the code that trained the file.
        ignored: Names of weights that the code creates and does not use.
        unused: A pattern that further such names match; None for no others.
        backbone_only: Whether the file holds a backbone only.
        model: Class of the model that the weights belong to.
        interpolation: How the code that wrote the file resizes position embeddings.
        split_positions: Whether the second position belongs to a second class token.
        repeated: First parts of two names under which a file holds the same weights; None where it holds each once.
        convolutions_of_one: Whether linear layers of the model are convolutions with a kernel of one in the file.
        as_written: Whether the file has the weights of the network as they are, all of them and no others.

    """

    name: str
    signature: str
    renames: tuple[tuple[str, str], ...] = ()
    norm_eps: float | None = None
    ignored: tuple[str, ...] = ()
    backbone_only: bool = False
    model: str | None = None
    interpolation: str = "bicubic"
    split_positions: bool = False
    repeated: tuple[str, str] | None = None
    unused: str | None = None
    convolutions_of_one: bool = False
    as_written: bool = False

    def rename(self, weights: Mapping[str, Tensor], model: Model) -> tuple[Weights, dict[str, str]]:
        """Rename weights to the names of our models; queries, keys and values of a block become one matrix.

        Args:
            weights: Weights by the names of the file.
            model: The model that they are for.

        Returns:
            Weights by the names of the model, and for each of these names one of the file.

        Raises:
            FgbenchError: If two weights get the same name, or shapes do not fit.

        """
        depth = getattr(encoder_of(model), "depth", 0)
        renamed: Weights = {}
        origins: dict[str, str] = {}
        for name, tensor in weights.items():
            if self.ignores(name) or self._is_repeated(name, weights):
                continue
            new = name
            for pattern, replacement in self.renames:
                new = re.sub(pattern, replacement.replace("{last}", str(depth - 1)), new)
            new = placed(new, model)
            if new in renamed:
                raise FgbenchError(
                    f"{origins[new]} and {name} in the checkpoint have one place in the model:",
                    new,
                    "their values differ: which is meant?" if self.repeated else "does its depth fit?",
                )
            renamed[new], origins[new] = self._as_linear(new, tensor), name
        if self.split_positions:
            _split_positions(renamed, origins)
        return renamed if self.as_written else _join_projections(renamed, origins), origins

    def ignores(self, name: str) -> bool:
        """Whether the code that wrote the file creates a weight and does not use it."""
        return name in self.ignored or (self.unused is not None and re.search(self.unused, name) is not None)

    def _as_linear(self, name: str, tensor: Tensor) -> Tensor:
        """The weight of a convolution with a kernel of one as that of a linear layer; others as they are."""
        is_backbone = name.startswith((VIT, "pyramid."))
        if not self.convolutions_of_one or is_backbone or tensor.ndim < 3 or tensor.shape[2:].numel() != 1:
            return tensor
        return tensor.flatten(1)

    def _is_repeated(self, name: str, weights: Mapping[str, Tensor]) -> bool:
        """Whether the file holds a weight under its other name as well, with equal values."""
        if self.repeated is None or not name.startswith(self.repeated[1]):
            return False
        other, tensor = weights.get(self.repeated[0] + name.removeprefix(self.repeated[1])), weights[name]
        return other is not None and other.shape == tensor.shape and torch.equal(other, tensor)


def encoder_of(model: Model) -> Any:
    """The encoder that holds the plain ViT of a model; None for a model on another backbone."""
    pyramid: Any = getattr(model, "pyramid", None)
    if pyramid is not None:
        return pyramid.net if hasattr(pyramid.net, "vit") else None
    return getattr(model, "encoder", None)


def placed(name: str, model: Model) -> str:
    """The name of a weight in a model: that of a backbone is in its pyramid, where it has one."""
    pyramid: Any = getattr(model, "pyramid", None)
    if pyramid is None or not name.startswith(VIT):
        return name
    return f"pyramid.{pyramid.home}{name.removeprefix(VIT)}"


def _split_positions(renamed: Weights, origins: dict[str, str]) -> None:
    """Give a second class token its position, and leave the others (1, 1 + G², D) to the first and the patches."""
    positions, second = renamed.get(POSITIONS), renamed.get(SECOND_TOKEN)
    if positions is None or second is None or positions.ndim != 3 or positions.shape[1] < 3:
        return  # the shape does not fit, which is reported later
    if second.shape != (1, 1, positions.shape[2]):
        raise FgbenchError(f"{origins[SECOND_TOKEN]} must have shape (1, 1, {positions.shape[2]}), got", second.shape)
    renamed[SECOND_TOKEN] = second + positions[:, 1:2]
    renamed[POSITIONS] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)


def _split_queries(weights: Weights, origins: dict[str, str]) -> Weights:
    """Split matrices of queries and keys, where a file holds values by themselves."""
    split: Weights = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(.*\.attn)\.qk\.(weight|bias)", name)
        if match is None or not tensor.ndim or len(tensor) % 2:
            split[name] = tensor
            continue
        for letter, half in zip("qk", tensor.chunk(2), strict=True):
            half_name = f"{match[1]}.{letter}.{match[2]}"
            split[half_name], origins[half_name] = half, origins[name]
    return split


def _join_projections(weights: Weights, origins: dict[str, str]) -> Weights:
    """Put queries, keys and values of a block into one matrix, in that order, where all three are there."""
    weights = _split_queries(weights, origins)
    joined = dict(weights)
    for name in weights:
        match = re.fullmatch(r"(.*\.attn)\.q\.(weight|bias)", name)
        if match is None:
            continue
        stem, kind = match.groups()
        projections = [f"{stem}.{letter}.{kind}" for letter in "qkv"]
        if all(projection in weights for projection in projections):
            shapes = [tuple(weights[projection].shape) for projection in projections]
            if len(set(shapes)) > 1 or not shapes[0]:
                pairs = zip(projections, shapes, strict=True)
                listing = ", ".join(f"{origins[projection]} {shape}" for projection, shape in pairs)
                raise FgbenchError(f"queries, keys and values of a block must have one shape, got {listing}")
            joined[f"{stem}.qkv.{kind}"] = torch.cat([joined.pop(projection) for projection in projections])
            origins[f"{stem}.qkv.{kind}"] = origins[name]
    return joined
