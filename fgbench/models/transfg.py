"""TransFG (He et al., AAAI 2022): a part selection module before the last block."""

from __future__ import annotations

from fgbench.models.last_block import TokenPerHeadModel


class TransFG(TokenPerHeadModel):
    """One pass over overlapping patches: L − 1 blocks, the best token of every head, block L on the selected tokens.

    The selector is PSM.
    Source: TransFG, sections 3.2–3.3; released code.

    Args:
        backbone: timm's name.
        options: Options of :class:`fgbench.models.last_block.TokenPerHeadModel`.

    """

    group = "tokens"
    year = 2022
    published_selector = "psm"
