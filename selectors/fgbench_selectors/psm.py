"""Part selection module (PSM) of TransFG (He et al., AAAI 2022, section 3.2)."""

from __future__ import annotations

from torch import Tensor

from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class PSM(Selector):
    """Row 0 of the product of the maps of blocks L−1 … 1, for every head → (B, H, G²).

    The product is A_{L−1} ⋯ A_2 A_1 per head, without identity and without renormalisation. TransFG takes the argmax
    of every head. The fast implementation computes the same product from the left.
    Source: TransFG, section 3.2.
    """

    needs = Needs(blocks=slice(None, -1), class_token=True)
    score_shape = ("batch", "heads", "patches")

    def published(self, features: Features) -> Tensor:
        """Multiply N×N matrices, then read one row: O(L·H·N³)."""
        first, *later = [block.probs_map() for block in features.read_blocks(slice(None, -1))]
        joint = first
        for probs in later:
            joint = probs @ joint
        return joint[:, :, 0, features.num_prefix_tokens :].clone()  # a view would keep the maps, or be part of them

    def fast(self, features: Features) -> Tensor:
        """Multiply one row by the maps in turn: O(L·H·N²), without building a map from queries and keys."""
        last, *earlier = reversed(features.read_blocks(slice(None, -1)))
        v = last.row(0)
        for block in earlier:
            v = block.left(v)
        return v[..., features.num_prefix_tokens :]
