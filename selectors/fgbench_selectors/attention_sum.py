"""Attention of several blocks, added, by which FAL-ViT (Huang et al., TCSVT 2025) locates the object."""

from __future__ import annotations

from torch import Tensor

from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class AttentionSum(Selector):
    """Attention of the class token to the patches, added over the last blocks, mean over heads → (B, G²).

    s_j = mean over heads of Σ_l A_l[0, j] over the last nine blocks: blocks 4…12 of 12, as in the released code.
    Source: FAL-ViT, released code.

    Args:
        impl: ``published`` or ``fast``.
        blocks: Number of last blocks that are added; all blocks where there are fewer.

    Raises:
        FgbenchError: If ``blocks`` is no whole number from 1.

    """

    needs = Needs(blocks=slice(-9, None), class_token=True)
    score_shape = ("batch", "patches")

    def __init__(self, impl: str = "fast", blocks: int = 9) -> None:
        super().__init__(impl)
        if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
            raise FgbenchError("blocks must be a whole number from 1, got", blocks)
        self.blocks = slice(-blocks, None)
        self.needs = Needs(blocks=self.blocks, class_token=True)

    def published(self, features: Features) -> Tensor:
        """Add the maps, average them over heads, then read row 0: O(L·H·N²)."""
        total: Tensor | None = None
        for block in features.read_blocks(self.blocks):
            maps = block.probs_map()
            total = maps if total is None else total + maps
        assert total is not None
        return total.mean(dim=1)[:, 0, features.num_prefix_tokens :]

    def fast(self, features: Features) -> Tensor:
        """Compute row 0 of every block only: O(L·N·D) from queries and keys."""
        rows = [block.row(0) for block in features.read_blocks(self.blocks)]
        return sum(rows[1:], rows[0]).mean(dim=1)[:, features.num_prefix_tokens :]
