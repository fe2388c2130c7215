"""Attention of one block: the baseline of GLSim's Figure 2."""

from __future__ import annotations

from torch import Tensor

from fgbench_selectors.errors import FgbenchError
from fgbench_selectors.features import Features, Needs
from fgbench_selectors.selector import Selector


class Attention(Selector):
    """Attention of the class token to the patches in one block, averaged over heads → (B, G²).

    Source: GLSim, Figure 2, second and third column.

    Args:
        impl: ``published`` or ``fast``.
        block: Index of the block as in a Python list: 0 is block 1, −1 (the default) is block L.

    Raises:
        FgbenchError: If ``block`` is no whole number.

    """

    needs = Needs(blocks=slice(-1, None), class_token=True)
    score_shape = ("batch", "patches")

    def __init__(self, impl: str = "fast", block: int = -1) -> None:
        super().__init__(impl)
        if not isinstance(block, int):
            raise FgbenchError("block must be a whole number, got", block)
        self.needs = Needs(blocks=slice(block, block + 1 or None), class_token=True)

    def published(self, features: Features) -> Tensor:
        """Average the maps over heads, then read row 0: O(H·N²)."""
        (block,) = features.read_blocks(self.needs.blocks or slice(-1, None))
        return block.probs_map().mean(dim=1)[:, 0, features.num_prefix_tokens :]

    def fast(self, features: Features) -> Tensor:
        """Compute row 0 only: O(N·D) from queries and keys."""
        (block,) = features.read_blocks(self.needs.blocks or slice(-1, None))
        return block.row(0).mean(dim=1)[:, features.num_prefix_tokens :]
