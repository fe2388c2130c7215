"""RAMS-Trans (Hu et al., ACM MM 2021): a second pass on a region that attention rollout proposes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.models.encoder import State
from fgbench.models.initialization import start_norms
from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of, yes_or_no
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Features, Selector
from fgbench_selectors.entries import RULES

LOSS_HEADS = ("both", "first")


class RAMSTrans(VisionTransformerModel):
    """Two passes with two class tokens: the first token reads the image, the second one the proposed region.

    Both passes have both tokens, and share weights and head.
    Source: RAMS-Trans, sections 3.2–3.4; released code.

    Args:
        backbone: timm's name.
        selector: Rollout by default.
        threshold: Factor of the mean score; the region holds the largest component above it.
        rule: Box rule of :func:`fgbench_selectors.components.component_boxes`.
        fusion: Rule of :func:`fgbench.models.model.fuse`; the one of the paper is not known.
        loss_heads: Predictions that are trained: ``both``, or the ``first`` one, as in the released code, where the
            second one gets no gradient.
        fresh_last_norm: Set the last norm to 1 and 0 after the backbone is loaded, as the released code does.
        options: Options of :class:`VisionTransformerModel`.

    """

    group = "regions"
    year = 2021
    passes = 2
    published_selector = "rollout"
    accepts = (("batch", "patches"),)
    released_head = "linear"

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        threshold: float = 1.2,
        rule: str = "released",
        fusion: str = "mean",
        loss_heads: str = "both",
        fresh_last_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth, reading="rams")
        self.threshold = number(threshold, "threshold", 0)
        self.rule, self.fusion = one_of(rule, "box rule", RULES), one_of(fusion, "fusion", FUSIONS)
        self.loss_heads = one_of(loss_heads, "choice of trained predictions", LOSS_HEADS)
        self.fresh_last_norm = yes_or_no(fresh_last_norm, "fresh_last_norm")
        self.second_class_token = nn.Parameter(torch.empty(1, 1, self.encoder.embed_dim))  # its position included
        self.start_second_token()
        if options.get("pretrained"):
            self.start_from_backbone()

    @torch.no_grad()
    def start_second_token(self) -> tuple[str, ...]:
        """Set the second class token to the first one."""
        self.second_class_token.copy_(self.encoder.vit.cls_token + self.encoder.class_position())
        return ("second_class_token",)

    def start_from_backbone(self) -> tuple[str, ...]:
        """Initialise the second class token and the head; with ``fresh_last_norm`` set the last norm to 1 and 0."""
        names = self.start_second_token()
        if self.fresh_last_norm:
            names += start_norms(self.encoder)
        return names + super().start_from_backbone()

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the cross-entropies of both predictions, or that of the first one; and the fused logits."""
        result = self.flow(images)
        others = [result.heads["crop"]] if self.loss_heads == "both" else []
        return self.cross_entropy(result.heads["image"], targets, *others), result.logits

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the box and the crop; heads ``image`` and ``crop``."""
        token, features = self.step("pass 1", self.first_pass, images)
        scores = self.step("selector", self.selector, features)
        rules = {"threshold": self.threshold, "rule": self.rule}
        boxes, crops = self.step("crop", self.crop_component, images, scores, **rules)
        second = self.step("pass 2", self.second_pass, crops)
        heads = {
            "image": self.step("fusion", self.head, token),
            "crop": self.step("fusion", self.head, second),
        }
        logits = self.step("fusion", fuse, heads, self.fusion)
        return Explanation(logits, scores, boxes=boxes.unsqueeze(1), crops=crops.unsqueeze(1), heads=heads)

    def start(self, images: Tensor) -> State:
        """The state before block 1, with the second class token after the first one."""
        state = self.encoder.start(images)
        vit: Any = self.encoder.vit
        second = vit.norm_pre(self.second_class_token).expand(images.shape[0], -1, -1)
        second = functional.dropout(second, vit.pos_drop.p, vit.pos_drop.training)
        state.tokens = torch.cat([state.tokens[:, :1], second.type_as(state.tokens), state.tokens[:, 1:]], dim=1)
        return state

    def first_pass(self, images: Tensor) -> tuple[Tensor, Features]:
        """The first class token (B, D) of the image, and the input of the selector."""
        tokens, features = self.finish(self.start(images), self.selector)
        return tokens[:, 0], features

    def second_pass(self, crops: Tensor) -> Tensor:
        """The second class token (B, D) of the crop."""
        return self.last_token(self.start(crops), index=1)[:, 0]
