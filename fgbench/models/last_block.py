"""What the models share that select tokens and put them through the backbone's last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fgbench.models.encoder import State
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Features, Selector


class LastBlockModel(VisionTransformerModel):
    """L − 1 blocks, a selection among their tokens, block L on the class token and what was selected.

    ``fresh_last_block`` starts the last block from random weights even where the backbone is pretrained, as the
    released codes do. Source: TransFG, section 3.2; FFVT, section 3.1; released codes.
    """

    def __init__(self, backbone: str | None = None, *, fresh_last_block: bool = True, **options: Any) -> None:
        super().__init__(backbone, **options)
        self.fresh_last_block = fresh_last_block
        if options.get("pretrained"):
            self.start_from_backbone()

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the last block's weights anew."""
        if not self.fresh_last_block:
            return ()
        last = self.encoder.depth - 1
        for module in self.encoder.vit.blocks[last].modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        return (f"encoder.vit.blocks.{last}.",)

    @property
    def selection_depth(self) -> int:
        """L − 1 blocks have run when the model selects."""
        return self.encoder.depth - 1

    def all_but_last(self, images: Tensor, selector: Selector, *, hidden: bool = False) -> tuple[State, Features]:
        """Blocks 1…L − 1, and what the selector reads of them; one that reads all blocks reads these."""
        encoder, needs = self.encoder, selector.needs
        depth, state = self.depth_for(needs), self.start(images)
        encoder.run(
            state, range(self.selection_depth), needs, maps=self.keeps_maps(selector), hidden=hidden, depth=depth
        )
        return state, encoder.features(state, needs, depth=depth)

    def last_block_on(self, state: State, chosen: Tensor) -> Tensor:
        """The normalised class token (B, D) after the last block on [class token; chosen tokens (B, K, D)]."""
        together = State(torch.cat([state.tokens[:, :1], chosen], dim=1))
        asking = slice(None) if self.published else slice(0, 1)
        out = self.encoder.block_on(self.encoder.depth - 1, together, asking)
        return self.encoder.norm(out)[:, 0]
