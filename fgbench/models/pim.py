"""PIM, the plug-in module (Chou et al., arXiv 2202.03822): tokens selected from four levels by a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.model import Explanation, fuse
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.plug_in import Combiner, TokenClassifier, TopDown
from fgbench.models.pyramid import RESNET, SWIN, Level, Pyramid
from fgbench.models.sized import SizedModel
from fgbench.models.token_ops import best, patch_boxes, take
from fgbench_selectors import Features, Selector

PREDICTIONS = ("all", "combiner")
WIDTH = 512  # of the features on a ViT or a ResNet in the released builders
FEW_TOKENS = 32  # selected tokens per level in the released builders


@dataclass(slots=True)
class LevelOutputs:
    """Features and logits of every level, each a list in the order of the levels.

    Args:
        features: (B, S, F).
        logits: (B, S, classes).
        first: Features (B, S, F) of the first pyramid, where there are two.
        first_logits: Logits (B, S, classes) of the first pyramid, where they were computed for every token.
        scores: Scores (B, S) of the selector.
        order: Indices (B, S) of all tokens, those of the highest scores first.

    """

    features: list[Tensor]
    logits: list[Tensor]
    first: list[Tensor] = field(default_factory=list)
    first_logits: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    order: list[Tensor] = field(default_factory=list)


class PIM(SizedModel):
    """A pyramid over four levels of a backbone; the most confident tokens of every level go into a graph.

    Every token of every level has logits of its own, by the classifier of its level. The tokens of the highest
    confidence are selected per level, and the combiner (:class:`fgbench.models.plug_in.Combiner`) classifies them
    together. No attention map is read. ``published`` gathers the selected tokens and computes the whole graph; ``fast``
    computes what is left of it at test, where all but the adjacency is linear. The stage ``pyramid`` is the pyramid
    and the classifiers of tokens.

    The loss is, for every level, the cross-entropy of the mean logits, that of the selected tokens, and the mean
    squared difference of tanh(logits) of the other tokens from −1; and the cross-entropy of the combiner.
    In training a Swin has the stochastic depth that timm builds it with, up to 0.1, as the released code leaves it;
    :meth:`set_stochastic_depth` replaces it.
    Source: PIM, released code.

    Args:
        backbone: timm's name of a Swin, a plain ViT or a ResNet; Swin-L by default. The levels of a Swin are read after
            merging, those of a ViT are its last four blocks with the class token among the tokens.
        label_smoothing: Of the cross-entropies.
        selector: Confidence by default; another one may read tokens or their logits, not attention.
        width: Channels of the features; None for those of the last level of a Swin, which are 1536 as published for
            Swin-L, and 512 on others.
        num_tokens: Selected tokens per level: a number for all levels (all tokens of a level that has fewer), a list
            with one per level, or None: on a Swin the published shares, which are 2048, 512, 128 and 32 of images of
            384 pixels; 32 on others.
        predict: ``all``, the logarithm of the mean probability of all heads; ``combiner``, the combiner's logits.
        dropout: Probability that a channel is dropped before the combiner's last layer in training.
        level_weight: Weight of the cross-entropies of mean logits.
        selected_weight: Weight of the cross-entropies of selected tokens.
        dropped_weight: Weight of the terms of the other tokens.
        combiner_weight: Weight of the combiner's cross-entropy.
        options: Options of :class:`fgbench.models.sized.SizedModel`. Images are squares. Weights on a Swin are of one
            size; those on a ViT or a ResNet fit others, where as many tokens are selected.

    Raises:
        FgbenchError: If an option is wrong.

    """

    group = "tokens"
    year = 2022
    published_selector = "confidence"
    default_backbone = "swin_large_patch4_window12_384"
    accepts = (("batch", "tokens"),)
    needs_squares = True
    reading: ClassVar[str] = "token"  # of confidence
    ninths: ClassVar[tuple[int, ...]] = (8, 8, 8, 2)  # selected ninths of the tokens of a Swin's levels
    tokens_per_node: ClassVar[int] = 32  # selected tokens for each node of the combiner

    def __init__(
        self,
        backbone: str | None = None,
        *,
        label_smoothing: float = 0.0,
        selector: str | Selector | None = None,
        width: int | None = None,
        num_tokens: int | Sequence[int] | None = None,
        predict: str = "all",
        dropout: float = 0.1,
        level_weight: float = 0.5,
        selected_weight: float = 0.0,
        dropped_weight: float = 5.0,
        combiner_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, label_smoothing=label_smoothing, **options)
        self.predict = one_of(predict, "prediction", PREDICTIONS)
        self.level_weight = number(level_weight, "level_weight", 0)
        self.selected_weight = number(selected_weight, "selected_weight", 0)
        self.dropped_weight = number(dropped_weight, "dropped_weight", 0)
        self.combiner_weight = number(combiner_weight, "combiner_weight", 0)
        rate = number(dropout, "dropout", 0, 0.999)
        # Without drop_path: as released.
        self.pyramid = Pyramid(self.backbone_name, self.image_size, merged=True, pretrained=self.pretrained)
        levels = self.pyramid.levels
        default_width = levels[-1].width if self.pyramid.family == SWIN else WIDTH
        self.width = whole_number(default_width if width is None else width, "width", 4)
        self.num_tokens = self.schedule(num_tokens)
        self.build_pyramids(levels)
        total = sum(self.num_tokens)
        nodes = max(1, total // self.tokens_per_node)
        self.combiner = Combiner(total, nodes, self.width, self.num_classes, rate)
        self.selector: Selector = self.use_selector(selector, depth=len(levels), reading=self.reading)
        if self.selector.needs.blocks is not None:
            what = f"{type(self).__name__} has no attention for a selector to read; it is read by"
            raise FgbenchError(what, str(self.selector_name), "choose one that reads tokens or their logits")

    def build_pyramids(self, levels: Sequence[Level]) -> None:
        """Build the pyramid, and the classifiers of the tokens of its levels."""
        bilinear = self.pyramid.family == RESNET
        self.top_down = TopDown(levels, self.width, bilinear=bilinear, between_equal=False)
        self.classifiers = self.token_classifiers()

    def token_classifiers(self) -> nn.ModuleList:
        """A classifier of tokens for every level."""
        return nn.ModuleList(TokenClassifier(self.width, self.num_classes) for _ in self.pyramid.levels)

    def schedule(self, num_tokens: int | Sequence[int] | None) -> list[int]:
        """The selected tokens of every level, for the option ``num_tokens``.

        Raises:
            FgbenchError: If a number is out of range, or there are not as many as levels.

        """
        sizes = [level.num_tokens for level in self.pyramid.levels]
        if num_tokens is None and self.pyramid.family == SWIN:
            return [max(1, size * share // 9) for size, share in zip(sizes, self.ninths, strict=True)]
        if not isinstance(num_tokens, (list, tuple)):
            most = whole_number(FEW_TOKENS if num_tokens is None else num_tokens, "num_tokens", 1)
            return [min(most, size) for size in sizes]
        if len(num_tokens) != len(sizes):
            raise FgbenchError(f"num_tokens needs a number for each of {len(sizes)} levels, got", list(num_tokens))
        return [whole_number(k, "num_tokens", 1, size) for k, size in zip(num_tokens, sizes, strict=True)]

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, the selected tokens (B, Σ k), level by level and counted through all levels.

        Heads are the mean logits of the levels, and ``combiner``.
        """
        return self.run(images)[0]

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass with scores (B, G²) and the boxes of the selected tokens (B, Σ k, 4).

        The scores are those of patches, brought to the grid of the first level and averaged over levels. The box of a
        prefix token is the whole image.
        """
        result, found = self.run(images)
        return replace(result, scores=self.heat(found.scores), boxes=self.boxes(self.selected(found)))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of the terms of levels and of the combiner, and the logits."""
        result, found = self.run(images, everything=True)
        loss = self.combiner_weight * self.cross_entropy(result.heads["combiner"], targets)
        for term in self.level_terms(found, targets):
            loss = loss + term
        return loss, result.logits

    def level_terms(self, found: LevelOutputs, targets: Tensor) -> list[Tensor]:
        """The terms of the loss that belong to levels."""
        terms = []
        for logits, order, k in zip(found.logits, found.order, self.num_tokens, strict=True):
            terms.append(self.level_weight * self.cross_entropy(logits.mean(dim=1), targets))
            if self.selected_weight:
                selected = take(logits, order[:, :k])
                loss = self.cross_entropy(selected.flatten(0, 1), targets.repeat_interleave(k))
                terms.append(self.selected_weight * loss)
            if k < logits.shape[1]:
                terms.append(self.dropped_weight * (take(logits, order[:, k:]).tanh() + 1).square().mean())
        return terms

    def run(self, images: Tensor, *, everything: bool = False) -> tuple[Explanation, LevelOutputs]:
        """The forward pass, and what it is made of.

        Args:
            images: (B, 3, S, S).
            everything: Whether all heads are computed, and all tokens are classified, as the published code does; by
                default what the implementation and the prediction need.

        """
        tokens = self.step("pass 1", self.pyramid, images)
        found = self.step("pyramid", self.read_levels, tokens)
        selected, index = self.step("selector", self.select, found)
        heads = {"combiner": self.step("fusion", self.combiner, found.features, selected, published=self.published)}
        everything = everything or self.published
        if everything or self.predict == "all":
            heads = self.step("pyramid", self.level_heads, found, every_token=everything) | heads
        logits = heads["combiner"] if self.predict == "combiner" else self.step("fusion", fuse, heads, "probabilities")
        return Explanation(logits, selected=index, heads=heads), found

    def read_levels(self, tokens: list[Tensor]) -> LevelOutputs:
        """Features and logits of the tokens (B, S, C) of every level."""
        features = self.top_down(tokens)
        return LevelOutputs(features, classify(self.classifiers, features))

    def level_heads(self, found: LevelOutputs, *, every_token: bool) -> dict[str, Tensor]:
        """The mean logits (B, classes) of every level; ``every_token`` asks for logits that are not there yet."""
        return {f"level {index}": logits.mean(dim=1) for index, logits in enumerate(found.logits, start=1)}

    def select(self, found: LevelOutputs) -> tuple[list[Tensor], Tensor]:
        """The selected tokens (B, k) of every level, and as indices (B, Σ k) among the tokens of all levels."""
        self.rank(found)
        selected, first, indices = self.selected(found), 0, []
        for level, index in zip(self.pyramid.levels, selected, strict=True):
            indices.append(index + first)
            first += level.num_tokens
        return selected, torch.cat(indices, dim=1)

    def rank(self, found: LevelOutputs) -> None:
        """Add the scores and the order of the tokens of every level."""
        needs = self.selector.needs
        for level, features, logits in zip(self.pyramid.levels, found.features, found.logits, strict=True):
            scores = self.selector(
                Features(
                    tokens=features.detach() if needs.tokens else None,
                    num_prefix_tokens=level.num_prefix_tokens,
                    grid=level.grid,
                    class_logits=logits.detach() if needs.class_logits else None,
                )
            )
            found.scores.append(scores)
            found.order.append(best(scores, level.num_tokens))

    def selected(self, found: LevelOutputs) -> list[Tensor]:
        """The selected tokens (B, k) of every level, the best first."""
        return [order[:, :k] for order, k in zip(found.order, self.num_tokens, strict=True)]

    def heat(self, scores: list[Tensor]) -> Tensor:
        """Scores (B, S) of every level → the mean over levels on the grid of the first one (B, G²)."""
        levels = self.pyramid.levels
        maps = [
            functional.interpolate(
                given[:, level.num_prefix_tokens :].unflatten(1, level.grid)[:, None], levels[0].grid
            )
            for given, level in zip(scores, levels, strict=True)
        ]
        return torch.cat(maps, dim=1).mean(dim=1).flatten(1)

    def boxes(self, selected: list[Tensor]) -> Tensor:
        """Pixel boxes (B, Σ k, 4) of tokens (B, k) of every level."""
        boxes, side = [], self.image_size
        for level, index in zip(self.pyramid.levels, selected, strict=True):
            patches = index - level.num_prefix_tokens
            found = patch_boxes(patches.clamp_min(0), level.grid, level.stride, level.stride).clamp(max=side)
            whole = torch.tensor([0, 0, side, side], device=index.device).expand_as(found)
            boxes.append(torch.where((patches < 0).unsqueeze(-1), whole, found))
        return torch.cat(boxes, dim=1)

    def leaves_out(self, name: str) -> bool:
        """What a backbone has behind its last level: its norm and its head."""
        unused = ("norm.", "fc_norm.", "fc.", "head.", "attn_pool.")
        return name.startswith(("head.", "head_dist.", *(f"pyramid.{self.pyramid.home}{part}" for part in unused)))


def classify(classifiers: nn.ModuleList, features: Sequence[Tensor]) -> list[Tensor]:
    """Logits (B, S, classes) of the features (B, S, F) of every level."""
    return [classifier(level) for classifier, level in zip(classifiers, features, strict=True)]
