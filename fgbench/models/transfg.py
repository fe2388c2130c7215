"""TransFG: a part selection module before the last block (He et al., AAAI 2022)."""

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
    """One pass over overlapping patches: L − 1 blocks, the best token of every head, block L on those alone.

    The class token and the H selected tokens of block L − 1 go through the last block; the class token classifies.
    A selector with one score per patch selects the H best patches. A selector that reads all blocks reads L − 1
    here, since the last one runs after the selection. Loss: cross-entropy and, weighted by ``contrastive``, the
    contrastive term with its ``margin``. Source: TransFG, sections 3.2–3.3; released code.
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
        """The same with the boxes of the selected patches."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and the contrastive term on the class token."""
        found = self.flow(images)
        assert found.token is not None
        loss = self.cross_entropy(found.logits, targets)
        return loss + self.contrastive * contrastive_loss(found.token, targets, self.margin), found.logits

    def last_block(self, state: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The class token (B, D) after the last block on [class token; selected tokens], and their patches (B, H)."""
        index = best(scores, 1).squeeze(-1) if scores.ndim == 3 else best(scores, self.encoder.num_heads)
        tokens = state.tokens
        chosen = take(tokens, index + tokens.shape[1] - self.encoder.num_patches)
        return self.last_block_on(state, chosen), index
