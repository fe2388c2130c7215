"""Selections that look at no image: controls for selectors. They are asked for by name and are in no list."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

PRIME = 1_000_003  # products of two numbers below it fit into 64 bits


class Random(Selector):
    """Patches by chance → (B, G²), uniform from 0 to 1.

    In training they are drawn from torch's generator. In evaluation they are the same for the same image, alone or in
    a batch, in every process: a hash of the signs of its first token, in whole numbers.
    Source: GLSim, section D.3.1, crops by random selection.

    Args:
        impl: ``published`` or ``fast``.

    """

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features: Features) -> Tensor:
        """Draw scores, or hash the image: O(D + G²)."""
        tokens = features.read_tokens()
        count = tokens.shape[1] - features.num_prefix_tokens
        if self.training:
            return torch.rand(tokens.shape[0], count, device=tokens.device)
        signs = (tokens[:, 0] > 0).to(torch.int64)
        places = torch.arange(tokens.shape[-1], device=tokens.device)
        image = (signs * ((places + 1) * 265_443 % PRIME)).sum(dim=-1, keepdim=True) % PRIME
        patches = torch.arange(count, device=tokens.device)
        mixed = (image + 1) * ((patches * patches * 7919 + patches * 104_729 + 12_345) % PRIME + 1) % PRIME
        return (mixed * mixed % PRIME).to(torch.float32) / PRIME


class Centre(Selector):
    """Patches around the middle → (B, G²): minus the squared distance to it, in patches.

    Args:
        impl: ``published`` or ``fast``.

    """

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features: Features) -> Tensor:
        """The same for every image: O(G²)."""
        tokens = features.read_tokens()
        if features.grid is None:
            raise FeaturesError("centre needs the grid of patches, and the features have none")
        return near_middle(features.grid).to(tokens.device).expand(tokens.shape[0], -1)


def near_middle(grid: tuple[int, int]) -> Tensor:
    """Minus the squared distance of each patch to the middle of the grid (G²,)."""
    down, across = (torch.arange(side) - (side - 1) / 2 for side in grid)
    return -(down.square().unsqueeze(1) + across.square()).flatten()
