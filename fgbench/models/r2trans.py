"""R2-Trans (Ye et al., arXiv 2204.10095): a second pass without the patches that other patches attend to least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fgbench.models.blocks import FixedNorm
from fgbench.models.encoder import State
from fgbench.models.model import Explanation
from fgbench.models.options import number, one_of
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Features, Selector

PREDICTIONS = ("first", "mixture")
WEIGHTS = {"first": 0.4, "second": 0.4, "both": 0.2}  # of the heads, in the loss and in the mixture
SHARE_WITHOUT_VALUES = 0.5  # of patches that are dropped on the meta device, where no score has a value


class R2Trans(VisionTransformerModel):
    """Two passes with shared weights: all patches, then those that get much attention from others; three heads.

    The scores of all patches are normalised, with a weight and a bias for each place of the grid, and pass a sigmoid.
    Patches below the mean of their image are counted, and as many patches as the mean of these counts over the *batch*
    are dropped from every image, those with the lowest values. The head reads the class token of each pass, and another
    head reads both. The published accuracy is that of the first pass: ``predict="first"``. Then the fast implementation
    does nothing else, and the selection changes training only. Other predictions of an image depend on the other images
    of its batch, unless ``drop`` is given.

    The loss is 0.4, 0.4 and 0.2 times the cross-entropies of the three heads. The paper has an information-bottleneck
    term besides, whose formula and code are not published: it is left out.
    Source: R2-Trans, released test code.

    Args:
        backbone: timm's name.
        selector: Column mass by default.
        predict: ``first``, the logits of the first pass; ``mixture``, 0.4 · first + 0.4 · second + 0.2 · both.
        drop: Share of the patches that are dropped, whatever their values are, rounded down; None for the number that
            the batch gives, as in the released code. At least one patch is kept.
        options: Options of :class:`VisionTransformerModel`.

    """

    group = "tokens"
    year = 2022
    passes = 2
    published_selector = "column_mass"
    accepts = (("batch", "patches"),)
    without_gradient: ClassVar[Mapping[str, str]] = {
        "score_norm.": "it decides which patches are dropped, and dropping has no derivative"
    }

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        predict: str = "first",
        drop: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth)
        self.predict = one_of(predict, "prediction", PREDICTIONS)
        self.drop = None if drop is None else number(drop, "drop", 0, 1)
        self.score_norm = FixedNorm(self.encoder.num_patches)
        self.pair_head = nn.Linear(2 * self.encoder.embed_dim, self.num_classes)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits; with both passes also scores and heads, and the kept patches where their number is fixed.

        Both passes run where the prediction or the implementation needs them.
        """
        if self.published or self.predict != "first":
            result = self.pass_twice(images)
            return replace(result, selected=None) if self.drop is None else result
        tokens = self.step("pass 1", self.encoder, images)
        return Explanation(self.step("fusion", self.head, tokens[:, 0]))

    def explain(self, images: Tensor) -> Explanation:
        """Both passes, with the boxes of the patches that are kept (B, K, 4)."""
        return self.with_patch_boxes(self.pass_twice(images))

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of the cross-entropies of the three heads, and the logits."""
        result = self.pass_twice(images)
        losses = [weight * self.cross_entropy(result.heads[name], targets) for name, weight in WEIGHTS.items()]
        return sum(losses[1:], losses[0]), result.logits

    def pass_twice(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the patches that are kept (B, K), the best first; heads first, second and both."""
        embedded, first, features = self.step("pass 1", self.first_pass, images)
        scores = self.step("selector", self.selector, features)
        kept = self.step("selector", self.kept, scores)
        second = self.step("pass 2", self.second_pass, embedded, kept)
        heads = self.step("fusion", self.classify, first, second)
        logits = heads["first"] if self.predict == "first" else self.step("fusion", mix, heads)
        return Explanation(logits, scores, kept.flip(1), heads=heads)

    def first_pass(self, images: Tensor) -> tuple[State, Tensor, Features]:
        """The embedded images, the class token (B, D) after all blocks, and the input of the selector."""
        state = self.start(images)
        embedded = State(state.tokens, state.rope)
        tokens, features = self.finish(state, self.selector)
        return embedded, tokens[:, 0], features

    @torch.no_grad()
    def kept(self, scores: Tensor) -> Tensor:
        """The patches that are not dropped.

        Args:
            scores: (B, G²).

        Returns:
            Patches (B, K), K ≥ 1, in ascending order of their values.

        """
        values: Tensor = self.score_norm(scores).sigmoid()
        return values.sort(dim=1, stable=True).indices[:, self.number_dropped(values) :]

    def number_dropped(self, values: Tensor) -> int:
        """How many patches are dropped from every image, by the values (B, G²) of a batch; computed in float32."""
        patches = values.shape[1]
        share = SHARE_WITHOUT_VALUES if self.drop is None and values.is_meta else self.drop
        if share is not None:
            return min(int(share * patches), patches - 1)
        below = (values < values.mean(dim=1, keepdim=True)).sum(dim=1)
        return min(int(below.float().mean() / patches * patches), patches - 1)

    def second_pass(self, embedded: State, kept: Tensor) -> Tensor:
        """The class token (B, D) after all blocks on the prefix tokens and the patches that are kept (B, K)."""
        return self.last_token(self.encoder.keep(embedded, kept))[:, 0]

    def classify(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes) of the class tokens (B, D) of both passes, and of both side by side."""
        both = self.pair_head(torch.cat([first, second], dim=1))
        return {"first": self.head(first), "second": self.head(second), "both": both}


def mix(heads: Mapping[str, Tensor]) -> Tensor:
    """The weighted sum of the logits (B, classes) of three heads: the ranking of 4, 4 and 2 times the logits."""
    weighted = [weight * heads[name] for name, weight in WEIGHTS.items()]
    return sum(weighted[1:], weighted[0])
