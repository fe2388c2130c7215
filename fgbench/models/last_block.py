"""Bases of the models whose last block is drawn anew; most run it on selected tokens (TransFG, FFVT, IELT)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from fgbench.models.encoder import State
from fgbench.models.initialization import BLOCK_INITS, start_block, start_norms
from fgbench.models.losses import contrastive_loss
from fgbench.models.model import Explanation
from fgbench.models.options import number, one_of, yes_or_no
from fgbench.models.token_ops import best
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Features, Selector

RELEASED_BLOCK = ("linear", "xavier")  # rules of the released codes for the attention and the MLP of a new block


class NewLastBlockModel(VisionTransformerModel):
    """The last block does not start with the weights of the backbone.

    Source: released codes of TransFG, FFVT, IELT and SIM-Trans.

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


class LastBlockModel(NewLastBlockModel):
    """Blocks 1 … L − 1, a selection among their tokens, block L on the class token and the selected tokens.

    Source: TransFG, section 3.2; FFVT, section 3.1; IELT, released code; released codes.

    Args:
        backbone: timm's name.
        options: Options of :class:`NewLastBlockModel`.

    """

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
        selected = State(torch.cat([state.tokens[:, :1], chosen], dim=1), is_selection=True)
        asking = slice(None) if self.published else slice(0, 1)
        out = self.encoder.block_on(self.encoder.depth - 1, selected, asking)
        return self.encoder.norm(out)[:, 0]


class TokenPerHeadModel(LastBlockModel):
    """One pass over overlapping patches: L − 1 blocks, the best token of every head, block L on the selected tokens.

    Block L runs on the class token and the H selected tokens of block L − 1; the class token classifies. A selector
    with one score per patch selects the H best patches. A selector that reads all blocks reads L − 1 blocks, because
    the last one runs after the selection. The loss is cross-entropy and a contrastive term.
    Source: TransFG, sections 3.2–3.3; released codes of TransFG and AA-Trans.

    Args:
        backbone: timm's name.
        selector: ``published_selector`` by default.
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
        depth = self.encoder.depth - 1
        self.selector: Selector = self.use_selector(selector, depth=depth)
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
        chosen = self.encoder.patches_at(state, index)
        return self.last_block_on(state, chosen), index
