"""AF-Trans (Zhang et al., ICASSP 2022): a crop by attention of all blocks. A reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Selector
from fgbench_selectors.entries import RULES


class AFTrans(VisionTransformerModel):
    """Two passes over overlapping patches: the image, and the crop by SACM's scores; one head reads both.

    No code was published: how scores become a box and how the two predictions are fused is not known, and both are
    options. The crop has no gradient, and so the excitation of the selector has none either.
    Source: AF-Trans, abstract; GLSim, section 2 and Table 6.

    Args:
        backbone: timm's name.
        selector: SACM by default.
        threshold: Factor of the mean score; the crop holds the largest component above it.
        rule: Box rule of :func:`fgbench_selectors.components.component_boxes`.
        fusion: Rule of :func:`fgbench.models.model.fuse`.
        options: Options of :class:`VisionTransformerModel`.

    """

    group = "regions"
    year = 2022
    passes = 2
    published_selector = "sacm"
    overlap = 4
    accepts = (("batch", "patches"),)
    without_gradient: ClassVar[Mapping[str, str]] = {
        "selector.": "the crop is cut where the scores are high, and cutting has no derivative"
    }

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        threshold: float = 1.2,
        rule: str = "enclosing",
        fusion: str = "mean",
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth)
        self.threshold = number(threshold, "threshold", 0)
        self.rule, self.fusion = one_of(rule, "box rule", RULES), one_of(fusion, "fusion", FUSIONS)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the box and the crop; heads ``image`` and ``crop``."""
        tokens, features = self.step("pass 1", self.read, images, self.selector)
        scores = self.step("selector", self.selector, features)
        rules = {"threshold": self.threshold, "rule": self.rule}
        boxes, crops = self.step("crop", self.crop_component, images, scores, **rules)
        token = self.step("pass 2", self.class_token, crops)
        heads = {
            "image": self.step("fusion", self.head, tokens[:, 0]),
            "crop": self.step("fusion", self.head, token[:, 0]),
        }
        logits = self.step("fusion", fuse, heads, self.fusion)
        return Explanation(logits, scores, boxes=boxes.unsqueeze(1), crops=crops.unsqueeze(1), heads=heads)
