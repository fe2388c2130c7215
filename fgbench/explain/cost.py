"""FLOPs of a selection, and of the backbone that it stands beside."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from fgbench.flops.count_models import count_model
from fgbench.flops.counter import count_flops
from fgbench.models.build import create_model
from fgbench.models.vision_transformer import VisionTransformerModel
from fgbench_selectors import QK, Features, Selector
from fgbench_selectors.lifted import AnyAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionCost:
    """Cost of one selector for one image; None where it cannot be counted."""

    flops: int | None = None  # fast implementation, convention full
    percent_of_backbone: float | None = None  # of the plain backbone's FLOPs, patches side by side


@torch.inference_mode()
def selection_flops(selector: Selector, features: Features) -> int:
    """FLOPs of the fast implementation of a selector for one image, convention ``full``.

    They are counted as ``fgbench flops`` counts them: from queries and keys whose log-sum-exps the backbone's
    attention returns, whether or not the kernel of this device does.

    Args:
        selector: The selector, on any device.
        features: Features of any number of images; only their shapes are used.
    """
    one_image = without_data(features)
    counted = copy.deepcopy(selector).to("meta").eval()
    counted.impl = "fast"
    return count_flops(lambda: counted(one_image)).flops("full")


def backbone_flops(model: VisionTransformerModel) -> int:
    """FLOPs of one image through the model's plain backbone and a linear head, patches side by side."""
    with torch.device("meta"):
        plain = create_model("vit", model.encoder.name, img_size=model.image_size, num_classes=model.num_classes)
    return count_model(plain.eval(), model.image_size).flops("full")


def without_data(features: Features) -> Features:
    """Features of one image with the same shapes, on the device ``meta``."""

    def described(tensor: Tensor) -> Tensor:
        return torch.empty(1, *tensor.shape[1:], dtype=torch.float32, device="meta")

    def block(recorded: AnyAttention | None) -> AnyAttention | None:
        if not isinstance(recorded, QK):
            return recorded and recorded.map(described)
        _, heads, tokens = recorded.shape
        lse = torch.empty(1, heads, tokens, device="meta")
        return QK(described(recorded.q), described(recorded.k), recorded.scale, lse)

    return Features(
        tokens=None if features.tokens is None else described(features.tokens),
        attention=[block(recorded) for recorded in features.attention],
        num_prefix_tokens=features.num_prefix_tokens,
        grid=features.grid,
        has_class_token=features.has_class_token,
        class_logits=None if features.class_logits is None else described(features.class_logits),
    )
