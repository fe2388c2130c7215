"""FAL-ViT (Huang et al., TCSVT 2025): a second pass on finer patches of the object that the attention locates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fgbench.models.finer_patches import FinerPatches
from fgbench.models.initialization import start_head
from fgbench.models.last_three import LastThreeModel, classify_jointly, joint_head
from fgbench.models.losses import contrastive_loss
from fgbench.models.model import Explanation
from fgbench.models.options import number
from fgbench.models.token_ops import best
from fgbench_selectors import Features, Selector


class FALViT(LastThreeModel):
    """Two passes with shared blocks: all patches; then the class token and four finer patches of each of the best.

    Nothing is cropped: the finer patches have half the side, and keep their places. One head reads the class tokens of
    the last three blocks of the second pass. The head of the first pass reads its last class token, which is not
    normalised; it is trained only. The second pass is the larger one: 1,257 tokens against 785 at 448 pixels. The loss
    is the cross-entropy of both heads, and a contrastive term on the last class token of the second pass.
    Source: FAL-ViT; released code.

    Args:
        backbone: timm's name; its patches have an even side.
        selector: The sum of the attention of the last nine blocks by default.
        ratio: Share of the patches that are split, rounded up.
        contrastive: Weight of the contrastive term.
        margin: Margin of the contrastive term.
        options: Options of :class:`fgbench.models.vision_transformer.VisionTransformerModel`.

    Raises:
        FgbenchError: If the patches of the backbone cannot be split in four, or an option is wrong.

    """

    accepts = (("batch", "patches"),)
    released_head = "linear"
    published_name = "FAL-ViT"
    group = "regions"
    year = 2025
    passes = 2
    published_selector = "attention_sum"

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        ratio: float = 0.4,
        contrastive: float = 1.0,
        margin: float = 0.4,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth)
        self.ratio = number(ratio, "the ratio of selected patches", 0, 1)
        self.top_k = max(1, math.ceil(self.ratio * self.encoder.num_patches))
        self.contrastive, self.margin = number(contrastive, "contrastive", 0), number(margin, "margin", -1, 1)
        self.finer = FinerPatches(self.encoder)
        if options.get("pretrained"):
            self.start_from_backbone()

    @property
    def position_grids(self) -> Mapping[str, tuple[int, int]]:
        """The grid of the finer patches; their positions begin as those of the backbone's file, resized."""
        return {"finer.pos_embed": self.finer.finer_grid}

    def build_head(self, vit: Any) -> nn.Module:
        """Build the head of the first pass, linear, and that of the second, on three class tokens."""
        self.coarse_head = nn.Linear(vit.embed_dim, vit.num_classes)
        return joint_head(vit.embed_dim, vit.num_classes)

    def start_head(self) -> None:
        """Draw the layers of both heads by the rule ``head_init``; ``backbone`` leaves them as they are."""
        super().start_head()
        if not self.takes_head:
            start_head(self.coarse_head, self.head_init)

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the projection of the finer patches as torch's convolutions, and the heads."""
        self.finer.proj.reset_parameters()
        return super().start_from_backbone()

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the patches (B, K) that are split; heads ``coarse`` and ``fine``."""
        token, rope, features = self.step("pass 1", self.first_pass, images)
        scores = self.step("selector", self.selector, features)
        index = self.step("selector", best, scores, self.top_k)
        tokens = self.step("pass 2", self.second_pass, images, rope, index)
        heads = {
            "coarse": self.step("fusion", self.coarse_head, token),
            "fine": self.step("fusion", classify_jointly, self.head, tokens, self.published_name),
        }
        return Explanation(heads["fine"], scores, index, heads=heads, token=tokens[-1])

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the patches that are split (B, K, 4)."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropies of both heads and the contrastive term, and the logits."""
        result = self.flow(images)
        assert result.token is not None
        loss = self.cross_entropy(result.logits, targets, result.heads["coarse"])
        return loss + self.contrastive * contrastive_loss(result.token, targets, self.margin), result.logits

    def first_pass(self, images: Tensor) -> tuple[Tensor, Tensor | None, Features]:
        """The class token (B, D), not normalised; rotary positions of all patches, if any; the selector's input."""
        state = self.start(images)
        rope = state.rope  # a reduction leaves those of fewer patches
        class_tokens, _ = self.run_all(state, self.selector)
        return class_tokens[-1], rope, self.encoder.features(state, self.selector.needs)

    def second_pass(self, images: Tensor, rope: Tensor | None, index: Tensor) -> list[Tensor]:
        """The normalised class tokens (B, D) of the last three blocks on the finer patches of patches (B, K)."""
        state = self.finer.start(self.encoder, images, rope, index, published=self.published)
        return [self.encoder.norm(token) for token in self.run_all(state)[0]]
