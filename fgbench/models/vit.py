"""ViT: the plain vision transformer (Dosovitskiy et al., ICLR 2021), and what every model built on one shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.backbone import build_vit
from fgbench.models.checkpoints.names import written_options
from fgbench.models.encoder import Encoder, State
from fgbench.models.initialization import DROPOUT_PLACES, HEAD_INITS, set_dropout, start_head
from fgbench.models.model import Explanation, Model
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.token_ops import cut, patch_boxes
from fgbench_selectors import Features, Needs, Selector
from fgbench_selectors.components import component_boxes

READOUTS = ("timm", "class_token")


class VisionTransformerModel(Model):
    """Base of the models on a timm ViT: its encoder, a linear head on the class token, maybe a selector.

    ``backbone`` is timm's name, ``img_size`` the side of square images in pixels, ``overlap`` the pixels that
    neighbouring patches share, ``norm_eps`` the ε of every LayerNorm (timm's own by default). ``head_init`` is how
    the head begins (:data:`fgbench.models.initialization.HEAD_INITS`): on a backbone's weights as the model's released
    code has it, by default. ``dropout`` is the probability that a unit is dropped in training, ``dropout_at`` the
    place (:data:`fgbench.models.initialization.DROPOUT_PLACES`).
    """

    overlap: ClassVar[int] = 0  # pixels, where the paper has overlapping patches
    needs_class_token: ClassVar[bool] = True
    released_head: ClassVar[str] = "backbone"  # how the released code starts the head on a backbone's weights
    released_dropout_at: ClassVar[str] = "mlp"  # where the released code has its dropout

    def __init__(
        self,
        backbone: str | None = None,
        *,
        img_size: int = 224,
        num_classes: int = 200,
        impl: str = "fast",
        pretrained: bool = False,
        overlap: int | None = None,
        norm_eps: float | None = None,
        label_smoothing: float = 0.1,
        head_init: str | None = None,
        dropout: float = 0.0,
        dropout_at: str | None = None,
    ) -> None:
        super().__init__(impl, label_smoothing)
        self.head_init = one_of(self.released_head if head_init is None else head_init, "head_init", HEAD_INITS)
        self.dropout = number(dropout, "dropout", 0, 0.999)
        place = self.released_dropout_at if dropout_at is None else dropout_at
        self.dropout_at = one_of(place, "place for dropout", DROPOUT_PLACES)
        name = self.default_backbone if backbone is None else backbone
        whole_number(img_size, "img_size", 1)
        whole_number(num_classes, "num_classes", 1)
        shared = whole_number(type(self).overlap if overlap is None else overlap, "overlap", 0)
        vit: Any = build_vit(name, img_size, num_classes, pretrained=pretrained, overlap=shared)
        self.head: nn.Module = vit.head
        vit.head = nn.Identity()
        self.drop_other_readouts(vit)
        self.encoder = Encoder(vit, name, img_size, class_token=self.needs_class_token)
        self.num_classes = num_classes
        if norm_eps is not None:
            self.set_norm_eps(number(norm_eps, "norm_eps", 0, 1))
        if head_init is not None:
            self.start_head()
        self.apply_dropout()

    @property
    def takes_head(self) -> bool:
        """As ``head_init`` says."""
        return self.head_init == "backbone"

    def start_from_backbone(self) -> tuple[str, ...]:
        """Draw the head, unless it is the backbone's own; the names of what else was started are returned."""
        self.start_head()
        return ()

    def start_head(self) -> None:
        """Draw the head as ``head_init`` says."""
        if not self.takes_head:
            for head in (self.head, getattr(self, "head_dist", None)):
                if head is not None:
                    start_head(head, self.head_init)

    def apply_dropout(self) -> None:
        """Set the dropout of every block; on residual branches it gives way to stochastic depth, as in GLSim's code."""
        idle = self.dropout_at == "branches" and self.has_stochastic_depth
        set_dropout(self, 0.0 if idle else self.dropout, self.dropout_at)

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.encoder.image_size

    @property
    def reads_as_backbone(self) -> bool:
        """Whether the head reads what timm's head of this backbone reads, so that its weights mean the same here."""
        return bool(self.encoder.vit.global_pool == "token")

    @property
    def selection_depth(self) -> int:
        """Blocks that have run when the model selects."""
        return self.encoder.depth

    def drop_other_readouts(self, vit: Any) -> None:
        """Remove what reads other tokens than the class token: a distilled model's second head, attention pooling."""
        if hasattr(vit, "head_dist"):
            vit.head_dist = nn.Identity()
        if getattr(vit, "attn_pool", None) is not None:
            vit.attn_pool = None

    def start(self, images: Tensor) -> State:
        """Embedded images, as the model's first pass begins."""
        return self.encoder.start(images)

    def depth_for(self, needs: Needs) -> int:
        """Blocks that a selector is told of: L, or those that have run, if it would read one that has not."""
        ran, depth = self.selection_depth, self.encoder.depth
        return depth if all(block < ran for block in self.encoder.recorded_blocks(needs)) else ran

    def record(self, images: Tensor, needs: Sequence[Needs]) -> list[Features]:
        """One pass up to where the model selects, and of it what each of several selectors declares.

        Queries and keys of every block are held as long as the features are. Raises :class:`FeaturesError` where a
        selector declares nothing that the model has.
        """
        state = self.start(images)
        everything = None if all(each.blocks is None for each in needs) else Needs(blocks=slice(None))
        self.encoder.run(state, range(self.selection_depth), everything)
        return [self.encoder.features(state, each, depth=self.depth_for(each)).declared(each) for each in needs]

    def read(self, images: Tensor, selector: Selector) -> tuple[Tensor, Features]:
        """A full pass: normalised tokens (B, N, D), and what the selector reads of it."""
        return self.finish(self.start(images), selector)

    def finish(self, state: State, selector: Selector) -> tuple[Tensor, Features]:
        """The same from embedded images."""
        self.encoder.run(state, range(self.encoder.depth), selector.needs, maps=self.keeps_maps(selector))
        return self.encoder.norm(state.tokens), self.encoder.features(state, selector.needs)

    def keeps_maps(self, selector: Selector) -> bool:
        """Whether the encoder builds N×N maps: only a published selector that reads attention wants them."""
        return self.published and selector.needs.blocks is not None

    def class_token(self, images: Tensor, class_token: Tensor | None = None) -> Tensor:
        """A pass of which only the normalised class token is read, (B, 1, D)."""
        return self.last_token(self.encoder.start(images, class_token))

    def last_token(self, state: State, index: int = 0) -> Tensor:
        """The normalised prefix token ``index``; the published codes compute all the others' last block with it."""
        if self.published:
            self.encoder.run(state, range(self.encoder.depth))
            return self.encoder.norm(state.tokens)[:, index : index + 1]
        self.encoder.run(state, range(self.encoder.depth - 1))
        return self.encoder.last_block_token(state, index)

    def with_patch_boxes(self, found: Explanation, prefix: int = 0) -> Explanation:
        """Add a box per selected token; the first ``prefix`` tokens have no place in the image and get all of it."""
        assert found.selected is not None
        encoder, side = self.encoder, self.image_size
        patches = found.selected.flatten(1) - prefix
        boxes = patch_boxes(patches.clamp_min(0), encoder.grid, encoder.patch_size, encoder.stride)
        nowhere = (patches < 0).unsqueeze(-1)
        boxes = torch.cat([boxes[..., :2].masked_fill(nowhere, 0), boxes[..., 2:].masked_fill(nowhere, side)], dim=-1)
        return replace(found, boxes=boxes)

    def crop_component(self, images: Tensor, scores: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
        """Boxes (B, 4) around a component of high scores (B, G²), and their crops (B, 3, S, S).

        ``how`` is what :func:`fgbench_selectors.components.component_boxes` takes.
        """
        grid, patch, stride = self.encoder.grid, self.encoder.patch_size, self.encoder.stride
        boxes = component_boxes(scores, grid, patch, self.image_size, stride=stride, **how)
        return boxes, self.cut(images, boxes)

    def cut(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Crops (B, 3, S, S) of boxes (B, 4), without gradient."""
        return cut(images.detach(), boxes, self.image_size, published=self.published)


class ViT(VisionTransformerModel):
    """timm's vision transformer: one pass, no selection, and what timm's classifier reads of it.

    ``readout`` is ``timm`` by default: the pooling, last norm and heads that timm has for the backbone. That is the
    class token for most, the mean of the patches for EVA-02 and the ``gap`` models, attention pooling for SigLIP, and
    the mean of two heads for distilled DeiT. ``class_token`` reads the class token with one head instead, for files
    that were trained so. A backbone without a class token has timm's readout alone.
    Source: Dosovitskiy et al., ICLR 2021, section 3.1; GLSim's baseline, section 4; timm.
    """

    two_impls = False
    needs_class_token = False

    def __init__(self, backbone: str | None = None, *, readout: str = "timm", **options: Any) -> None:
        self.readout = one_of(readout, "readout", READOUTS)
        super().__init__(backbone, **options)
        if readout == "class_token" and not self.encoder.has_class_token:
            raise FgbenchError("the backbone has no class token to classify by:", self.encoder.name, "readout='timm'")

    @property
    def reads_as_backbone(self) -> bool:
        """The readout is timm's, or one that was asked for."""
        return True

    def drop_other_readouts(self, vit: Any) -> None:
        """Take the second head over from timm, or remove what the class-token readout has no use for."""
        self.head_dist: nn.Module | None = getattr(vit, "head_dist", None) if self.readout == "timm" else None
        if self.readout == "class_token":
            super().drop_other_readouts(vit)
        elif self.head_dist is not None:
            vit.head_dist = nn.Identity()

    def leaves_out(self, name: str) -> bool:
        """A second head or attention pooling is not missed where the class-token readout was asked for."""
        others = ("head_dist.", "encoder.vit.attn_pool.")
        return self.readout == "class_token" and name.startswith(others)

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Read the class token where a file of our own was written before there was another readout."""
        vit: Any = self.encoder.vit
        of_before = source == "fgbench" and "options" not in metadata and "head_dist.weight" not in weights
        if not of_before:
            self.refuse_variant("readout", written_options(metadata).get("readout", "timm"))
        alike = self.readout == "class_token" or (vit.global_pool == "token" and self.head_dist is None)
        if source != "fgbench" or "options" in metadata or alike or not self.encoder.has_class_token:
            return [], lambda: None
        if metadata.get("format") != "fgbench" and (self.head_dist is None or "head_dist.weight" in weights):
            return ["the file does not say what its classifier reads; timm's readout is assumed"], lambda: None
        kept = self.readout, self.head_dist, getattr(vit, "attn_pool", None)
        options = self.options

        def undo() -> None:
            self.readout, self.head_dist = kept[0], kept[1]
            self.options, self.adapted = options, {}
            if kept[2] is not None:
                vit.attn_pool = kept[2]

        self.readout, self.head_dist = "class_token", None
        VisionTransformerModel.drop_other_readouts(self, vit)
        self.adapted = {"readout": self.readout}
        self.options = self.options | self.adapted
        return ["the class token is read, as it was when the file was written (readout='class_token')"], undo

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits."""
        tokens = self.step("pass 1", self.encode, images)
        return Explanation(self.step("fusion", self.classify, tokens))

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) → tokens (B, N, D) as the classifier takes them."""
        if self.readout == "class_token":
            return self.encoder(images)  # type: ignore[no-any-return]
        state = self.start(images)
        self.encoder.run(state, range(self.encoder.depth))
        tokens: Tensor = self.encoder.vit.norm(state.tokens)
        return tokens

    def classify(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) → logits (B, classes)."""
        if self.readout == "class_token":
            logits: Tensor = self.head(tokens[:, 0])
        elif self.head_dist is not None:
            drop = self.encoder.vit.head_drop
            logits = (self.head(drop(tokens[:, 0])) + self.head_dist(drop(tokens[:, 1]))) / 2
        else:
            logits = self.head(self.encoder.vit.forward_head(tokens, pre_logits=True))
        return logits
