"""GLSim (Rios, Hu & Lai, arXiv 2407.12891): global–local similarity, a crop, and an aggregator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from fgbench.errors import FgbenchError
from fgbench.models.checkpoints.names import FGBENCH, PORT, written_options
from fgbench.models.initialization import BLOCK_INITS, start_block
from fgbench.models.model import Explanation
from fgbench.models.options import one_of, whole_number, yes_or_no
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Selector
from fgbench_selectors.entries import RULES
from fgbench_selectors.regions import top_k_boxes

AGGREGATORS = ("vit", "backbone")
PORT_EPS = 1e-5  # ε of the norm after the aggregator in the authors' port to timm: torch's default


class GLSim(VisionTransformerModel):
    """Two passes: the image; the crop around the patches most similar to the class token; one block on both tokens.

    A checkpoint of the authors' port to timm sets ``crop_class_token``, ``encoder_norm`` and ``aggregator`` by itself.
    Source: GLSim, sections 3.2–3.4 and 4; released code, and its port to timm.

    Args:
        backbone: timm's name.
        selector: GLS by default.
        top_k: Number of patches that the crop holds; by default 8 at 224 pixels and in proportion, 16 at 448 (the paper
            has 16 at 224 for Dogs).
        rule: Box rule of :func:`fgbench_selectors.regions.top_k_boxes`.
        crop_class_token: Whether the crop has a class token of its own, as in the paper's text; the released code
            creates one and does not use it.
        encoder_norm: Whether the encoder has its last norm; the port has none.
        aggregator: ``vit``, a plain block; or ``backbone``, a block like those of the backbone with ε 1e-5 in the norm
            after it, as in the port.
        block_init: Initial weights of the aggregator (:data:`fgbench.models.initialization.BLOCK_INITS`); Xavier's rule
            in the released code.
        options: Options of :class:`VisionTransformerModel`.

    """

    group = "regions"
    year = 2024
    passes = 2
    published_selector = "gls"
    accepts = (("batch", "patches"),)
    released_head = "zeros"
    released_dropout_at = "branches"

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        top_k: int | None = None,
        rule: str = "released",
        crop_class_token: bool = False,
        encoder_norm: bool = True,
        aggregator: str = "vit",
        block_init: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth)
        patches = self.encoder.num_patches
        default = max(1, min(round(8 * self.image_size / 224), patches))
        self.top_k = default if top_k is None else whole_number(top_k, "top_k", 1, patches)
        self.rule = one_of(rule, "box rule", RULES)
        own_token = yes_or_no(crop_class_token, "crop_class_token")
        token = nn.Parameter(torch.empty(1, 1, self.encoder.embed_dim)) if own_token else None
        self.crop_class_token: nn.Parameter | None = token
        if not yes_or_no(encoder_norm, "encoder_norm"):
            self.encoder.vit.norm = nn.Identity()
        width, norm = self.encoder.embed_dim, type_of_norm(self)
        self.aggregator: nn.Module
        if one_of(aggregator, "aggregator", AGGREGATORS) == "backbone":
            self.aggregator, self.aggregator_norm = self.block_of_backbone(), nn.LayerNorm(width, eps=PORT_EPS)
        else:
            self.aggregator = Block(width, num_heads=max(1, width // 64), qkv_bias=True, norm_layer=norm)
            self.aggregator_norm = norm(width)
        self.block_init = one_of("released" if block_init is None else block_init, "block_init", BLOCK_INITS)
        self.start_crop_token()
        if options.get("pretrained"):
            self.start_from_backbone()
        elif block_init is not None:
            self.start_aggregator()
        self.apply_dropout()

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, similarity scores, the box and the crop."""
        tokens, features = self.step("pass 1", self.read, images, self.selector)
        scores = self.step("selector", self.selector, features)
        boxes, crops = self.step("crop", self.crop, images, scores)
        token = self.step("pass 2", self.class_token, crops, self.crop_class_token)
        logits = self.step("fusion", self.aggregate, tokens[:, :1], token)
        return Explanation(logits, scores, boxes=boxes.unsqueeze(1), crops=crops.unsqueeze(1))

    @torch.no_grad()
    def start_crop_token(self) -> tuple[str, ...]:
        """Set the class token of the crop to that of the image."""
        if self.crop_class_token is None:
            return ()
        self.crop_class_token.copy_(self.encoder.vit.cls_token)
        return ("crop_class_token",)

    def adapt(
        self, source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> tuple[list[str], Callable[[], None]]:
        """Change to the authors' port to timm where the file holds one: class token of the crop, norms, aggregator."""
        wanted = variant_of(source, weights, metadata)
        if "aggregator.norm1.weight" in weights:
            self.refuse_variant("crop_class_token", wanted.get("crop_class_token", False))
            self.refuse_variant("encoder_norm", wanted.get("encoder_norm", True))
            if source != FGBENCH or "aggregator" in wanted:  # the names of weights are the same for both aggregators
                self.refuse_variant("aggregator", wanted.get("aggregator", "vit"))
        vit: Any = self.encoder.vit
        names = ("crop_class_token", "aggregator", "aggregator_norm")
        modules, norm, options = {name: getattr(self, name) for name in names}, vit.norm, dict(self.options)
        adapted = self.adapted

        def undo() -> None:
            for name, module in modules.items():
                setattr(self, name, module)
            vit.norm, self.options, self.adapted = norm, options, adapted

        changed: dict[str, Any] = {}
        if wanted.get("crop_class_token") and self.crop_class_token is None:
            self.crop_class_token = nn.Parameter(torch.empty_like(vit.cls_token))
            changed["crop_class_token"] = True
        if wanted.get("encoder_norm") is False and not isinstance(norm, nn.Identity):
            vit.norm = nn.Identity()
            changed["encoder_norm"] = False
        if wanted.get("aggregator") == "backbone" and options.get("aggregator") != "backbone":
            self.aggregator = self.block_of_backbone()
            self.aggregator_norm = nn.LayerNorm(self.encoder.embed_dim, eps=PORT_EPS)
            changed["aggregator"] = "backbone"
        self.options |= changed
        self.adapted = self.adapted | changed
        return [f"as the file was trained: {name}={value!r}" for name, value in changed.items()], undo

    def block_of_backbone(self) -> nn.Module:
        """A copy of the backbone's last block."""
        block: nn.Module = copy.deepcopy(self.encoder.vit.blocks[-1])
        if not isinstance(block, Block):
            raise FgbenchError("the backbone's blocks cannot aggregate by themselves:", self.encoder.name)
        return block

    def start_aggregator(self) -> None:
        """Draw the aggregator; its norms become 1 and 0."""
        start_block(self.aggregator, self.block_init, released=("xavier", "xavier"))
        self.aggregator_norm.reset_parameters()

    def start_from_backbone(self) -> tuple[str, ...]:
        """Initialise the class token of the crop; draw the aggregator and the head."""
        self.start_aggregator()
        return self.start_crop_token() + super().start_from_backbone()

    def crop(self, images: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (B, 4) around the best patches, and their crops (B, 3, S, S)."""
        grid, patch, stride = self.encoder.grid, self.encoder.patch_size, self.encoder.stride
        boxes = top_k_boxes(scores, grid, self.top_k, patch, self.rule, stride=stride)
        return boxes, self.cut(images, boxes)

    def aggregate(self, first: Tensor, second: Tensor) -> Tensor:
        """The logits (B, classes) of the class tokens of image and crop, (B, 1, D) each."""
        tokens = self.aggregator(torch.cat([first, second], dim=1))
        logits: Tensor = self.head(self.aggregator_norm(tokens)[:, 0])
        return logits


def variant_of(source: str, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The options of the GLSim that a file holds, by the names of its weights and its metadata.

    Args:
        source: Name of the format.
        weights: The weights by the names of this model.
        metadata: Metadata of a file of fgbench.

    """
    if "aggregator.norm1.weight" not in weights:
        return {}
    options: dict[str, Any] = {"aggregator": "backbone"} if source == PORT else {}
    if "crop_class_token" in weights and source in (PORT, FGBENCH):
        options["crop_class_token"] = True
    if "encoder.vit.norm.weight" not in weights:
        options["encoder_norm"] = False
    written = written_options(metadata)
    return options | {name: written[name] for name in ("aggregator",) if name in written}


def type_of_norm(model: VisionTransformerModel) -> Any:
    """A function that makes a LayerNorm with the ε of the model's encoder."""
    eps = getattr(model.encoder.vit.blocks[0].norm1, "eps", 1e-6)
    return lambda width, **options: nn.LayerNorm(width, eps=eps, **options)
