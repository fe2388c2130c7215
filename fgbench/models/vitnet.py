"""ViT-NeT (Kim et al., ICML 2022): a tree of prototypes over the last tokens of a Swin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from fgbench.errors import FgbenchError
from fgbench.models.model import Explanation
from fgbench.models.options import whole_number, yes_or_no
from fgbench.models.pyramid import SWIN, family_of
from fgbench.models.token_ops import patch_boxes
from fgbench.models.tree import PrototypeTree
from fgbench.models.windows import WindowedModel, WindowedPyramid
from fgbench.results.image_size import height_width

MOST_LEVELS = 8  # of the tree: its leaves double with each
SMALLEST = 1e-12  # added to probabilities before their logarithm


class ViTNeT(WindowedModel):
    """A tree of prototypes sorts the patches of the last stage of a Swin; its leaves and a linear head classify.

    The logits are the logarithms of the tree's prediction (:class:`fgbench.models.tree.PrototypeTree`). Where a
    similarity exceeds 1, entries of the prediction can be negative; they count as 0. The loss is the negative
    log-likelihood of the prediction with label smoothing. The stage ``tree`` is the tree; ``fusion`` the linear head on
    the mean of the tokens, whose logits every leaf adds.

    ``published`` runs the branches and leaves one by one, ``fast`` all of a level together.
    Source: ViT-NeT, section 3; released code.

    Args:
        backbone: A Swin of timm.
        tree_depth: Branches on the path to a leaf: of the tree's 2^depth leaves.
        prototype_order: The prototype of each branch in pre-order (a branch, its left side, its right side): a list of
            all numbers from 0, or ``preorder``, which counts them. ``released`` iterates over a set of modules as the
            released code does, which are hashed by their address: every process, and every model in it, may have
            another order, and no file has it.
        hard: Whether every branch gives all weight to its heavier child at test.
        options: Options of :class:`fgbench.models.windows.WindowedModel`.

    Raises:
        FgbenchError: If an option is wrong, or the backbone is no Swin.

    """

    default_backbone = "swin_base_patch4_window7_224"
    group = "parts"
    year = 2022

    def __init__(
        self,
        backbone: str | None = None,
        *,
        tree_depth: int = 4,
        prototype_order: str | Sequence[int] = "preorder",
        hard: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.hard = yes_or_no(hard, "hard")
        whole_number(tree_depth, "tree_depth", 1, MOST_LEVELS)
        width = self.pyramid.levels[-1].width
        self.tree = PrototypeTree(width, self.num_classes, tree_depth, prototype_order)
        self.head = self.build_head(width)

    def build_pyramid(self, name: str, **options: Any) -> WindowedPyramid:
        """A Swin with its last norm."""
        if family_of(name) != SWIN:
            why = "ViT-NeT is published on a Swin, which is not"
            raise FgbenchError(why, name, "on a DeiT it is DeiT-NeT, whose details are not published")
        return WindowedPyramid(name, self.image_size, last_norm=True, **options)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits (B, classes), the logarithms of probabilities; heads ``linear`` and ``tree``."""
        return self.decide(self.step("pass 1", self.last_tokens, images))

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with what decides about an image: the branches on the path of heavier children.

        ``selected`` are the patches (B, depth) nearest to their prototypes, from the root on, with their boxes
        (B, depth, 4). The scores (B, S) are the largest similarity of each patch to one of these prototypes.
        """
        tokens = self.step("pass 1", self.last_tokens, images)
        seen, level = self.tree.path(tokens), self.pyramid.levels[-1]
        nearest = seen.argmax(dim=-1)
        boxes = patch_boxes(nearest, level.grid, level.stride, level.stride).clamp(max=height_width(self.image_size)[0])
        return replace(self.decide(tokens), scores=seen.amax(dim=1), selected=nearest, boxes=boxes)

    def decide(self, tokens: Tensor) -> Explanation:
        """The logits of tokens (B, S, D), and both heads."""
        linear = self.step("fusion", self.classify, tokens)
        logits = self.step("tree", self.ask_the_tree, tokens, linear)
        return Explanation(logits, heads={"tree": logits, "linear": linear})

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The negative log-likelihood of the tree's prediction with label smoothing, and the logits."""
        logits = self.flow(images).logits
        own = -logits.gather(1, targets.unsqueeze(1)).mean()
        return (1 - self.label_smoothing) * own - self.label_smoothing * logits.mean(), logits

    def last_tokens(self, images: Tensor) -> Tensor:
        """The normalised tokens (B, S, D) of the last stage."""
        tokens: Tensor = self.pyramid(images)[-1]
        return tokens

    def classify(self, tokens: Tensor) -> Tensor:
        """The logits (B, classes) of the linear head."""
        logits: Tensor = self.head(tokens.mean(dim=1))
        return logits

    def ask_the_tree(self, tokens: Tensor, linear: Tensor) -> Tensor:
        """The logarithm of the tree's prediction (B, classes); in training every decision is soft."""
        hard = self.hard and not self.training
        mixture: Tensor = self.tree(tokens, linear, published=self.published, hard=hard)
        return (mixture.clamp_min(0) + SMALLEST).log()
