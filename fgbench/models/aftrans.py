"""AF-Trans: a crop by filtered attention of all blocks (Zhang et al., ICASSP 2022). A reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Selector
from fgbench_selectors.components import RULES


class AFTrans(VisionTransformerModel):
    """Two passes over overlapping patches: the image, and the crop that SACM's scores give; one head reads both.

    No code was published. The rule that turns scores into a box (``threshold`` times the mean, the largest
    component, ``rule``) and the ``fusion`` of the two predictions are not established and therefore parameters. The
    crop is cut without gradient, so that the selector's excitation gets none either: its weights stay what they
    were. Source: AF-Trans, abstract; GLSim, section 2 and Table 6.
    """

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
        self.selector: Selector = self.use_selector(selector, "sacm", depth=self.encoder.depth)
        self.threshold = number(threshold, "threshold", 0)
        self.rule, self.fusion = one_of(rule, "box rule", RULES), one_of(fusion, "fusion", FUSIONS)

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores, the box and the crop; heads ``image`` and ``crop``."""
        tokens, features = self.step("pass 1", self.read, images, self.selector)
        scores = self.step("selector", self.selector, features)
        how = {"threshold": self.threshold, "rule": self.rule}
        boxes, crops = self.step("crop", self.crop_component, images, scores, **how)
        token = self.step("pass 2", self.class_token, crops)
        heads = {
            "image": self.step("fusion", self.head, tokens[:, 0]),
            "crop": self.step("fusion", self.head, token[:, 0]),
        }
        logits = self.step("fusion", fuse, heads, self.fusion)
        return Explanation(logits, scores, boxes=boxes.unsqueeze(1), crops=crops.unsqueeze(1), heads=heads)
