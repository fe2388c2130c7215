"""AA-Trans (released code of 2023): TransFG with the columns of the joint map in place of its class token's row."""

from __future__ import annotations

from fgbench.models.last_block import TokenPerHeadModel


class AATrans(TokenPerHeadModel):
    """One pass over overlapping patches: L − 1 blocks, the most even column's token of every head, block L on them.

    As TransFG but for its selector, the column entropy of the joint map. The joint map has a factor σ per block, a
    parameter of the released code that no gradient reaches: here a buffer of the selector, which files of weights set.
    Source: AA-Trans, released code.

    Args:
        backbone: timm's name.
        options: Options of :class:`fgbench.models.last_block.TokenPerHeadModel`.

    """

    group = "tokens"
    year = 2023
    published_selector = "column_entropy"
