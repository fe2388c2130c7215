"""CAL (Rao et al., ICCV 2021): counterfactual attention learning on a ResNet."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from fgbench.errors import FgbenchError
from fgbench.models.losses import center_loss
from fgbench.models.model import Explanation, fuse
from fgbench.models.options import check_images, number, whole_number
from fgbench.models.processes import is_shared, of_all_processes
from fgbench.models.resnet101 import build_resnet
from fgbench.models.sized import SizedModel
from fgbench.models.token_ops import cut

EPSILON = 1e-6
CROPS = ((0.3, 0.1), (0.2, 0.1), (0.1, 0.05))  # θ and padding in the official test; training uses the last pair


class CAL(SizedModel):
    """Bilinear attention pooling over attention maps; logits averaged over the image and its crops.

    The ResNet's last stage has stride 1 and no dilation: maps of S/16. The loss is the cross-entropy of the image, of
    its crop and drop, and of the counterfactual effect of all three, and the center loss. ``fast`` and ``published``
    give equal boxes; where maps are peaked, rounding changes logits by up to 3 · 10⁻⁴ (docs/differences.md).
    Source: CAL, sections 3.1–3.3; released code.

    Args:
        backbone: A ResNet of timm; resnet101 by default.
        num_attentions: Number M of attention maps.
        passes: 2, the image and one crop, as validated in training; or 8, image and mirror image with three crops each,
            the official test.
        beta: Step of the centers of classes.
        label_smoothing: Of the cross-entropy.
        options: Options of :class:`fgbench.models.sized.SizedModel`; images are squares with sides from 32 pixels.

    Raises:
        FgbenchError: If an option is wrong.

    """

    group = "regions"
    year = 2021
    passes = 2
    default_backbone = "resnet101"
    buffers_of_training = ("feature_center",)
    smallest_side = 32
    needs_squares = True

    def __init__(
        self,
        backbone: str | None = None,
        *,
        num_attentions: int = 32,
        passes: int = 2,
        beta: float = 0.05,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(backbone, label_smoothing=label_smoothing, **options)
        if passes not in (2, 8):
            raise FgbenchError("CAL is run with 2 or 8 passes, got", passes)
        self.passes = passes
        whole_number(num_attentions, "num_attentions", 1)
        self.beta = number(beta, "beta", 0, 1)
        self.features: Any = build_resnet(self.backbone_name, 0, pretrained=self.pretrained)
        _keep_resolution(self.features.layer4)
        width = self.features.num_features
        self.attentions = nn.ModuleDict(
            {
                "conv": nn.Conv2d(width, num_attentions, kernel_size=1, bias=False),
                "bn": nn.BatchNorm2d(num_attentions, eps=1e-3),
            }
        )
        self.fc = nn.Linear(num_attentions * width, self.num_classes, bias=False)
        self.feature_center: Tensor | None
        self.register_buffer("feature_center", None)  # (classes, maps · width); made by the first training step

    def flow(self, images: Tensor) -> Explanation:
        """Images → logits, the mean attention map as scores (B, S/16 · S/16), boxes and crops."""
        check_images(images, self.image_size)
        logits, heat = self.step("pass 1", self.predict, images)
        sources, heats = [images], [heat]
        heads = {"image": logits}
        if self.passes == 8:
            mirrored = images.flip(3)
            heads["mirror"], mirrored_heat = self.step("pass 1", self.predict, mirrored)
            sources, heats = [images, mirrored], [heat, mirrored_heat]
        boxes, crops = [], []
        for source, source_heat in zip(sources, heats, strict=True):
            for theta, padding in CROPS if self.passes == 8 else CROPS[-1:]:
                box, crop = self.step("crop", self.crop, source, source_heat, theta, padding)
                boxes.append(box)
                crops.append(crop)
                heads[f"crop{len(crops)}"] = self.step("pass 2", self.predict, crop)[0]
        fused = self.step("fusion", fuse, heads, "mean")
        return Explanation(
            fused, heat.flatten(1), boxes=torch.stack(boxes, dim=1), crops=torch.stack(crops, dim=1), heads=heads
        )

    def explain(self, images: Tensor) -> Explanation:
        """The forward pass, with the boxes of the mirror image moved to their place in the image."""
        result = self.flow(images)
        if self.passes == 2 or result.boxes is None:
            return result
        y0, x0, y1, x1 = result.boxes[:, len(CROPS) :].unbind(-1)
        mirrored = torch.stack((y0, self.image_size - x1, y1, self.image_size - x0), dim=-1)
        return replace(result, boxes=torch.cat([result.boxes[:, : len(CROPS)], mirrored], dim=1))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One pass: logits (B, classes) and the mean attention map (B, 1, h, w)."""
        features, maps = self.look(images)
        return self.classify(self.pool(features, maps)), maps.mean(dim=1, keepdim=True)

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features (B, C, h, w) and attention maps (B, M, h, w) of images."""
        features = self.features.forward_features(images)
        return features, self.attentions["bn"](self.attentions["conv"](features)).relu()

    def pool(self, features: Tensor, maps: Tensor) -> Tensor:
        """Bilinear attention pooling: the signed root of features under every map, normalised → (B, M·C)."""
        height, width = features.shape[2:]
        # Divided before the product: in half precision the sum over all pixels would overflow.
        pooled = (maps.flatten(2) / (height * width) @ features.flatten(2).transpose(1, 2)).flatten(1)
        return functional.normalize(pooled.sign() * (pooled.abs() + EPSILON).sqrt(), dim=-1)

    def classify(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, M·C) → logits (B, classes)."""
        logits: Tensor = self.fc(pooled * 100)
        return logits

    def crop(self, images: Tensor, heat: Tensor, theta: Tensor | float, padding: float) -> Any:
        """Boxes (B, 4) around heat ≥ θ · max, padded by a share of the side, and their crops."""
        boxes = attention_boxes(heat, images.shape[-1], theta, padding)
        return boxes, cut(images.detach(), boxes, images.shape[-1], published=self.published)

    def loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The training loss, and the mean of the logits of image and crop.

        The loss is ⅓ image + ⅔ crop and drop + counterfactual effect + center loss. In eval mode it is the
        cross-entropy of the prediction, without random numbers, and the centers stay.
        """
        check_images(images, self.image_size)
        if not self.training:
            logits = self.flow(images).logits
            return self.cross_entropy(logits, targets), logits
        features, maps = self.look(images)
        pooled = self.pool(features, maps)
        raw = self.classify(pooled)
        effects = [raw - self.classify(self.pool(features, counterfactual(maps)))]
        centers = self.move_centers(pooled.detach(), targets)
        with torch.no_grad():
            chosen = choose_maps(maps)  # (B, 2, h, w): one to crop by, one to drop by
            draw = images.new_empty(2, len(images), 1, 1, 1).uniform_()
            _, crops = self.crop(images, chosen[:, :1], 0.4 + 0.2 * draw[0], 0.1)
            drops = drop(images, chosen[:, 1:], 0.2 + 0.3 * draw[1])
        both = torch.cat([crops, drops])
        features, maps = self.look(both)
        augmented = self.classify(self.pool(features, maps))
        effects.append(augmented - self.classify(self.pool(features, counterfactual(maps))))
        twice = torch.cat([targets, targets])
        loss = (
            self.cross_entropy(raw, targets) / 3
            + self.cross_entropy(augmented, twice) * 2 / 3
            + self.cross_entropy(torch.cat(effects), torch.cat([targets, twice]))
            + center_loss(pooled, centers)
        )
        return loss, (raw + augmented[: len(images)]) / 2

    def make_room(self, names: Collection[str]) -> None:
        """Create the centers, at zero."""
        if "feature_center" in names and self.feature_center is None:
            weight = self.fc.weight
            dtype = torch.promote_types(weight.dtype, torch.float32)  # half precision would lose a step of beta
            self.feature_center = torch.zeros(weight.shape, dtype=dtype, device=weight.device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        self.make_room([name.removeprefix(prefix) for name in state_dict])
        super()._load_from_state_dict(state_dict, prefix, *others)

    @torch.no_grad()
    def move_centers(self, pooled: Tensor, targets: Tensor) -> Tensor:
        """Return the normalised centers of the targets' classes, then move the centers towards the features.

        Several images of a class move its center by their mean; the released code uses only the last one.

        Args:
            pooled: Pooled features (B, M·C).
            targets: Classes (B,).

        Returns:
            Centers before the step (B, M·C).

        """
        self.make_room(["feature_center"])
        assert self.feature_center is not None
        own = len(targets)
        pooled, targets = of_all_processes(pooled), of_all_processes(targets)
        dtype = self.feature_center.dtype  # that of the weights, where the whole model was converted
        before = self.feature_center[targets].to(torch.promote_types(dtype, torch.float32))
        centers = functional.normalize(before, dim=-1)
        step = self.beta * (pooled.to(before.dtype) - centers)
        same_class = (targets.unsqueeze(0) == targets.unsqueeze(1)).to(before.dtype)
        step = (same_class @ step) / same_class.sum(dim=1, keepdim=True)
        self.feature_center = self.feature_center.index_put((targets,), (before + step).to(dtype))
        first = own * distributed.get_rank() if is_shared() else 0
        return centers[first : first + own]


def attention_boxes(heat: Tensor, size: int, theta: Any, padding: float) -> Tensor:
    """Boxes around the pixels whose attention is at least θ · maximum.

    An all-zero map gives the whole image.
    Source: CAL, released code.

    Args:
        heat: Maps (B, 1, h, w).
        size: Side of the image in pixels.
        theta: A number, or a tensor (B, 1, 1, 1).
        padding: Padding of the box as a share of the side.

    Returns:
        Pixel boxes (B, 4): y0, x0, y1, x1, ends exclusive.

    """
    large = functional.interpolate(heat, (size, size), mode="bilinear", align_corners=True)
    mask = (large >= theta * heat.amax(dim=(1, 2, 3), keepdim=True)).squeeze(1)
    below, above = math.ceil(padding * size), math.floor(padding * size)
    index, sides = torch.arange(size, device=heat.device), []
    for line in (mask.any(dim=2), mask.any(dim=1)):
        first = torch.where(line, index, size).amin(dim=1)
        last = torch.where(line, index, -1).amax(dim=1)
        begin = (first - below).clamp_min(0)
        sides.append((begin, torch.maximum((last + above).clamp_max(size), begin + 1)))
    (y0, y1), (x0, x1) = sides
    return torch.stack((y0, x0, y1, x1), dim=1)


def drop(images: Tensor, heat: Tensor, theta: Any) -> Tensor:
    """Set pixels to zero whose attention is at least θ · maximum.

    Source: CAL, released code; WS-DAN.

    Args:
        images: (B, 3, S, S).
        heat: Maps (B, 1, h, w).
        theta: A number, or a tensor (B, 1, 1, 1).

    Returns:
        (B, 3, S, S).

    """
    size = images.shape[-2:]
    large = functional.interpolate(heat, size, mode="bilinear", align_corners=True)
    mask: Tensor = large < theta * heat.amax(dim=(1, 2, 3), keepdim=True)
    return images * mask


def counterfactual(maps: Tensor) -> Tensor:
    """Random attention of the same shape: uniform in [0, 2)."""
    return torch.empty_like(maps).uniform_(0, 2)


def choose_maps(maps: Tensor, count: int = 2) -> Tensor:
    """Draw ``count`` of the maps (B, M, h, w) of each image, with probability proportional to the root of their sum."""
    weights = (maps.sum(dim=(2, 3)).float() + EPSILON).sqrt()
    index = weights.multinomial(count, replacement=True)
    return maps.gather(1, index[:, :, None, None].expand(-1, -1, *maps.shape[2:]))


def _keep_resolution(stage: Any) -> None:
    """Set the stride of a ResNet stage to 1 without dilation, as in CAL's own ResNet."""
    for module in stage[0].modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
        if isinstance(module, nn.AvgPool2d):  # ResNet-D's pooled shortcut
            raise FgbenchError("CAL needs a ResNet with plain shortcuts", do="choose resnet101")
