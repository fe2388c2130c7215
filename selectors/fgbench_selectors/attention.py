"""Attention of one block: the plain baseline of GLSim's Figure 2."""

from __future__ import annotations

from torch import Tensor

from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class Attention(Selector):
    """What the class token attends to in one block, averaged over heads → (B, G²).

    ``block`` counts from the end as Python does: −1, the last one, by default; block 1 is 0.
    Source: GLSim, Figure 2, second and third column.
    """

    needs = Needs(blocks=slice(-1, None), class_token=True)
    score_shape = ("batch", "patches")

    def __init__(self, impl: str = "fast", block: int = -1) -> None:
        super().__init__(impl)
        if not isinstance(block, int):
            raise FgbenchError("block must be a whole number, got", block)
        self.needs = Needs(blocks=slice(block, block + 1 or None), class_token=True)

    def published(self, features: Features) -> Tensor:
        """Average whole maps over heads, then read row 0: O(H·N²)."""
        (block,) = features.read_blocks(self.needs.blocks or slice(-1, None))
        return block.probs_map().mean(dim=1)[:, 0, features.num_prefix_tokens :]

    def fast(self, features: Features) -> Tensor:
        """Row 0 alone: O(N·D) from queries and keys."""
        (block,) = features.read_blocks(self.needs.blocks or slice(-1, None))
        return block.row(0).mean(dim=1)[:, features.num_prefix_tokens :]
