"""ViT (Dosovitskiy et al., ICLR 2021), and the base of all models on a vision transformer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import build_vit
from fgbench.models.checkpoints.names import EVO_VIT, written_options
from fgbench.models.encoder import Encoder, State
from fgbench.models.initialization import DROPOUT_PLACES, HEAD_INITS, set_dropout, start_head
from fgbench.models.model import Explanation, Model
from fgbench.models.options import number, one_of, size_option, whole_number
from fgbench.models.reductions.build import chosen_reduction, refuse_padding
from fgbench.models.token_ops import cut, patch_boxes
from fgbench.results.reduced_name import ReducedName
from fgbench_selectors import Features, Needs, Selector
from fgbench_selectors.components import component_boxes

READOUTS = ("timm", "class_token", "mean_patch")


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
        return [self.encoder.features(state, need, depth=self.depth_for(need)).declared(need) for need in needs]

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


class ViT(VisionTransformerModel):
    """timm's vision transformer: one pass without selection.

    Source: Dosovitskiy et al., ICLR 2021, section 3.1; GLSim's baseline, section 4; timm.

    Args:
        backbone: timm's name.
        readout: ``timm``, the pooling, last norm and heads that timm has for the backbone: the class token for most,
            the mean of the patches for EVA-02 and the ``gap`` models, attention pooling for SigLIP, the mean of two
            heads for distilled DeiT. ``class_token``, the class token with one head, for files that were trained so.
            ``mean_patch``, the norm of the mean of all patches, as Evo-ViT; in training the class token has a norm and
            a head of its own, and the loss is the mean of both cross-entropies.
        options: Options of :class:`VisionTransformerModel`.

    Raises:
        FgbenchError: If the backbone has no class token and ``readout`` is ``class_token``.

    """

    two_impls = False
    needs_class_token = False
    needs_squares = False

    def __init__(self, backbone: str | None = None, *, readout: str = "timm", **options: Any) -> None:
        self.readout = one_of(readout, "readout", READOUTS)
        super().__init__(backbone, **options)
        if readout != "timm" and not self.encoder.has_class_token:
            raise FgbenchError("the backbone has no class token to classify by:", self.encoder.name, "readout='timm'")
        reads_all = readout == "mean_patch" or (readout == "timm" and self.encoder.vit.global_pool != "token")
        if reads_all:
            refuse_padding(self.reduction, self.encoder.name)
        reads_patches = readout == "mean_patch"
        self.class_norm: nn.Module | None = copy.deepcopy(self.encoder.last_norm) if reads_patches else None
        self.class_head: nn.Module | None = copy.deepcopy(self.head) if reads_patches else None

    @property
    def reads_as_backbone(self) -> bool:
        """True: the readout is that of timm, or was chosen."""
        return True

    def drop_other_readouts(self, vit: Any) -> None:
        """Use timm's second head, or remove modules that the class-token readout does not use."""
        self.head_dist: nn.Module | None = getattr(vit, "head_dist", None) if self.readout == "timm" else None
        if self.readout != "timm":
            super().drop_other_readouts(vit)
        elif self.head_dist is not None:
            vit.head_dist = nn.Identity()

    def leaves_out(self, name: str) -> bool:
        """Other readouts than timm's leave out a second head and attention pooling."""
        unused = ("head_dist.", "encoder.vit.attn_pool.")
        return self.readout != "timm" and name.startswith(unused)

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Read the class token where a file of fgbench was written before there was another readout."""
        vit: Any = self.encoder.vit
        if source == EVO_VIT.name and self.readout != "mean_patch":
            do = "build the model with readout='mean_patch'"
            raise FgbenchError(
                "a file of Evo-ViT classifies by the mean of all patches, and the model by", self.readout, do
            )
        is_earlier_file = source == "fgbench" and "options" not in metadata and "head_dist.weight" not in weights
        if not is_earlier_file:
            self.refuse_variant("readout", written_options(metadata).get("readout", "timm"))
        reads_class_token = self.readout == "class_token" or (vit.global_pool == "token" and self.head_dist is None)
        if source != "fgbench" or "options" in metadata or reads_class_token or not self.encoder.has_class_token:
            return [], lambda: None
        if metadata.get("format") != "fgbench" and (self.head_dist is None or "head_dist.weight" in weights):
            return ["the file does not say what its classifier reads; timm's readout is assumed"], lambda: None
        readout, head_dist, attn_pool = self.readout, self.head_dist, getattr(vit, "attn_pool", None)
        options = self.options

        def undo() -> None:
            self.readout, self.head_dist = readout, head_dist
            self.options, self.adapted = options, {}
            if attn_pool is not None:
                vit.attn_pool = attn_pool

        self.readout, self.head_dist = "class_token", None
        VisionTransformerModel.drop_other_readouts(self, vit)
        self.adapted = {"readout": self.readout}
        self.options = self.options | self.adapted
        return ["the class token is read, as it was when the file was written (readout='class_token')"], undo

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the head; the norm and the head of the class token, where it has some, start like the others."""
        names = super().start_from_backbone()
        if self.class_norm is None or self.class_head is None:
            return names
        self.class_norm.load_state_dict(self.encoder.last_norm.state_dict())
        self.class_head.load_state_dict(self.head.state_dict())
        return (*names, "class_norm.", "class_head.")

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy, or the mean of those of both heads; and the logits."""
        if self.class_head is None or not self.training:
            return super().loss(images, targets)
        tokens = self.encode(images)
        logits = self.classify(tokens)
        return self.cross_entropy(logits, targets, self.class_head(tokens[:, 1])) / 2, logits

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        tokens = self.step("pass 1", self.encode, images)
        return Explanation(self.step("fusion", self.classify, tokens))

    def encode(self, images: Tensor) -> Tensor:
        """The tokens (B, N, D) of images (B, 3, S, S) that the classifier reads."""
        if self.readout == "class_token":
            return self.encoder(images)  # type: ignore[no-any-return]
        state = self.start(images)
        self.encoder.run(state, range(self.encoder.depth))
        if self.class_norm is not None:
            patches = state.tokens[:, self.encoder.prefix_of(state) :]
            mean = self.encoder.norm(patches.mean(dim=1, keepdim=True))
            first = state.tokens[:, :1]
            return torch.cat([mean, self.class_norm(first)], dim=1) if self.training else mean
        tokens: Tensor = self.encoder.vit.norm(state.tokens)
        return tokens

    def classify(self, tokens: Tensor) -> Tensor:
        """The logits (B, classes) of tokens (B, N, D)."""
        if self.readout != "timm":
            logits: Tensor = self.head(tokens[:, 0])
        elif self.head_dist is not None:
            drop = self.encoder.vit.head_drop
            logits = (self.head(drop(tokens[:, 0])) + self.head_dist(drop(tokens[:, 1]))) / 2
        else:
            logits = self.head(self.encoder.vit.forward_head(tokens, pre_logits=True))
        return logits
