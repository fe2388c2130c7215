"""SIM-Trans (Sun, He & Peng, ACM MM 2022): the structure of the attended object is added to the class token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.models.encoder import State
from fgbench.models.last_block import NewLastBlockModel
from fgbench.models.last_three import PLACES, check_depth, classify_jointly, joint_head
from fgbench.models.losses import near_contrastive_loss
from fgbench.models.model import Explanation
from fgbench.models.options import number, yes_or_no
from fgbench.models.structure import AttendedObject, StructureGraph
from fgbench_selectors import Needs

EVERY_BLOCK = Needs(blocks=slice(None))


class SIMTrans(NewLastBlockModel):
    """One pass over overlapping patches; the structure of the attended object joins the class token in three places.

    No token is selected. After each of the last three blocks, a graph on the relative positions of the patches that the
    class token attends to gives a vector that is added to the class token, before the next block reads it. The three
    class tokens together classify. ``published`` computes the graph, ``fast`` its closed form
    (:mod:`fgbench.models.structure`). The loss is cross-entropy and a contrastive term. The stage ``structure`` is the
    graph, with the row of attention that it reads.
    Source: SIM-Trans; released code.

    Args:
        backbone: timm's name.
        test_dropout: Drop 10 % of the values between the graph layers at test, too, as the released code does: its
            predictions are random.
        contrastive: Weight of the contrastive term.
        margin: Margin of the contrastive term.
        options: Options of :class:`fgbench.models.last_block.NewLastBlockModel`. ``dropout`` acts on the graph layers,
            too, where its place is ``mlp``.

    Raises:
        FgbenchError: If the backbone has fewer than three blocks, or an option is wrong.

    """

    group = "parts"
    year = 2022
    overlap = 4
    released_head = "linear"
    score_shape = ("batch", "blocks", "patches")

    def __init__(
        self,
        backbone: str | None = None,
        *,
        test_dropout: bool = False,
        contrastive: float = 1.0,
        margin: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        check_depth(self.encoder, "SIM-Trans")
        self.test_dropout = yes_or_no(test_dropout, "test_dropout")
        self.contrastive, self.margin = number(contrastive, "contrastive", 0), number(margin, "margin", 0, 1)
        rate = self.dropout if self.dropout_at == "mlp" else 0.0
        self.structure = StructureGraph(self.encoder.embed_dim, dropout=rate, test_dropout=self.test_dropout)

    def build_head(self, vit: Any) -> nn.Module:
        """Normalisation over the batch and a layer of 1024, twice: three class tokens (B, 3·D) → (B, classes)."""
        return joint_head(vit.embed_dim, vit.num_classes)

    @property
    def places(self) -> range:
        """Indices, from 0, of the blocks whose class token gets the structure."""
        return range(self.encoder.depth - PLACES, self.encoder.depth)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, weights p of the patches in the three places (B, 3, G²), the anchors (B, 3)."""
        state = self.step("pass 1", self.first_blocks, images)
        tokens: list[Tensor] = []
        objects: list[AttendedObject] = []
        for index in self.places:
            read_row = self.step("pass 1", self.next_block, state, index)
            objects.append(self.step("structure", self.add_structure, state, read_row))
            tokens.append(self.step("fusion", self.class_token_of, state))
        logits = self.step("fusion", self.classify, tokens)
        scores = torch.stack([found.weights.detach() for found in objects], dim=1)
        anchors = torch.stack([found.anchor for found in objects], dim=1)
        return Explanation(logits, scores, anchors, token=tokens[-1])

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the anchors (B, 3, 4)."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and the contrastive term on the last class token."""
        result = self.flow(images)
        assert result.token is not None
        loss = self.cross_entropy(result.logits, targets)
        return loss + self.contrastive * near_contrastive_loss(result.token, targets, self.margin), result.logits

    def run_to_selection(self, state: State, record: Needs | None) -> None:
        """Run all blocks with the structure, from the state before block 1, and record the needs of a selector."""
        self.encoder.run(state, range(self.places.start), record)
        for index in self.places:
            self.encoder.run(state, range(index, index + 1), EVERY_BLOCK)
            attention = state.attention[index]
            assert attention is not None
            self.add_structure(state, partial(attention.row, 0))

    def first_blocks(self, images: Tensor) -> State:
        """The state after the blocks before the three places."""
        state = self.start(images)
        self.encoder.run(state, range(self.places.start))
        return state

    def next_block(self, state: State, index: int) -> Callable[[], Tensor]:
        """Run a block, and return a function that reads its A₀ (B, H, N); the last one is run for the class token."""
        only_class_token = index == self.places[-1] and not self.published
        asking = slice(0, 1) if only_class_token else slice(None)
        state.tokens, read_row = self.encoder.block_with_row(index, state, asking, maps=self.published)
        return read_row

    def add_structure(self, state: State, read_row: Callable[[], Tensor]) -> AttendedObject:
        """Add the structure to the class token of a state; the object that it is of."""
        row = read_row()[..., -self.encoder.num_patches :]
        added: Tensor
        found: AttendedObject
        added, found = self.structure(row, self.encoder.grid, published=self.published)
        first = state.tokens[:, :1] + added.unsqueeze(1).to(state.tokens.dtype)
        only = state.tokens.shape[1] == 1
        state.tokens = first if only else torch.cat([first, state.tokens[:, 1:]], dim=1)
        return found

    def class_token_of(self, state: State) -> Tensor:
        """The normalised class token (B, D)."""
        return self.encoder.norm(state.tokens[:, :1])[:, 0]

    def classify(self, tokens: list[Tensor]) -> Tensor:
        """The logits (B, classes) of the class tokens of the three places, (B, D) each."""
        return classify_jointly(self.head, tokens, "SIM-Trans")
