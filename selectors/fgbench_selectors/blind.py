"""Selections that look at no image: controls for selectors. They are asked for by name and are in no list."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.errors import FeaturesError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector

CHANNELS = 16  # of the tokens, at most, that an image is told by
# Products of two numbers below it fit into 32 bits, which is all that some engines compute with. 3 does not divide
# PRIME − 1, so that cubes modulo PRIME are a permutation: up to PRIME patches have scores that are all different.
PRIME = 46_337
BASES = (40_503, 22_543, 30_829)  # of the three numbers that are made of an image


class Random(Selector):
    """Patches by chance → (B, G²), uniform from 0 to 1.

    In training they are drawn from torch's generator. In evaluation they are the same for the same image, alone or in
    a batch, in every process: a hash of the patches that have the largest values of up to 16 channels, in whole
    numbers. Rounding changes none of these, unless two values are equal but for rounding.
    Source: GLSim, section D.3.1, crops by random selection.

    Args:
        impl: ``published`` or ``fast``.

    """

    needs = Needs(tokens=True)
    score_shape = ("batch", "patches")

    def published(self, features: Features) -> Tensor:
        """Draw scores, or hash the image: O(G²)."""
        tokens = features.read_tokens()
        if self.training:
            return torch.rand(tokens.shape[0], features.num_patches, device=tokens.device)
        return hashed_scores(tokens[:, features.num_prefix_tokens :])


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


def hashed_scores(patches: Tensor) -> Tensor:
    """Scores that look drawn, by the places of the largest values of some channels.

    With p the prime, an image has three numbers a, b and c below it, polynomials in these places. The score of patch i
    is ((a'·i + b)³ + c)³ modulo p, over p, with a' = 1 + a modulo p − 1.

    Args:
        patches: Tokens of the patches (B, G², D).

    Returns:
        (B, G²), float32, from 0 to 1.

    """
    step = max(1, patches.shape[-1] // CHANNELS)
    places = patches[..., ::step][..., :CHANNELS].argmax(dim=1) % PRIME + 1  # (B, channels)
    powers = [[pow(base, exponent, PRIME) for base in BASES] for exponent in range(1, places.shape[1] + 1)]
    terms = places.unsqueeze(-1) * torch.tensor(powers, device=patches.device) % PRIME
    a, b, c = (terms.sum(dim=1, keepdim=True) % PRIME).unbind(dim=-1)  # (B, 1) each
    index = torch.arange(patches.shape[1], device=patches.device) % PRIME
    mixed = _cube(((a % (PRIME - 1) + 1) * index % PRIME + b) % PRIME)
    return _cube((mixed + c) % PRIME).to(torch.float32) / PRIME


def _cube(numbers: Tensor) -> Tensor:
    return numbers * numbers % PRIME * numbers % PRIME


def near_middle(grid: tuple[int, int]) -> Tensor:
    """Minus the squared distance of each patch to the middle of the grid (G²,)."""
    down, across = (torch.arange(side) - (side - 1) / 2 for side in grid)
    return -(down.square().unsqueeze(1) + across.square()).flatten()
