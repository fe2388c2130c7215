"""ACC-ViT (Zhang et al., Pattern Recognition 2024): a block on the best patches, four heads, collages."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.collage import make_collages
from fgbench.models.encoder import State, cross_block
from fgbench.models.initialization import start_head, start_norms
from fgbench.models.last_three import LastThreeModel
from fgbench.models.model import Explanation
from fgbench.models.options import number, whole_number, yes_or_no
from fgbench.models.token_ops import best
from fgbench_selectors import Features, Selector

HEADS = ("first", "second", "last", "object")  # of blocks L − 2, L − 1 and L, and of the extra block
HEAD_WEIGHTS = (0.2, 0.2, 0.8, 0.8)  # of the released configuration, which is that of CUB; other sets have ones


class ACCViT(LastThreeModel):
    """One pass, and an extra block on the class token and the best patches of block L − 1; four heads.

    The extra block gets no gradient into the blocks before it. Heads with a norm of their own read the class tokens of
    the last three blocks and of the extra block; the logits are their sum by ``head_weights``.

    In training, a second pass is run on collages (:mod:`fgbench.models.collage`), whose labels are mixed. The loss is
    the sum of eight cross-entropies. Rollout has every block, the last one included; its fast row chain reads one row
    of the last map, and all other tokens of that block are not computed.
    Source: ACC-ViT; released code (``model.py``, ``train.py``).

    Args:
        backbone: timm's name.
        selector: Rollout by default.
        ratio: Share of the patches that the extra block reads, rounded down; at least one.
        head_weights: Weights of the logits of the four heads: a list, one number for all, or None for those of CUB,
            0.2, 0.2, 0.8 and 0.8.
        early_weight: Weight of the cross-entropies of the first two heads; the released configuration of Dogs has 0.01.
        collage: Weight of the cross-entropies of collages; 0 runs no second pass.
        cells: Cells per side of a collage.
        fresh_last_norm: Set the norms of all heads to 1 and 0 after the backbone is loaded, as the released code does;
            otherwise they are copies of the backbone's last one.
        options: Options of :class:`VisionTransformerModel`.

    """

    accepts = (("batch", "patches"),)
    released_head = "linear"
    published_name = "ACC-ViT"
    group = "tokens"
    year = 2024
    published_selector = "rollout"

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        ratio: float = 0.2,
        head_weights: float | Sequence[float] | None = None,
        early_weight: float = 1.0,
        collage: float = 1.0,
        cells: int = 4,
        fresh_last_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth)
        self.ratio = number(ratio, "the ratio of selected patches", 0, 1)
        self.top_k = max(1, int(self.ratio * self.encoder.num_patches))
        self.head_weights = weights_of_heads(head_weights)
        self.early_weight, self.collage = number(early_weight, "early_weight", 0), number(collage, "collage", 0)
        self.cells = whole_number(cells, "cells", 2, self.image_size)
        self.fresh_last_norm = yes_or_no(fresh_last_norm, "fresh_last_norm")
        self.first_norm, self.second_norm, self.object_norm = (copy.deepcopy(self.encoder.last_norm) for _ in range(3))
        self.object_block: nn.Module = copy.deepcopy(self.encoder.vit.blocks[-1])
        if options.get("pretrained"):
            self.start_from_backbone()

    def build_head(self, vit: Any) -> nn.Module:
        """Build four heads; that of the last block is timm's."""
        self.first_head, self.second_head, self.object_head = (copy.deepcopy(vit.head) for _ in range(3))
        return super().build_head(vit)

    def start_head(self) -> None:
        """Draw all heads, each by itself, unless they are that of the backbone."""
        super().start_head()
        if not self.takes_head:
            for head in (self.first_head, self.second_head, self.object_head):
                start_head(head, self.head_init)

    def start_from_backbone(self) -> tuple[str, ...]:
        """Copy the weights of the last block to the extra block; set the norms to 1 and 0; draw the heads."""
        self.object_block.load_state_dict(self.encoder.vit.blocks[-1].state_dict())
        names: tuple[str, ...] = ("object_block.", "first_norm.", "second_norm.", "object_norm.")
        if self.fresh_last_norm:
            names += start_norms(self.encoder)
        for norm in (self.first_norm, self.second_norm, self.object_norm):
            norm.load_state_dict(self.encoder.last_norm.state_dict())
        names += super().start_from_backbone()
        if self.takes_head:
            for head in (self.first_head, self.second_head, self.object_head):
                head.load_state_dict(self.head.state_dict())
            names += ("first_head.", "second_head.", "object_head.")
        return names

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the selected patches (B, K); heads ``first``, ``second``, ``last``, ``object``."""
        class_tokens, before_last, features = self.step("pass 1", self.all_blocks, images)
        scores = self.step("selector", self.selector, features)
        token, index = self.step("fusion", self.extra_block, before_last, scores)
        heads = self.step("fusion", self.classify, [*class_tokens, token])
        return Explanation(self.step("fusion", self.weigh, heads), scores, index, heads=heads)

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with the boxes of the selected patches (B, K, 4)."""
        return self.with_patch_boxes(self.flow(images))

    def loss(self, images: Tensor, targets: Tensor, partner: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The weighted sum of the cross-entropies of four heads, of the images and of collages, and the logits.

        Args:
            images: (B, 3, S, S).
            targets: Classes (B,).
            partner: Index (B,) of the image that each collage takes cells from; drawn at random by default.

        """
        result = self.flow(images)
        weights = (self.early_weight, self.early_weight, 1.0, 1.0)
        losses = [w * self.cross_entropy(result.heads[name], targets) for name, w in zip(HEADS, weights, strict=True)]
        if self.collage:
            if partner is None:
                partner = torch.randperm(len(images), device=images.device)
            assert result.scores is not None
            grid = self.encoder.grid
            collages, own, other = make_collages(images, result.scores, partner, grid=grid, cells=self.cells)
            mixed = self.flow(collages).heads
            for name, weight in zip(HEADS, weights, strict=True):
                loss = self.mixed_cross_entropy(mixed[name], (targets, own), (targets[partner], other))
                losses.append(self.collage * weight * loss)
        return sum(losses[1:], losses[0]), result.logits

    def mixed_cross_entropy(self, logits: Tensor, *labels: tuple[Tensor, Tensor]) -> Tensor:
        """The cross-entropy of logits (B, classes) with several labels: classes (B,) and their weights (B,)."""
        smoothing = self.label_smoothing
        losses = [
            functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing) * weights
            for targets, weights in labels
        ]
        return sum(losses[1:], losses[0]).mean()

    def all_blocks(self, images: Tensor) -> tuple[list[Tensor], State, Features]:
        """The class tokens of the last three blocks, the state before block L, and the input of the selector."""
        state = self.start(images)
        class_tokens, before_last = self.run_all(state, self.selector)
        return class_tokens, before_last, self.encoder.features(state, self.selector.needs)

    def extra_block(self, before_last: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Run the extra block on the class token and the best patches.

        Args:
            before_last: The state after block L − 1.
            scores: (B, G²).

        Returns:
            The class token (B, D) after the block, and the selected patches (B, K).

        """
        index = best(scores, self.top_k)
        chosen = self.encoder.patches_at(before_last, index)
        selected = torch.cat([before_last.tokens[:, :1], chosen], dim=1).detach()
        if self.published:
            out: Tensor = self.object_block(selected)
            return out[:, 0], index
        return cross_block(self.object_block, selected[:, :1], selected)[:, 0], index

    def classify(self, tokens: list[Tensor]) -> dict[str, Tensor]:
        """The logits (B, classes) of each head, by the class tokens (B, D) that they read."""
        first, second, last, extra = tokens
        return {
            "first": self.first_head(self.first_norm(first)),
            "second": self.second_head(self.second_norm(second)),
            "last": self.head(self.encoder.norm(last)),
            "object": self.object_head(self.object_norm(extra)),
        }

    def weigh(self, heads: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the logits (B, classes) of the heads."""
        weighted = [weight * heads[name] for name, weight in zip(HEADS, self.head_weights, strict=True)]
        return sum(weighted[1:], weighted[0])


def weights_of_heads(given: float | Sequence[float] | None) -> list[float]:
    """The weights of the four heads.

    Args:
        given: The option.

    Raises:
        FgbenchError: If they are no four numbers from 0, or all of them are 0.

    """
    if given is None:
        return list(HEAD_WEIGHTS)
    if isinstance(given, (list, tuple)):
        if len(given) != len(HEADS):
            raise FgbenchError(f"head_weights needs a number for each of {len(HEADS)} heads, got", list(given))
        weights = [number(weight, "head_weights", 0) for weight in given]
    else:
        weights = [number(given, "head_weights", 0)] * len(HEADS)
    if not any(weights):
        raise FgbenchError("one of head_weights must be more than 0, got", weights)
    return weights
