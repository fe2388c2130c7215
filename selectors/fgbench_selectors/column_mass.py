"""Column mass of all maps, by which R2-Trans (Ye et al., arXiv 2204.10095) masks patches."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class ColumnMass(Selector):
    """The attention that a patch gets from all patches, mean over blocks and heads → (B, G²).

    s_j = Σ_i mean over blocks and heads of A_l[i, j], for patches i and j: rows and columns of the class token and of
    other prefix tokens are left out. The fast implementation computes it as v A with v = 1 for patches and 0 for prefix
    tokens.
    Source: R2-Trans, released test code.
    """

    needs = Needs(blocks=slice(None))
    score_shape = ("batch", "patches")

    def published(self, features: Features) -> Tensor:
        """Stack the maps of all blocks, average them, add the rows: O(L·H·N²) time and memory."""
        maps = torch.stack([block.probs_map() for block in features.read_blocks(slice(None))], dim=1)
        mean = maps.mean(dim=2).mean(dim=1)
        first = features.num_prefix_tokens
        return mean[:, first:, first:].sum(dim=1)

    def fast(self, features: Features) -> Tensor:
        """Multiply one row by the maps of every block, and add: O(L·N²·D) time, O(N) memory, without building a map."""
        blocks, device = features.read_blocks(slice(None)), features.device
        batch, _, tokens = blocks[0].shape
        first = features.num_prefix_tokens
        prefix, patches = torch.zeros(batch, first, device=device), torch.ones(batch, tokens - first, device=device)
        v = torch.cat([prefix, patches], dim=1)
        return torch.stack([block.left_mean(v) for block in blocks]).mean(dim=0)[:, first:]
