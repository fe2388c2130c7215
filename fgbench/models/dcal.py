"""DCAL (Zhu et al., CVPR 2022): dual cross-attention learning."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from fgbench.models.encoder import State, cross_block
from fgbench.models.losses import weigh_by_uncertainty
from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of
from fgbench.models.token_ops import best
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Selector

READOUTS = ("mean", "class_token")


class DCAL(VisionTransformerModel):
    """L self-attention blocks, then one block in which the best patches attend to all tokens (GLCA); two heads.

    The patches with the highest rollout are the queries of a cross-attention block with weights, norm and head of its
    own. Probabilities of both heads are added. In training, a second run in which every image also attends to another
    image (PWCA) shares all weights, and the three losses are weighted by learned uncertainties.
    Source: DCAL, sections 3.2–3.3 and 4.1.

    Args:
        backbone: timm's name.
        selector: Rollout by default.
        ratio: Share of patches that are queries.
        readout: Input of the second head, which the paper leaves open: ``mean`` of the queries, or a ``class_token``
            that is a query too; in a single block the selection cannot influence it.
        fusion: Rule of :func:`fgbench.models.model.fuse`.
        options: Options of :class:`VisionTransformerModel`.

    """

    group = "tokens"
    year = 2022
    published_selector = "rollout"
    accepts = (("batch", "patches"),)

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        ratio: float = 0.1,
        readout: str = "mean",
        fusion: str = "probabilities",
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth, reading="dcal")
        share = number(ratio, "the ratio of selected patches", 0, 1)
        self.top_k = max(1, int(share * self.encoder.num_patches))
        self.readout, self.fusion = one_of(readout, "readout", READOUTS), one_of(fusion, "fusion", FUSIONS)
        last = self.encoder.vit.blocks[-1]
        self.cross_block, self.cross_norm = copy.deepcopy(last), copy.deepcopy(self.encoder.last_norm)
        self.cross_head = copy.deepcopy(self.head)
        self.log_variances = nn.Parameter(torch.zeros(3))  # of the losses: self-attention, GLCA, PWCA

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the selected patches (B, R); heads ``global`` and ``local``."""
        state = self.step("pass 1", self.run_all, images)
        scores = self.step("selector", lambda: self.selector(self.encoder.features(state, self.selector.needs)))
        index = self.step("fusion", best, scores, self.top_k)
        heads = {
            "global": self.step("pass 1", lambda: self.head(self.encoder.norm(state.tokens[:, :1])[:, 0])),
            "local": self.step("fusion", self.ask_globally, state, index),
        }
        return Explanation(self.step("fusion", fuse, heads, self.fusion), scores, index, heads=heads)

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the selected patches."""
        return self.with_patch_boxes(self.flow(images))

    def start_from_backbone(self) -> tuple[str, ...]:
        """Copy the weights of the last block and norm to the cross-attention block; draw the heads."""
        last = self.encoder.vit.blocks[-1]
        self.cross_block.load_state_dict(last.state_dict())
        self.cross_norm.load_state_dict(self.encoder.last_norm.state_dict())
        names = super().start_from_backbone()
        if not self.takes_head:  # both heads start with the same weights, as when they are built
            self.cross_head.load_state_dict(self.head.state_dict())
        return "cross_block.", "cross_norm.", *names

    def run_all(self, images: Tensor) -> Any:
        """The state after all blocks, with the input of the selector."""
        state = self.encoder.start(images)
        blocks = range(self.encoder.depth)
        self.encoder.run(state, blocks, self.selector.needs, maps=self.keeps_maps(self.selector))
        return state

    def ask_globally(self, state: State, index: Tensor) -> Tensor:
        """Global–local cross-attention of selected patches to all tokens.

        Args:
            state: The state after all blocks.
            index: Selected patches (B, R).

        Returns:
            Logits (B, classes).

        """
        tokens, queries = state.tokens, self.encoder.patches_at(state, index)
        if self.readout == "class_token":
            queries = torch.cat([tokens[:, :1], queries], dim=1)
        local = self.cross_norm(cross_block(self.cross_block, queries, tokens, state.key_bias))
        token = local[:, 0] if self.readout == "class_token" else local.mean(dim=1)
        logits: Tensor = self.cross_head(token)
        return logits

    def loss(self, images: Tensor, targets: Tensor, partner: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The weighted sum of the three losses, and the logits; ``partner`` (B,) is drawn at random by default."""
        explanation = self.flow(images)
        if partner is None:
            partner = torch.randperm(len(images), device=images.device)
        state = self.encoder.start(images)
        self.encoder.run_in_pairs(state, partner)
        paired = self.head(self.encoder.norm(state.tokens[:, :1])[:, 0])
        heads = (*explanation.heads.values(), paired)
        losses = torch.stack([self.cross_entropy(head, targets) for head in heads])
        return weigh_by_uncertainty(losses, self.log_variances), explanation.logits
