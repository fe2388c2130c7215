"""EV (Conde & Turgutlu, CVPR workshop FGVC8 2021): a multi-stage ViT, from the object to its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.model import FUSIONS, Explanation, fuse
from fgbench.models.options import number, one_of, whole_number
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import Selector
from fgbench_selectors.components import peak_boxes
from fgbench_selectors.regions import crop_resize, window_boxes

HEADS = ("image", "object", "part1", "part2")
SEARCHES = ("patches", "pixels")


class EV(VisionTransformerModel):
    """Four regions with one encoder and head: the image, the object by the rollout, and two parts of the object.

    The object is the component with the highest peak where the rollout is above ``threshold`` times its mean, closed
    morphologically. The parts are the two windows of the object's crop with the highest mean that hardly overlap. The
    published code runs the image twice, for its attention and for its prediction: five passes; ``impl="fast"`` runs
    four. The prediction of every head is in ``explain(…).heads``.
    Source: EV, sections 3.1–3.2.

    Args:
        backbone: timm's name.
        selector: Rollout by default.
        threshold: Factor of the mean.
        part_size: Side of a window in pixels.
        max_iou: Largest intersection over union of the windows.
        fusion: Rule of :func:`fgbench.models.model.fuse`.
        search: ``patches``, a reconstruction: on the grid of patches, among all components. ``pixels``, as in the
            public experiments of one of the authors: the object on the map enlarged to the image
            (:func:`fgbench_selectors.components.peak_boxes`), the parts on a map of S//3 × S//3.
        min_area: Smallest number of pixels of a component for ``pixels``; (S/7)² by default, 64² at 448.
        options: Options of :class:`VisionTransformerModel`.

    Raises:
        FgbenchError: If an option is wrong.

    """

    group = "regions"
    year = 2021
    passes = 5
    published_selector = "rollout"
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
        search: str = "patches",
        min_area: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        self.selector: Selector = self.use_selector(selector, depth=self.encoder.depth, reading="ev")
        self.threshold, self.max_iou = number(threshold, "threshold", 0), number(max_iou, "max_iou", 0, 1)
        self.fusion = one_of(fusion, "fusion", FUSIONS)
        self.part_size = min(whole_number(part_size, "part_size", 1), self.image_size)
        self.search = one_of(search, "place to search", SEARCHES)
        if min_area is not None and search == "patches":
            raise FgbenchError("min_area is in pixels, and patches are searched; got", min_area, "add search='pixels'")
        area = round((self.image_size / 7) ** 2) if min_area is None else min_area
        self.min_area = whole_number(area, "min_area", 1, self.image_size**2)

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass, with the boxes of the parts moved to their place in the image."""
        result = self.flow(images)
        assert result.boxes is not None
        whole, parts = result.boxes[:, :1], result.boxes[:, 1:]
        origin, extent = whole[..., :2].repeat(1, 1, 2), (whole[..., 2:] - whole[..., :2]).repeat(1, 1, 2)
        in_image = origin + (parts * extent + self.image_size // 2) // self.image_size
        in_image[..., 2:] = torch.maximum(in_image[..., 2:], in_image[..., :2] + 1)
        return replace(result, boxes=torch.cat([whole, in_image], dim=1))

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, scores; boxes and crops of object and parts; heads ``image object part1 part2``.

        The boxes of the parts are pixels of the object's crop, which is as large as the image.
        """
        tokens, features = self.step("pass 1", self.read, images, self.selector)
        scores = self.step("selector", self.selector, features)
        if self.published:
            tokens = self.step("pass 1", self.encoder, images)
        box, crop = self.step("crop", self.crop_object, images, scores)
        boxes, parts = self.step("crop", self.crop_parts, crop, box, scores)
        regions = torch.cat([crop, *parts])
        region_tokens = self.step("pass 2", self.class_token, regions)[:, 0]
        logits = self.step("fusion", self.head, torch.cat([tokens[:, 0], region_tokens]))
        heads = dict(zip(HEADS, logits.unflatten(0, (len(HEADS), -1)).unbind(), strict=True))
        fused = self.step("fusion", fuse, heads, self.fusion)
        all_boxes = torch.cat([box.unsqueeze(1), boxes], dim=1)
        return Explanation(fused, scores, boxes=all_boxes, crops=torch.stack([crop, *parts], dim=1), heads=heads)

    def crop_object(self, images: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The object's boxes (B, 4), and their crops (B, 3, S, S)."""
        if self.search == "patches":
            rules = {"threshold": self.threshold, "choose": "peak", "close": True, "rule": "enclosing"}
            return self.crop_component(images, scores, **rules)
        boxes = peak_boxes(self.enlarge(scores)[:, 0], threshold=self.threshold, min_area=self.min_area)
        return boxes, self.cut(images, boxes)

    def crop_parts(self, crop: Tensor, box: Tensor, scores: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The parts' boxes (B, 2, 4) in the object's crop, and their crops, (B, 3, S, S) each."""
        grid, size = self.encoder.grid, self.image_size
        heat = self.enlarge(scores)
        if self.search == "patches":
            heat, overlap = crop_resize(heat, box, grid), "pixels"  # the map of the object, as large as the grid
        else:
            grid, overlap = (max(1, size // 3),) * 2, "cells"
            heat = _nearest(heat[:, 0], box, size, grid[0])
        boxes = window_boxes(heat.flatten(1), grid, size, self.part_size, max_iou=self.max_iou, overlap=overlap)
        return boxes, [self.cut(crop, part) for part in boxes.unbind(dim=1)]

    def enlarge(self, scores: Tensor) -> Tensor:
        """Scores (B, G²) as a map of the image's size (B, 1, S, S)."""
        size = (self.image_size, self.image_size)
        heat = scores.view(-1, 1, *self.encoder.grid)
        return functional.interpolate(heat, size, mode="bilinear", align_corners=True)


def _nearest(heat: Tensor, boxes: Tensor, size: int, side: int) -> Tensor:
    """Boxes (B, 4) of maps (B, S, S), resized to ``size`` and then to ``side`` by the nearest pixel."""
    steps = torch.arange(side, device=heat.device) * size // side  # of the enlarged box
    y0, x0, y1, x1 = boxes.unsqueeze(-1).unbind(dim=1)  # (B, 1) each
    rows, columns = (begin + steps * (end - begin) // size for begin, end in ((y0, y1), (x0, x1)))
    in_rows = heat.gather(1, rows.unsqueeze(2).expand(-1, -1, heat.shape[2]))
    return in_rows.gather(2, columns.unsqueeze(1).expand(-1, side, -1))
