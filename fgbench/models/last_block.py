"""Base of the models that select tokens and run the backbone's last block on them (TransFG, FFVT, IELT)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fgbench.models.encoder import State
from fgbench.models.initialization import BLOCK_INITS, start_block, start_norms
from fgbench.models.options import one_of, yes_or_no
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Features, Selector

RELEASED_BLOCK = ("linear", "xavier")  # rules of the released codes for the attention and the MLP of a new block


class LastBlockModel(VisionTransformerModel):
    """Blocks 1 … L − 1, a selection among their tokens, block L on the class token and the selected tokens.

    Source: TransFG, section 3.2; FFVT, section 3.1; IELT, released code; released codes.

    Args:
        backbone: timm's name.
        fresh_last_block: Draw the last block anew after the backbone's weights are loaded, as the released codes do.
        fresh_last_norm: Set the last norm to 1 and 0 after that, as FFVT's code does.
        block_init: How the block is drawn (:data:`fgbench.models.initialization.BLOCK_INITS`). The released codes draw
            its attention as torch's Linear, and its MLP by Xavier's rule.
        options: Options of :class:`VisionTransformerModel`.

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
        self.build_own_layers()
        if options.get("pretrained"):
            self.start_from_backbone()
        elif block_init is not None:
            self.start_last_block()

    def build_own_layers(self) -> None:
        """Build layers that the backbone does not have, before any weights are drawn."""

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the last block and the head anew; with ``fresh_last_norm`` set the last norm to 1 and 0."""
        names = self.start_last_block()
        if self.fresh_last_norm:
            names += start_norms(self.encoder)
        return names + super().start_from_backbone()

    def start_last_block(self) -> tuple[str, ...]:
        """Draw the last block anew, unless ``fresh_last_block`` is False."""
        if not self.fresh_last_block:
            return ()
        last = self.encoder.depth - 1
        start_block(self.encoder.vit.blocks[last], self.block_init, released=RELEASED_BLOCK)
        return (f"encoder.vit.blocks.{last}.",)

    @property
    def selection_depth(self) -> int:
        """L − 1: blocks that have run when the model selects."""
        return self.encoder.depth - 1

    def all_but_last(self, images: Tensor, selector: Selector, *, hidden: bool = False) -> tuple[State, Features]:
        """Run blocks 1 … L − 1.

        Args:
            images: (B, 3, S, S).
            selector: The selector; one that reads all blocks reads these.
            hidden: Whether the output of every block is recorded.

        Returns:
            The state after block L − 1, and the input of the selector.

        """
        encoder, needs = self.encoder, selector.needs
        depth, state = self.depth_for(needs), self.start(images)
        encoder.run(
            state, range(self.selection_depth), needs, maps=self.keeps_maps(selector), hidden=hidden, depth=depth
        )
        return state, encoder.features(state, needs, depth=depth)

    def last_block_on(self, state: State, chosen: Tensor) -> Tensor:
        """The normalised class token (B, D) after the last block on [class token; chosen tokens (B, K, D)]."""
        selected = State(torch.cat([state.tokens[:, :1], chosen], dim=1))
        asking = slice(None) if self.published else slice(0, 1)
        out = self.encoder.block_on(self.encoder.depth - 1, selected, asking)
        return self.encoder.norm(out)[:, 0]
