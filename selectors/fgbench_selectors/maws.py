"""Mutual attention weight selection (MAWS) of FFVT (Wang et al., BMVC 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class MAWS(Selector):
    """Attention of the class token to a token, times attention of that token to the class token → (B, L−1, N).

    For each block 1…L−1: a = row 0 of the softmax over keys, b = column 0 of the softmax over queries, each
    averaged over heads; score = a ⊙ b. All tokens have a score, the class token (index 0) included.
    Source: FFVT, section 3.2, equations 5–7.
    """

    needs = Needs(blocks=slice(None, -1), logits=True, class_token=True)
    score_shape = ("batch", "blocks", "tokens")

    def published(self, features: Features) -> Tensor:
        """Build both N×N softmaxes, average them over heads, read a row and a column: O(L·H·N²)."""
        scores = []
        for block in features.read_blocks(slice(None, -1)):
            over_queries = block.logits_map().softmax(dim=-2).mean(dim=1)
            over_keys = block.probs_map().mean(dim=1)
            scores.append(over_keys[:, 0, :] * over_queries[:, :, 0])
        return torch.stack(scores, dim=1)

    def fast(self, features: Features) -> Tensor:
        """Compute this row and this column only: O(L·N·D) from queries and keys."""
        return torch.stack(
            [
                block.row(0).mean(dim=1) * block.column_softmax(0).mean(dim=1)
                for block in features.read_blocks(slice(None, -1))
            ],
            dim=1,
        )
