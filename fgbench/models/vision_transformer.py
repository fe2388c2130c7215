"""The base of all models on a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.models.backbone import build_vit
from fgbench.models.encoder import Encoder, State
from fgbench.models.initialization import DROPOUT_PLACES, HEAD_INITS, set_dropout, start_head
from fgbench.models.model import Explanation, Model
from fgbench.models.options import number, one_of, size_option, whole_number
from fgbench.models.reductions.build import chosen_reduction
from fgbench.models.token_ops import cut, patch_boxes
from fgbench.results.reduced_name import ReducedName
from fgbench_selectors import Features, Needs, Selector
from fgbench_selectors.components import component_boxes


class VisionTransformerModel(Model):
    """Base of the models on a timm ViT: an encoder, a linear head on the class token, perhaps a selector.

    Args:
        backbone: timm's name.
        img_size: Side of the images in pixels, or (height, width) in models that take other than squares.
        num_classes: Classes of the head.
        impl: ``published`` or ``fast``.
        pretrained: Whether timm's weights are loaded.
        overlap: Pixels that neighbouring patches share; as in the paper by default.
        norm_eps: ε of every LayerNorm; timm's own by default.
        label_smoothing: Of the cross-entropy.
        head_init: Initial weights of the head (:data:`fgbench.models.initialization.HEAD_INITS`); by default, after the
            backbone's weights are loaded, those of the released code.
        dropout: Probability that a unit is dropped in training.
        dropout_at: Its place (:data:`fgbench.models.initialization.DROPOUT_PLACES`).
        reduction: Name of a reduction of tokens (``fgbench list reductions``); none by default.
        keep_rate: Share of the tokens that it keeps; that of its paper by default.
        reduction_at: Blocks, from 1, in which it reduces tokens; those of its paper by default.
        reduction_selector: Scores the tokens for it: a name or an instance; the class token's attention by default.
        reduction_options: Options of its own.

    Raises:
        FgbenchError: If an option is wrong, or options do not fit each other.

    """

    overlap: ClassVar[int] = 0  # pixels that patches share in the paper
    needs_class_token: ClassVar[bool] = True
    needs_squares: ClassVar[bool] = True  # whether images of other shapes are refused
    released_head: ClassVar[str] = "backbone"  # initial weights of the head in the released code
    released_dropout_at: ClassVar[str] = "mlp"  # place of dropout in the released code
    # Axes of the scores of a model that has some without a selector; empty for the others.
    score_shape: ClassVar[tuple[str, ...]] = ()
    reduced: ClassVar[ReducedName | None] = None  # the parts of a name such as vit+evit@0.7

    def __init__(
        self,
        backbone: str | None = None,
        *,
        img_size: int | str | tuple[int, int] = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        overlap: int | None = None,
        norm_eps: float | None = None,
        label_smoothing: float = 0.1,
        head_init: str | None = None,
        dropout: float = 0.0,
        dropout_at: str | None = None,
        reduction: str | None = None,
        keep_rate: float | None = None,
        reduction_at: Sequence[int] | int | None = None,
        reduction_selector: str | Selector | None = None,
        reduction_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(impl, label_smoothing)
        self.head_init = one_of(self.released_head if head_init is None else head_init, "head_init", HEAD_INITS)
        self.dropout = number(dropout, "dropout", 0, 0.999)
        place = self.released_dropout_at if dropout_at is None else dropout_at
        self.dropout_at = one_of(place, "place for dropout", DROPOUT_PLACES)
        name = self.default_backbone if backbone is None else backbone
        size = size_option(img_size, 1, square=self.needs_squares, name=type(self).__name__.lower())
        whole_number(num_classes, "num_classes", 1)
        shared_pixels = whole_number(type(self).overlap if overlap is None else overlap, "overlap", 0)
        vit: Any = build_vit(name, size, num_classes, pretrained=pretrained, overlap=shared_pixels)
        self.change_blocks(vit)
        self.head: nn.Module = self.build_head(vit)
        vit.head = nn.Identity()
        self.drop_other_readouts(vit)
        self.encoder = Encoder(vit, name, size, class_token=self.needs_class_token)
        self.num_classes = num_classes
        given = {
            "keep_rate": keep_rate,
            "at": reduction_at,
            "selector": reduction_selector,
            **(reduction_options or {}),
        }
        found = chosen_reduction(self.encoder, self.reduced, reduction, given, self.impl)
        self.encoder.reduction, self.reduction_options = found
        self.two_impls = self.two_impls or (self.reduction is not None and self.reduction.two_impls)
        if norm_eps is not None:
            self.set_norm_eps(number(norm_eps, "norm_eps", 0, 1))
        if head_init is not None:
            self.start_head()
        self.apply_dropout()

    @property
    def takes_head(self) -> bool:
        """Whether ``head_init`` is ``backbone``."""
        return self.head_init == "backbone"

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the head, unless it is that of the backbone. A reduction keeps the weights that it was built with."""
        self.start_head()
        learns = self.reduction is not None and any(True for _ in self.reduction.parameters())
        return ("encoder.reduction.",) if learns else ()

    def change_blocks(self, vit: Any) -> None:
        """Change the blocks of timm's module, before anything is made for them."""

    def build_head(self, vit: Any) -> nn.Module:
        """The head of the model: that of timm's module, or another one."""
        head: nn.Module = vit.head
        return head

    def start_head(self) -> None:
        """Draw the head by the rule ``head_init``, unless it is that of the backbone."""
        if not self.takes_head:
            for head in (self.head, getattr(self, "head_dist", None)):
                if head is not None:
                    start_head(head, self.head_init)

    def apply_dropout(self) -> None:
        """Set dropout; on residual branches stochastic depth replaces it, as in GLSim's code."""
        is_replaced = self.dropout_at == "branches" and self.has_stochastic_depth
        set_dropout(self, 0.0 if is_replaced else self.dropout, self.dropout_at)

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels; of a model that takes others, it may be height × width."""
        return self.encoder.image_size  # type: ignore[return-value]

    @property
    def reads_as_backbone(self) -> bool:
        """Whether timm's head of this backbone reads the class token, so that its weights can be used."""
        return bool(self.encoder.vit.global_pool == "token")

    @property
    def selection_depth(self) -> int:
        """Number of blocks that have run when the model selects."""
        return self.encoder.depth

    def drop_other_readouts(self, vit: Any) -> None:
        """Remove modules that read other tokens than the class token: a second head, attention pooling."""
        if hasattr(vit, "head_dist"):
            vit.head_dist = nn.Identity()
        if getattr(vit, "attn_pool", None) is not None:
            vit.attn_pool = None

    def start(self, images: Tensor) -> State:
        """The state before block 1 of the model's first pass."""
        return self.encoder.start(images)

    def depth_for(self, needs: Needs) -> int:
        """Number of blocks that a selector reads from: L, or those that have run where it would read a later one."""
        ran, depth = self.selection_depth, self.encoder.depth
        return depth if all(block < ran for block in self.encoder.recorded_blocks(needs)) else ran

    def record(self, images: Tensor, needs: Sequence[Needs]) -> list[Features]:
        """Run one pass up to the selection, and return the input of several selectors.

        Queries and keys of every block stay in memory as long as the features.

        Args:
            images: (B, 3, S, S).
            needs: Needs of the selectors.

        Returns:
            The input of each selector.

        Raises:
            FeaturesError: If a selector needs nothing that the model has.

        """
        state = self.start(images)
        all_blocks = None if all(need.blocks is None for need in needs) else Needs(blocks=slice(None))
        self.run_to_selection(state, all_blocks)
        logits = self.token_logits(state) if any(need.class_logits for need in needs) else None
        return [
            self.encoder.features(state, need, depth=self.depth_for(need), class_logits=logits).declared(need)
            for need in needs
        ]

    @property
    def classifies_tokens(self) -> bool:
        """Whether the head is one linear layer that reads a token, so that every token has logits."""
        return isinstance(self.head, nn.Linear) and self.head.in_features == self.encoder.embed_dim

    def token_logits(self, state: State) -> Tensor | None:
        """The head's logits (B, N, classes) of every normalised token of a state; None where it reads others.

        Where tokens were reduced, a token of the image has the logits of the one that it is in.
        """
        if not self.classifies_tokens:
            return None
        logits: Tensor = self.head(self.encoder.norm(state.tokens)).detach()
        return logits if state.sources is None else state.sources.lift(logits)

    def run_to_selection(self, state: State, record: Needs | None) -> None:
        """Run the blocks before the selection from the state before block 1, and record the needs of a selector."""
        self.encoder.run(state, range(self.selection_depth), record)

    def read(self, images: Tensor, selector: Selector) -> tuple[Tensor, Features]:
        """Run a full pass on images (B, 3, S, S).

        Returns:
            The normalised tokens (B, N, D), and the input of the selector.

        """
        return self.finish(self.start(images), selector)

    def finish(self, state: State, selector: Selector) -> tuple[Tensor, Features]:
        """Run all blocks from the state before block 1; results as of :meth:`read`."""
        self.encoder.run(state, range(self.encoder.depth), selector.needs, maps=self.keeps_maps(selector))
        return self.encoder.norm(state.tokens), self.encoder.features(state, selector.needs)

    def keeps_maps(self, selector: Selector) -> bool:
        """Whether the encoder builds N×N maps: for a published selector that reads attention."""
        return self.published and selector.needs.blocks is not None

    def class_token(self, images: Tensor, class_token: Tensor | None = None) -> Tensor:
        """The normalised class token (B, 1, D) after a pass on images; ``class_token`` (1, 1, D) replaces it."""
        return self.last_token(self.encoder.start(images, class_token))

    def last_token(self, state: State, index: int = 0) -> Tensor:
        """The normalised prefix token ``index`` (B, 1, D). The published codes run the last block on all tokens."""
        if self.published:
            self.encoder.run(state, range(self.encoder.depth))
            return self.encoder.norm(state.tokens)[:, index : index + 1]
        self.encoder.run(state, range(self.encoder.depth - 1))
        return self.encoder.last_block_token(state, index)

    def with_patch_boxes(self, explanation: Explanation, prefix: int = 0) -> Explanation:
        """Add a box per selected token.

        Args:
            explanation: Results with selected tokens.
            prefix: The number of prefix tokens among the selectable tokens; their box is the whole image.

        Returns:
            The results with boxes.

        """
        assert explanation.selected is not None
        encoder, side = self.encoder, self.image_size
        patches = explanation.selected.flatten(1) - prefix
        boxes = patch_boxes(patches.clamp_min(0), encoder.grid, encoder.patch_size, encoder.stride)
        is_prefix = (patches < 0).unsqueeze(-1)
        starts, ends = boxes[..., :2].masked_fill(is_prefix, 0), boxes[..., 2:].masked_fill(is_prefix, side)
        return replace(explanation, boxes=torch.cat([starts, ends], dim=-1))

    def crop_component(self, images: Tensor, scores: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """Cut out a component of high scores.

        Args:
            images: (B, 3, S, S).
            scores: Patch scores (B, G²).
            options: Options of :func:`fgbench_selectors.components.component_boxes`.

        Returns:
            Boxes (B, 4) and crops (B, 3, S, S).

        """
        grid, patch, stride = self.encoder.grid, self.encoder.patch_size, self.encoder.stride
        boxes = component_boxes(scores, grid, patch, self.image_size, stride=stride, **options)
        return boxes, self.cut(images, boxes)

    def cut(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Crops (B, 3, S, S) of boxes (B, 4), without gradient."""
        return cut(images.detach(), boxes, self.image_size, published=self.published)
