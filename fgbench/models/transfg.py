"""TransFG (He et al., AAAI 2022): a part selection module before the last block."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fgbench.models.encoder import State
from fgbench.models.last_block import LastBlockModel
from fgbench.models.losses import contrastive_loss
from fgbench.models.model import Explanation
from fgbench.models.options import number
from fgbench.models.token_ops import best, take
from fgbench_selectors import Selector


class TransFG(LastBlockModel):
    """One pass over overlapping patches: L − 1 blocks, the best token of every head, block L on the selected tokens.

    Block L runs on the class token and the H selected tokens of block L − 1; the class token classifies. A selector
    with one score per patch selects the H best patches. A selector that reads all blocks reads L − 1 blocks, because
    the last one runs after the selection. The loss is cross-entropy and a contrastive term.
    Source: TransFG, sections 3.2–3.3; released code.

    Args:
        backbone: timm's name.
        selector: PSM by default.
        contrastive: Weight of the contrastive term.
        margin: Margin of the contrastive term.
        options: Options of :class:`LastBlockModel`.

    """

    overlap = 4
    released_head = "linear"
    accepts = (("batch", "heads", "patches"), ("batch", "patches"))

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        contrastive: float = 1.0,
        margin: float = 0.4,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, "psm", depth=self.encoder.depth - 1)
        self.contrastive, self.margin = number(contrastive, "contrastive", 0), number(margin, "margin", -1, 1)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the selected patches (B, H)."""
        state, features = self.step("pass 1", self.all_but_last, images, self.selector)
        scores = self.step("selector", self.selector, features)
        token, index = self.step("fusion", self.last_block, state, scores)
        return Explanation(self.step("fusion", self.head, token), scores, index, token=token)

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the selected patches."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and the contrastive term on the class token."""
        result = self.flow(images)
        assert result.token is not None
        loss = self.cross_entropy(result.logits, targets)
        return loss + self.contrastive * contrastive_loss(result.token, targets, self.margin), result.logits

    def last_block(self, state: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The class token (B, D) after the last block on [class token; selected tokens], and their patches (B, H)."""
        index = best(scores, 1).squeeze(-1) if scores.ndim == 3 else best(scores, self.encoder.num_heads)
        tokens = state.tokens
        chosen = take(tokens, index + tokens.shape[1] - self.encoder.num_patches)
        return self.last_block_on(state, chosen), index
