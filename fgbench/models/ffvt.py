"""FFVT (Wang, Yu & Gao, BMVC 2021): tokens selected after every block are fused in the last one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fgbench.models.encoder import State
from fgbench.models.last_block import LastBlockModel
from fgbench.models.model import Explanation
from fgbench.models.options import whole_number
from fgbench.models.token_ops import best
from fgbench_selectors import Selector


class FFVT(LastBlockModel):
    """One pass: L − 1 blocks, the best tokens of each block's output, block L on the class token and these tokens.

    The class token can be selected, as in the released code.
    Source: FFVT, sections 3.1–3.2; released code.

    Args:
        backbone: timm's name.
        selector: MAWS by default.
        num_tokens: Selected tokens per block; the paper has 12, and 24 for Dogs.
        options: Options of :class:`LastBlockModel`.

    """

    group = "tokens"
    year = 2021
    published_selector = "maws"
    accepts = (("batch", "blocks", "tokens"),)
    released_head = "zeros"
    released_last_norm = True

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        num_tokens: int = 12,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth - 1)
        self.num_tokens = whole_number(num_tokens, "num_tokens", 1, self.encoder.num_tokens)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores (B, L − 1, N), the selected tokens (B, L − 1, K)."""
        state, features = self.step("pass 1", self.all_but_last, images, self.selector, hidden=True)
        scores = self.step("selector", self.selector, features)
        token, index = self.step("fusion", self.last_block, state, scores)
        return Explanation(self.step("fusion", self.head, token), scores, index)

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with a box per selected token (B, (L − 1)·K, 4); that of a prefix token is the image."""
        return self.with_patch_boxes(self.flow(images), prefix=self.encoder.num_prefix_tokens)

    def last_block(self, state: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The class token (B, D) after the last block, and the selected tokens (B, L − 1, K)."""
        index = best(scores, self.num_tokens)
        blocks = self.encoder.recorded_blocks(self.selector.needs)[: scores.shape[1]]
        chosen = [self.encoder.tokens_at(state, index[:, row], block) for row, block in enumerate(blocks)]
        return self.last_block_on(state, torch.cat(chosen, dim=1)), index
