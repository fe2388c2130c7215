"""GLSim (Rios, Hu & Lai, arXiv 2407.12891): global–local similarity, a crop, and an aggregator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
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
FUSIONS = ("aggregator", "confidence")
PORT_EPS = 1e-5  # ε of the norm after the aggregator in the authors' port to timm: torch's default


class GLSim(VisionTransformerModel):
    """Two passes: the image; the crop around the patches most similar to the class token; one block on both tokens.

    A checkpoint of the authors' port to timm sets ``crop_class_token``, ``encoder_norm`` and ``aggregator`` by itself.
    ``crops=False`` and ``aggregator=False`` leave out components, as the ablations of sections 5.4 and D.3 do: without
    crops the aggregator reads the class token of the image alone; without it one head reads both class tokens, each
    learns by its cross-entropy, and the more confident of the two predictions is taken.
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
        aggregator: ``vit``, a plain block; ``backbone``, a block like those of the backbone with ε 1e-5 in the norm
            after it, as in the port; or False, none.
        crops: Whether a crop is selected and read.
        fusion: ``aggregator``; or ``confidence``, of two predictions the one with the higher largest probability. It
            follows from ``aggregator`` by default.
        metric: Measure of similarity of GLS: ``cosine``, ``l1`` or ``l2``. Table 14.
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
        aggregator: str | bool = "vit",
        crops: bool = True,
        fusion: str | None = None,
        metric: str = "cosine",
        block_init: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.fusion = _check_components(aggregator, fusion, selector, crops=yes_or_no(crops, "crops"), metric=metric)
        self.selector: Selector | None = None
        if crops:
            self.selector = self.use_selector(selector, depth=self.encoder.depth, metric=metric)
        patches = self.encoder.num_patches
        default = max(1, min(round(8 * self.image_size / 224), patches))
        self.top_k = default if top_k is None else whole_number(top_k, "top_k", 1, patches)
        self.rule = one_of(rule, "box rule", RULES)
        own_token = yes_or_no(crop_class_token, "crop_class_token")
        _refuse_without(crops, "crops", top_k=top_k, crop_class_token=own_token or None)
        _refuse_without(aggregator, "an aggregator", block_init=block_init)
        token = nn.Parameter(torch.empty(1, 1, self.encoder.embed_dim)) if own_token else None
        self.crop_class_token: nn.Parameter | None = token
        if not yes_or_no(encoder_norm, "encoder_norm"):
            self.encoder.vit.norm = nn.Identity()
        width, norm = self.encoder.embed_dim, type_of_norm(self)
        self.aggregator: nn.Module | None = None
        self.aggregator_norm: nn.LayerNorm | None = None
        if aggregator == "backbone":
            self.aggregator, self.aggregator_norm = self.block_of_backbone(), nn.LayerNorm(width, eps=PORT_EPS)
        elif aggregator:
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
        if self.selector is None:
            token = self.step("pass 1", self.class_token, images)
            return Explanation(self.step("fusion", self.aggregate, token))
        first, second, found = self._both_tokens(images, self.selector)
        if self.fusion == "aggregator":
            return replace(found, logits=self.step("fusion", self.aggregate, first, second))
        logits, heads = self.step("fusion", self.classify_both, first, second)
        return replace(found, logits=logits, heads=heads)

    def _both_tokens(self, images: Tensor, selector: Selector) -> tuple[Tensor, Tensor, Explanation]:
        """The class tokens (B, 1, D) of image and crop; and scores, box and crop, without logits yet."""
        tokens, features = self.step("pass 1", self.read, images, selector)
        scores = self.step("selector", selector, features)
        boxes, crops = self.step("crop", self.crop, images, scores)
        token = self.step("pass 2", self.class_token, crops, self.crop_class_token)
        found = Explanation(token, scores, boxes=boxes.unsqueeze(1), crops=crops.unsqueeze(1))
        return tokens[:, :1], token, found

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy; without an aggregator the mean of those of image and crop."""
        if self.selector is None or self.fusion == "aggregator":
            return super().loss(images, targets)
        found = self.flow(images)
        return self.cross_entropy(found.heads["image"], targets, found.heads["crop"]) / 2, found.logits

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
        if self.aggregator is None:  # there is one form without it
            return [], lambda: None
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
        if self.aggregator is None or self.aggregator_norm is None:
            return
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

    def aggregate(self, *class_tokens: Tensor) -> Tensor:
        """The logits (B, classes) of class tokens, (B, 1, D) each, of which the first is the image's."""
        assert self.aggregator is not None
        assert self.aggregator_norm is not None
        tokens = self.aggregator_norm(self.aggregator(torch.cat(class_tokens, dim=1)))
        logits: Tensor = self.head(tokens[:, 0])
        return logits

    def classify_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The more confident prediction (B, classes), and both; of the class tokens (B, 1, D) of image and crop."""
        heads = {"image": self.head(first[:, 0]), "crop": self.head(second[:, 0])}
        return more_confident(*heads.values()), heads


def _check_components(aggregator: object, fusion: object, selector: object, *, crops: bool, metric: object) -> str:
    """Check which components there are, and that they fit each other; how predictions are joined."""
    if aggregator is not False:
        one_of(aggregator, "aggregator", AGGREGATORS)
    default = "aggregator" if aggregator else "confidence"
    chosen = one_of(default if fusion is None else fusion, "fusion", FUSIONS)
    if chosen != default:
        do = f"it goes with aggregator={'False' if chosen == 'confidence' else 'vit'}"
        raise FgbenchError(f"with aggregator={aggregator!r} predictions cannot be joined by fusion", chosen, do)
    if not crops and not aggregator:
        raise FgbenchError("without crops and aggregator nothing is left of GLSim", do="the plain model is 'vit'")
    if not crops and selector is not None:
        raise FgbenchError("without crops nothing is selected, and there is no use for selector", selector)
    if metric != "cosine" and (selector not in (None, "gls") or not crops):
        raise FgbenchError("metric is the similarity of the selector gls, which this model does not have; got", metric)
    return chosen


def _refuse_without(component: object, words: str, **options: object) -> None:
    """Refuse options of a component that is left out; those that are None were not given."""
    for name, value in options.items():
        if not component and value is not None:
            raise FgbenchError(f"without {words} there is no use for {name}; got", value, f"leave {name} out")


def more_confident(first: Tensor, second: Tensor) -> Tensor:
    """Of two predictions (B, classes) the one whose largest probability is higher, image by image.

    Source: GLSim, section 5.4.
    """
    first_peak, second_peak = (logits.detach().softmax(dim=-1).amax(dim=-1, keepdim=True) for logits in (first, second))
    return torch.where(first_peak >= second_peak, first, second)


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
