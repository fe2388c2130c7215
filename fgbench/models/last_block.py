"""What the models share that select tokens and put them through the backbone's last block."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fgbench.models.encoder import State
from fgbench.models.initialization import BLOCK_INITS, start_block, start_norms
from fgbench.models.options import one_of, yes_or_no
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Features, Selector


class LastBlockModel(VisionTransformerModel):
    """L − 1 blocks, a selection among their tokens, block L on the class token and what was selected.

    On a backbone's weights ``fresh_last_block`` draws the last block anew, as the released codes do, and
    ``fresh_last_norm`` sets the last norm to 1 and 0, as FFVT's code does. ``block_init`` is how the block is drawn
    (:data:`fgbench.models.initialization.BLOCK_INITS`): its attention as torch's Linear, its MLP by Xavier's rule in
    the released codes. Source: TransFG, section 3.2; FFVT, section 3.1; released codes.
    """

    released_last_norm: ClassVar[bool] = False  # whether the released code leaves the last norm at 1 and 0

    def __init__(
        self,
        backbone: str | None = None,
        *,
        fresh_last_block: bool = True,
        fresh_last_norm: bool | None = None,
        block_init: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.fresh_last_block = yes_or_no(fresh_last_block, "fresh_last_block")
        fresh_norm = self.released_last_norm if fresh_last_norm is None else fresh_last_norm
        self.fresh_last_norm = yes_or_no(fresh_norm, "fresh_last_norm")
        self.block_init = one_of("released" if block_init is None else block_init, "block_init", BLOCK_INITS)
        if options.get("pretrained"):
            self.start_from_backbone()
        elif block_init is not None:
            self.start_last_block()

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the last block and the head anew; set the last norm to 1 and 0 where that is asked for."""
        names = self.start_last_block()
        if self.fresh_last_norm:
            names += start_norms(self.encoder)
        return names + super().start_from_backbone()

    def start_last_block(self) -> tuple[str, ...]:
        """Draw the last block anew, unless it stays the backbone's."""
        if not self.fresh_last_block:
            return ()
        last = self.encoder.depth - 1
        start_block(self.encoder.vit.blocks[last], self.block_init, released=("linear", "xavier"))
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
