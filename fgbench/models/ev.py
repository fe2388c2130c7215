"""EV: a multi-stage ViT, from the object to its parts (Conde & Turgutlu, CVPR workshop FGVC8 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.vit import VisionTransformerModel
from fgbench_selectors import Selector
from fgbench_selectors.regions import crop_resize
from fgbench_selectors.windows import window_boxes


class EV(VisionTransformerModel):
    """The image, the object that the rollout shows in it, two parts of the object: one encoder and head for all.

    The object is the component of highest peak where the rollout exceeds ``threshold`` times its mean, closed
    morphologically; the parts are the two windows of ``part_size`` pixels of the object's crop with the highest
    mean that overlap by at most ``max_iou``. The published code runs the whole image twice, once for its attention
    and once for its prediction: five passes, of which ``impl="fast"`` does four. The heads' predictions are reported
    one by one (``explain(…).heads``); ``fusion`` makes one of them. Source: EV, sections 3.1–3.2.
    """

    accepts = (("batch", "patches"),)

    def __init__(
        self,
        backbone: str | None = None,
        *,
        selector: str | Selector | None = None,
        threshold: float = 1.0,
        part_size: int = 128,
        max_iou: float = 0.1,
        fusion: str = "mean",
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, "rollout", depth=self.encoder.depth, reading="ev")
        self.threshold, self.max_iou = number(threshold, "threshold", 0), number(max_iou, "max_iou", 0, 1)
        self.fusion = one_of(fusion, "fusion", FUSIONS)
        self.part_size = min(whole_number(part_size, "part_size", 1), self.image_size)

    def explain(self, images: Tensor) -> Explanation:
        """The same, with the boxes of the parts where they lie in the image."""
        found = self.flow(images)
        assert found.boxes is not None
        whole, parts = found.boxes[:, :1], found.boxes[:, 1:]
        origin, extent = whole[..., :2].repeat(1, 1, 2), (whole[..., 2:] - whole[..., :2]).repeat(1, 1, 2)
        placed = origin + (parts * extent + self.image_size // 2) // self.image_size
        placed[..., 2:] = torch.maximum(placed[..., 2:], placed[..., :2] + 1)
        return replace(found, boxes=torch.cat([whole, placed], dim=1))

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores; boxes and crops of object, part and part; heads ``image object part1 part2``.

        The boxes of the parts lie in the object's crop, which is as large as the image.
        """
        tokens, features = self.step("pass 1", self.read, images, self.selector)
        scores = self.step("selector", self.selector, features)
        if self.published:
            tokens = self.step("pass 1", self.encoder, images)
        how = {"threshold": self.threshold, "choose": "peak", "close": True, "rule": "enclosing"}
        box, crop = self.step("crop", self.crop_component, images, scores, **how)
        boxes, parts = self.step("crop", self.crop_parts, crop, box, scores)
        batch = len(images)
        regions = torch.cat([crop, *parts])
        read = self.step("pass 2", self.class_token, regions)[:, 0]
        logits = self.step("fusion", self.head, torch.cat([tokens[:, 0], read])).split(batch)
        heads = dict(zip(("image", "object", "part1", "part2"), logits, strict=True))
        fused = self.step("fusion", fuse, heads, self.fusion)
        all_boxes = torch.cat([box.unsqueeze(1), boxes], dim=1)
        return Explanation(fused, scores, boxes=all_boxes, crops=torch.stack([crop, *parts], dim=1), heads=heads)

    def crop_parts(self, crop: Tensor, box: Tensor, scores: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The parts' boxes (B, 2, 4) in the object's crop, and their crops, (B, 3, S, S) each."""
        grid, size = self.encoder.grid, self.image_size
        heat = scores.view(-1, 1, *grid)
        heat = torch.nn.functional.interpolate(heat, (size, size), mode="bilinear", align_corners=True)
        heat = crop_resize(heat, box, grid)  # the object's own map, again as large as the grid
        boxes = window_boxes(heat.flatten(1), grid, size, self.part_size, max_iou=self.max_iou)
        return boxes, [self.cut(crop, part) for part in boxes.unbind(dim=1)]
